#include "kubelet/pod/manifest_sources.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "base/dir_watch.h"
#include "base/files.h"
#include "base/http_client.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

constexpr size_t kLongestManifest = 10 << 20;

// The directory that a watch of `path` has to look at.
std::string WatchedDirectory(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return path;
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Task<void> Tick(Clock& clock, std::chrono::nanoseconds interval, std::shared_ptr<Wakeup> wakeup,
                std::shared_ptr<bool> due) {
  while ((co_await clock.Sleep(interval)).ok()) {
    *due = true;
    wakeup->Notify();
  }
}

Task<void> Watch(Clock& clock, std::string path, std::shared_ptr<Wakeup> wakeup,
                 std::function<void(const std::string& file)> removed) {
  for (;;) {
    const std::string dir = WatchedDirectory(path);
    Status ended = co_await WatchDirectory(dir, wakeup,
                                           [&dir, &removed](const std::string& name) { removed(JoinPath(dir, name)); });
    if (absl::IsCancelled(ended)) co_return;
    VLOG(4, "The watch of the manifests ended", {"path", path}, {"err", ended});
    if (!(co_await clock.Sleep(std::chrono::seconds(1))).ok()) co_return;
  }
}

}  // namespace

ManifestDirectory::ManifestDirectory(std::string path, std::string node_name, std::chrono::nanoseconds interval,
                                     Clock& clock, ManifestUpdate update)
    : path_(std::move(path)),
      node_name_(std::move(node_name)),
      interval_(interval),
      clock_(clock),
      update_(std::move(update)) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
}

// False when there is no pod in it now.
bool ManifestDirectory::ReadOne(const std::string& file, bool all, std::map<std::string, Pod>* found) {
  auto text = ReadFile(file, kLongestManifest);
  if (ErrnoOf(text.status()) == ENOENT) return false;  // removed meanwhile
  auto before = pods_.find(file);
  if (text.ok() && text->empty() && !all) {  // just made; its writing will be told
    if (before != pods_.end()) found->insert(*before);
    return false;
  }
  auto pods = text.ok() ? ParseManifest(*text, {true, file, node_name_}) : StatusOr<std::vector<Pod>>(text.status());
  if (pods.ok()) {
    found->emplace(file, std::move(pods->front()));
    return true;
  }
  LOG_ERROR(pods.status(), "Could not process manifest file", {"path", file});
  if (!all && before != pods_.end()) found->insert(*before);
  return false;
}

void ManifestDirectory::Read(bool all) {
  std::map<std::string, Pod> found;
  struct stat st;
  if (::stat(path_.c_str(), &st) != 0) {
    if (errno != ENOENT) {
      LOG_ERROR(ErrnoStatus(errno, path_), "Unable to read config path", {"path", path_});
      return;
    }
    if (all) LOG_ERROR(NotFound("path does not exist, ignoring"), "Unable to read config path", {"path", path_});
  } else if (S_ISDIR(st.st_mode)) {
    auto names = ListDir(path_);
    if (!names.ok()) {
      LOG_ERROR(names.status(), "Unable to read config path", {"path", path_});
      return;
    }
    for (const std::string& name : *names) {
      if (name.empty() || name[0] == '.') continue;
      const std::string file = JoinPath(path_, name);
      if (::stat(file.c_str(), &st) != 0) {
        if (errno != ENOENT) LOG_ERROR(ErrnoStatus(errno, file), "Could not get metadata", {"path", file});
      } else if (S_ISREG(st.st_mode)) {
        ReadOne(file, all, &found);
      } else if (all) {
        LOG_ERROR(InvalidArgument("not a regular file"), "Manifest path is not a directory or file", {"path", file});
      }
    }
  } else if (S_ISREG(st.st_mode)) {
    if (!ReadOne(path_, all, &found)) return;
  } else {
    LOG_ERROR(InvalidArgument("path is not a directory or file"), "Unable to read config path", {"path", path_});
    return;
  }
  pods_ = std::move(found);
  HandOver();
}

// One that is back before anybody looks has ended all the same, and begins again.
void ManifestDirectory::Removed(const std::string& file) {
  if (pods_.erase(file) > 0) HandOver();
}

void ManifestDirectory::HandOver() {
  std::map<std::string, const Pod*> by_name;
  for (const auto& [file, pod] : pods_) by_name[PodKey(pod)] = &pod;
  std::vector<Pod> pods;
  for (const auto& [name, pod] : by_name) pods.push_back(*pod);
  update_(std::move(pods));
}

Task<void> ManifestDirectory::Run() {
  auto executor = co_await asio::this_coro::executor;
  auto wakeup = std::make_shared<Wakeup>(executor);
  auto due = std::make_shared<bool>(true);
  TaskGroup group(executor);
  group.Spawn("look at the manifests", Tick(clock_, interval_, wakeup, due));
  group.Spawn("watch the manifests", Watch(clock_, path_, wakeup, [this](const std::string& file) { Removed(file); }));
  LOG_INFO("Adding static pod path", {"path", path_});
  for (;;) {
    Read(std::exchange(*due, false));
    if (absl::IsCancelled(co_await wakeup->Wait())) break;
  }
  group.Cancel();
  co_await group.Join();
}

ManifestUrl::ManifestUrl(asio::any_io_executor executor, ManifestUrlOptions options, Clock& clock,
                         ManifestUpdate update)
    : executor_(executor), options_(std::move(options)), clock_(clock), update_(std::move(update)) {}

Task<Status> ManifestUrl::Read() {
  std::string_view rest = options_.url;
  const bool tls = rest.starts_with("https://");
  if (!tls && !rest.starts_with("http://")) {
    co_return InvalidArgument(options_.url, ": must be an http or https URL");
  }
  rest.remove_prefix(tls ? 8 : 7);
  size_t slash = rest.find_first_of("/?");
  std::string authority(rest.substr(0, slash));
  std::string target = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  if (target[0] == '?') target.insert(0, "/");
  if (authority.find('@') != std::string::npos) {
    co_return InvalidArgument("staticPodURL: credentials go into staticPodURLHeader, not into the URL");
  }
  size_t colon = authority.rfind(':');
  if (colon == std::string::npos || authority.find(']', colon) != std::string::npos) {
    absl::StrAppend(&authority, tls ? ":443" : ":80");
  }
  std::shared_ptr<TlsClientConfig> config;
  if (tls) {
    CO_ASSIGN_OR_RETURN(config, TlsClientConfig::Make({}));
  }
  http::ClientOptions client_options;
  client_options.max_body_bytes = kLongestManifest;
  client_options.keep_alive = false;
  http::Client client(executor_, authority, config, client_options);
  http::ClientRequest request;
  request.target = target;
  request.timeout = std::chrono::seconds(10);
  for (const auto& [name, value] : options_.headers) request.headers.Add(name, value);
  CO_ASSIGN_OR_RETURN(http::ClientResponse answer, co_await client.Do(std::move(request)));
  if (answer.status != 200) co_return Unavailable(options_.url, ": ", answer.status);
  if (answer.body.empty()) {
    last_.clear();
    update_({});
    co_return absl::DataLossError(absl::StrCat("zero-length data received from ", options_.url));
  }
  if (answer.body == last_) co_return absl::OkStatus();
  CO_ASSIGN_OR_RETURN(std::vector<Pod> pods, ParseManifest(answer.body, {false, options_.url, options_.node_name}));
  last_ = std::move(answer.body);
  update_(std::move(pods));
  co_return absl::OkStatus();
}

Task<void> ManifestUrl::Run() {
  LOG_INFO("Adding pod URL with HTTP header", {"URL", options_.url}, {"header", "<masked>"});
  for (;;) {
    Status read = co_await Read();
    if (absl::IsCancelled(read)) co_return;
    if (!read.ok()) {
      if (!std::exchange(told_, true)) {
        LOG_ERROR(read, "Failed to read pods from URL");
      } else {
        VLOG(4, "Failed to read pods from URL", {"err", read});
      }
    } else if (std::exchange(told_, false)) {
      LOG_INFO("Successfully read pods from URL");
    }
    if (!(co_await clock_.Sleep(options_.interval)).ok()) co_return;
  }
}

}  // namespace skiff::kubelet
