#include "kubelet/logs/log_rotation.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <ctime>

#include "base/files.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

constexpr char kStampFormat[] = "%Y%m%d-%H%M%S";
constexpr std::string_view kGzip = ".gz", kTemporary = ".tmp";

struct Place {
  Dir dir;           // the log's directory
  std::string name;  // "0.log"
};

StatusOr<Place> Locate(std::string_view logs_dir, const std::string& path) {
  while (logs_dir.size() > 1 && logs_dir.back() == '/') logs_dir.remove_suffix(1);
  if (!absl::StartsWith(path, absl::StrCat(logs_dir, "/"))) {
    return InvalidArgument("log ", path, " is not below ", logs_dir);
  }
  ASSIGN_OR_RETURN(const Dir root, Dir::Open(std::string(logs_dir)));
  const std::string relative = path.substr(logs_dir.size() + 1);
  const size_t slash = relative.rfind('/');
  ASSIGN_OR_RETURN(Dir dir, root.OpenDir(slash == std::string::npos ? "." : relative.substr(0, slash)));
  return Place{std::move(dir), slash == std::string::npos ? relative : relative.substr(slash + 1)};
}

Status Remove(const Dir& dir, const std::string& name) {
  if (unlinkat(dir.fd(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, absl::StrCat("failed to remove log ", name));
  }
  return absl::OkStatus();
}

Status Rename(const Dir& dir, const std::string& from, const std::string& to) {
  if (renameat(dir.fd(), from.c_str(), dir.fd(), to.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("failed to rename ", from, " to ", to));
  }
  return absl::OkStatus();
}

// NAME -> NAME.gz by way of NAME.tmp.
Status Compress(const Dir& dir, const std::string& name) {
  ASSIGN_OR_RETURN(const Fd in, dir.OpenFile(name, O_RDONLY | O_NONBLOCK));
  struct stat st {};
  if (fstat(in.get(), &st) != 0) return ErrnoStatus(errno, name);
  const std::string temporary = absl::StrCat(name, kTemporary);
  RETURN_IF_ERROR(Remove(dir, temporary));
  ASSIGN_OR_RETURN(Fd out, dir.OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, st.st_mode & 07777));
  gzFile gz = gzdopen(out.Release(), "wb");
  if (gz == nullptr) return absl::ResourceExhaustedError("gzdopen");
  Status status;
  std::string buffer(64 << 10, '\0');
  for (;;) {
    const ssize_t n = read(in.get(), buffer.data(), buffer.size());
    if (n == 0) break;
    if (n < 0) {
      status = ErrnoStatus(errno, absl::StrCat("read ", name));
      break;
    }
    if (gzwrite(gz, buffer.data(), static_cast<unsigned>(n)) != n) {
      status = ErrnoStatus(errno != 0 ? errno : EIO, absl::StrCat("write ", temporary));
      break;
    }
  }
  if (gzclose(gz) != Z_OK && status.ok()) status = ErrnoStatus(EIO, absl::StrCat("write ", temporary));
  if (status.ok()) status = Rename(dir, temporary, absl::StrCat(name, kGzip));
  if (!status.ok()) {
    Remove(dir, temporary).IgnoreError();
    return status;
  }
  return Remove(dir, name);
}

// Everything but the newest: what a crash left, what is too old, what is not compressed yet.
Status TidyOld(const Place& place, int max_files) {
  ASSIGN_OR_RETURN(const auto all, place.dir.List());
  const std::string prefix = absl::StrCat(place.name, ".");
  std::vector<std::string> old;
  for (const std::string& name : all) {
    if (!absl::StartsWith(name, prefix)) continue;
    const bool done = std::find(all.begin(), all.end(), absl::StrCat(name, kGzip)) != all.end();
    if (absl::EndsWith(name, kTemporary) || done) {
      RETURN_IF_ERROR(Remove(place.dir, name));
    } else {
      old.push_back(name);
    }
  }
  // The log in use and the one that is about to be rotated count too.
  const size_t keep = static_cast<size_t>(std::max(max_files - 2, 0));
  const size_t excess = old.size() > keep ? old.size() - keep : 0;
  for (size_t i = 0; i < excess; ++i) RETURN_IF_ERROR(Remove(place.dir, old[i]));
  for (size_t i = excess; i < old.size(); ++i) {
    if (!absl::EndsWith(old[i], kGzip)) RETURN_IF_ERROR(Compress(place.dir, old[i]));
  }
  return absl::OkStatus();
}

std::string Stamp(WallTime now) {
  const time_t seconds = std::chrono::system_clock::to_time_t(now);
  struct tm tm {};
  localtime_r(&seconds, &tm);
  char text[32];
  strftime(text, sizeof(text), kStampFormat, &tm);
  return text;
}

// Names are the order in which old logs go: where the clock was set back, a log is named as if it came a second after
// the newest that is there.
StatusOr<std::string> After(const Place& place, std::string stamp) {
  ASSIGN_OR_RETURN(const auto all, place.dir.List());
  const std::string prefix = absl::StrCat(place.name, ".");
  for (const std::string& name : all) {
    if (!absl::StartsWith(name, prefix)) continue;
    const std::string there = name.substr(prefix.size(), stamp.size());
    struct tm tm {};
    if (there < stamp || strptime(there.c_str(), kStampFormat, &tm) == nullptr) continue;
    tm.tm_isdst = -1;
    stamp = Stamp(std::chrono::system_clock::from_time_t(mktime(&tm) + 1));
  }
  return stamp;
}

}  // namespace

LogRotator::LogRotator(LogRotationOptions options, ListFn list, ReopenFn reopen, Clock& clock)
    : options_(std::move(options)), list_(std::move(list)), reopen_(std::move(reopen)), clock_(clock) {}

Task<Status> LogRotator::Rotate(Log log) {
  std::string stamp = Stamp(clock_.Now());
  const LogRotationOptions* options = &options_;
  std::function<Status()> prepare = [&log, &stamp, options]() -> Status {
    ASSIGN_OR_RETURN(const Place place, Locate(options->logs_dir, log.path));
    RETURN_IF_ERROR(TidyOld(place, options->max_files));
    ASSIGN_OR_RETURN(stamp, After(place, stamp));
    return Rename(place.dir, place.name, absl::StrCat(place.name, ".", stamp));
  };
  CO_RETURN_IF_ERROR(co_await RunBlocking(std::move(prepare)), "failed to rotate log ", log.path);
  Status reopened = co_await reopen_(log.container_id);
  if (reopened.ok()) co_return reopened;
  // Back under its name, to be tried again.
  std::function<Status()> undo = [&log, &stamp, options]() -> Status {
    ASSIGN_OR_RETURN(const Place place, Locate(options->logs_dir, log.path));
    if (place.dir.Exists(place.name)) return absl::OkStatus();
    return Rename(place.dir, absl::StrCat(place.name, ".", stamp), place.name);
  };
  (co_await RunBlocking(std::move(undo))).IgnoreError();
  co_return Annotate(reopened, absl::StrCat("failed to reopen container log ", log.container_id));
}

Task<Status> LogRotator::Do(Job job) {
  if (!job.missing) {
    Status status = co_await Rotate(job.log);
    if (status.ok()) {
      VLOG(2, "Rotated a container's log", {"path", job.log.path});
    } else if (!absl::IsCancelled(status)) {
      LOG_ERROR(status, "Failed to rotate log for container", {"containerID", job.log.container_id},
                {"path", job.log.path});
    }
    co_return status;
  }
  // A kubelet that ended between renaming and telling the runtime leaves the container writing to the renamed file.
  Status status = co_await reopen_(job.log.container_id);
  if (status.ok() || absl::IsCancelled(status)) co_return status;
  LOG_ERROR(status, "Container log doesn't exist, reopen container log failed", {"containerID", job.log.container_id},
            {"path", job.log.path});
  co_return Annotate(status, absl::StrCat("failed to reopen container log ", job.log.container_id));
}

Task<void> LogRotator::Work() {
  while (!queue_.empty()) {
    const Job job = std::move(queue_.front());
    queue_.pop_front();
    Status status;
    // One that ends by an exception is begun again at the next look, and the others have their turn.
    try {
      status = co_await Do(job);
    } catch (const std::exception& e) {
      status = Internal(e.what());
      LOG_ERROR(status, "Failed to rotate log for container", {"containerID", job.log.container_id},
                {"path", job.log.path});
    }
    busy_.erase(job.log.path);
    if (absl::IsCancelled(status)) co_return;
    first_.Update(status);
  }
}

Task<Status> LogRotator::Look(TaskGroup& workers) {
  if (options_.max_size < 0) co_return absl::OkStatus();
  const std::vector<Log> logs = list_();
  std::vector<Job> jobs;
  const int64_t limit = options_.max_size;
  std::function<Status()> look = [&logs, &jobs, limit] {
    for (const Log& log : logs) {
      struct stat st {};
      if (lstat(log.path.c_str(), &st) != 0) {
        if (errno == ENOENT) jobs.push_back({log, true});
      } else if (S_ISREG(st.st_mode) && st.st_size >= limit) {
        jobs.push_back({log, false});
      }
    }
    return absl::OkStatus();
  };
  CO_RETURN_IF_ERROR(co_await RunBlocking(std::move(look)));
  for (Job& job : jobs) {
    if (busy_.insert(job.log.path).second) queue_.push_back(std::move(job));
  }
  const size_t most = std::max<size_t>(options_.max_workers, 1);
  const size_t more = std::min(queue_.size(), most - std::min(most, workers.size()));
  for (size_t i = 0; i < more; ++i) workers.Spawn("rotate logs", Work());
  co_return absl::OkStatus();
}

Task<Status> LogRotator::Once() {
  TaskGroup workers(co_await asio::this_coro::executor);
  first_ = absl::OkStatus();
  CO_RETURN_IF_ERROR(co_await Look(workers));
  co_await workers.Join();
  if (co_await IsCancelled()) co_return absl::CancelledError("stopped");
  co_return first_;
}

Task<void> LogRotator::Run() {
  TaskGroup workers(co_await asio::this_coro::executor);
  while ((co_await clock_.Sleep(options_.interval)).ok()) {
    if (absl::IsCancelled(co_await Look(workers))) break;
  }
  queue_.clear();
  co_await workers.Join();
}

}  // namespace skiff::kubelet
