#include "kubelet/logs/container_log.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/files.h"
#include "base/log.h"
#include "kubelet/logs/cri_log_line.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

constexpr size_t kChunk = 64 << 10;
// Runtimes cut lines at 16 KiB; what is much longer is no CRI log and must not cost memory.
constexpr size_t kLongestLine = 256 << 10;

// `path` relative to `dir`, or nullopt if it does not lie there.
std::optional<std::string> RelativeTo(std::string_view dir, std::string_view path) {
  while (dir.size() > 1 && dir.back() == '/') dir.remove_suffix(1);
  if (path.size() <= dir.size() + 1 || path.substr(0, dir.size()) != dir || path[dir.size()] != '/') {
    return std::nullopt;
  }
  return std::string(path.substr(dir.size() + 1));
}

struct Place {
  Dir dir;
  std::string name;
};

StatusOr<Place> Locate(const std::string& logs_dir, const std::string& path) {
  const auto relative = RelativeTo(logs_dir, path);
  if (!relative) return InvalidArgument("failed to try resolving symlinks in path ", path, ": not below ", logs_dir);
  ASSIGN_OR_RETURN(Dir dir, Dir::Open(logs_dir));
  return Place{std::move(dir), *relative};
}

StatusOr<Fd> OpenLog(const Place& place) {
  // Not blocking: a pipe put in a log's place must not hang the kubelet.
  ASSIGN_OR_RETURN(Fd fd, place.dir.OpenFile(place.name, O_RDONLY | O_NONBLOCK));
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return ErrnoStatus(errno, place.name);
  if (!S_ISREG(st.st_mode)) return InvalidArgument("failed to open log file ", place.name, ": not a regular file");
  return fd;
}

// Where the last `lines` lines begin. Upstream counts every newline, partial lines too; so does this.
StatusOr<off_t> TailStart(int fd, int64_t lines) {
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) return ErrnoStatus(errno, "seek");
  if (lines <= 0) return lines == 0 ? end : off_t{0};
  std::string buffer(kChunk, '\0');
  int64_t found = 0;
  for (off_t at = end; at > 0;) {
    const size_t want = static_cast<size_t>(std::min<off_t>(at, kChunk));
    at -= static_cast<off_t>(want);
    const ssize_t n = pread(fd, buffer.data(), want, at);
    if (n < 0) return ErrnoStatus(errno, "read");
    for (ssize_t i = n; i-- > 0;) {
      // The newline that ends the last line does not begin another one.
      if (buffer[i] == '\n' && at + i + 1 < end && ++found == lines) return at + i + 1;
    }
  }
  return off_t{0};
}

// Notifies about changes in the directory that holds the log.
Task<void> WatchChanges(int inotify, std::shared_ptr<Wakeup> changed) {
  boost::system::error_code ec;
  asio::posix::stream_descriptor events(co_await asio::this_coro::executor);
  events.assign(inotify, ec);
  if (ec) {
    close(inotify);
    co_return;
  }
  char buffer[4096];
  for (;;) {
    auto [error] = co_await events.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) co_return;
    while (read(inotify, buffer, sizeof(buffer)) > 0) {
    }
    changed->Notify();
  }
}

Task<void> Tick(Clock& clock, std::shared_ptr<Wakeup> changed) {
  for (;;) {
    if (!(co_await clock.Sleep(1s)).ok()) co_return;
    changed->Notify();
  }
}

class Reader {
 public:
  Reader(LogOptions options, LogSink sink) : options_(std::move(options)), sink_(std::move(sink)) {
    if (options_.limit_bytes) left_ = *options_.limit_bytes;
    if (options_.tail_lines && *options_.tail_lines >= 0 && !options_.follow) lines_left_ = *options_.tail_lines;
  }

  bool done() const { return done_; }

  // Reads from the descriptor to its end. True if there was anything.
  Task<StatusOr<bool>> Drain(int fd) {
    bool any = false;
    while (!done_) {
      StatusOr<size_t> got = size_t{0};
      char* room = Room();
      std::function<Status()> work = [fd, room, &got]() -> Status {
        ssize_t n;
        do {
          n = read(fd, room, kChunk);
        } while (n < 0 && errno == EINTR);
        if (n < 0) return ErrnoStatus(errno, "read log");
        got = static_cast<size_t>(n);
        return absl::OkStatus();
      };
      CO_RETURN_IF_ERROR(co_await RunBlocking(std::move(work)));
      buffer_.resize(used_ + *got);
      if (*got == 0) break;
      any = true;
      used_ = buffer_.size();
      CO_RETURN_IF_ERROR(co_await Consume());
    }
    co_return any;
  }

  // What is left without a newline when nothing will be added to it.
  Task<Status> Flush() {
    if (!done_ && used_ > 0) {
      CO_RETURN_IF_ERROR(co_await Line(std::string_view(buffer_).substr(0, used_)));
      buffer_.clear();
      used_ = 0;
    }
    co_return co_await Send();
  }

 private:
  char* Room() {
    buffer_.resize(used_ + kChunk);
    return buffer_.data() + used_;
  }

  Task<Status> Consume() {
    size_t begin = 0;
    const std::string_view all = buffer_;
    while (!done_) {
      const size_t newline = all.find('\n', begin);
      if (newline == std::string_view::npos) break;
      if (skipping_) {
        skipping_ = false;
      } else {
        CO_RETURN_IF_ERROR(co_await Line(all.substr(begin, newline + 1 - begin)));
      }
      begin = newline + 1;
    }
    buffer_.erase(0, begin);
    used_ = buffer_.size();
    if (used_ > kLongestLine) {
      skipping_ = true;
      buffer_.clear();
      used_ = 0;
    }
    co_return co_await Send();
  }

  Task<Status> Line(std::string_view raw) {
    const auto line = ParseCriLogLine(raw);
    if (!line) {
      VLOG(4, "Failed when parsing line in log file");
      co_return absl::OkStatus();
    }
    const bool starts = new_line_;
    new_line_ = line->text.empty() || line->text.back() == '\n';
    if (!options_.since || line->time >= *options_.since) {
      if (options_.timestamps && starts) {
        Add(FixedTimestamp(*line));
        Add(" ");
      }
      Add(line->text);
    }
    if (lines_left_ >= 0 && --lines_left_ <= 0) done_ = true;
    if (out_.size() >= kChunk || done_) co_return co_await Send();
    co_return absl::OkStatus();
  }

  void Add(std::string_view text) {
    if (left_ >= 0) {
      text = text.substr(0, static_cast<size_t>(std::min<int64_t>(left_, static_cast<int64_t>(text.size()))));
      left_ -= static_cast<int64_t>(text.size());
      if (left_ == 0) done_ = true;
    }
    out_.append(text);
  }

  Task<Status> Send() {
    if (out_.empty()) co_return absl::OkStatus();
    Status status = co_await sink_(out_);
    out_.clear();
    co_return status;
  }

  LogOptions options_;
  LogSink sink_;
  std::string buffer_, out_;
  size_t used_ = 0;        // bytes of buffer_ that are an unfinished line
  bool skipping_ = false;  // inside a line that is too long
  bool new_line_ = true;
  bool done_ = false;
  int64_t left_ = -1;        // bytes, -1: no limit
  int64_t lines_left_ = -1;  // lines, -1: no limit
};

}  // namespace

Task<Status> ReadContainerLog(std::string logs_dir, std::string path, LogOptions options, LogSink sink,
                              LogRunning running, Clock& clock) {
  if (options.limit_bytes && *options.limit_bytes == 0) co_return absl::OkStatus();
  CO_ASSIGN_OR_RETURN(const Place place, Locate(logs_dir, path));
  auto opened = OpenLog(place);
  if (!opened.ok()) co_return Annotate(opened.status(), absl::StrCat("failed to open log file \"", path, "\""));
  Fd fd = *std::move(opened);

  Fd inotify;
  if (options.follow) {
    // Before the first read, so that no change after it is missed. Watching through the descriptor's own path follows
    // no link below the held directory.
    inotify = Fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    const size_t slash = place.name.rfind('/');
    const auto parent =
        slash == std::string::npos ? place.dir.OpenDir(".") : place.dir.OpenDir(place.name.substr(0, slash));
    if (!inotify.valid() || !parent.ok() ||
        inotify_add_watch(inotify.get(), absl::StrCat("/proc/self/fd/", parent->fd()).c_str(),
                          IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE) < 0) {
      VLOG(2, "Cannot watch a log directory, looking every second", {"path", path});
    }
  }
  if (options.tail_lines && *options.tail_lines >= 0) {
    const int64_t lines = *options.tail_lines;
    const int raw = fd.get();
    std::function<StatusOr<off_t>()> search = [raw, lines] { return TailStart(raw, lines); };
    CO_ASSIGN_OR_RETURN(const off_t start, co_await RunBlockingFor<off_t>(std::move(search)));
    if (lseek(fd.get(), start, SEEK_SET) < 0) co_return ErrnoStatus(errno, "seek");
    if (lines == 0 && !options.follow) co_return absl::OkStatus();
  }

  Reader reader(options, std::move(sink));
  CO_RETURN_IF_ERROR((co_await reader.Drain(fd.get())).status());
  if (!options.follow || reader.done()) co_return co_await reader.Flush();

  const auto executor = co_await asio::this_coro::executor;
  auto changed = std::make_shared<Wakeup>(executor);
  TaskGroup group(executor);
  if (inotify.valid()) group.Spawn("watch log", WatchChanges(inotify.Release(), changed));
  group.Spawn("log tick", Tick(clock, changed));
  for (;;) {
    const bool alive = co_await running();
    // Asked before the read: what a container wrote before it ended is read after it is known to have ended.
    CO_ASSIGN_OR_RETURN(bool any, co_await reader.Drain(fd.get()));
    if (reader.done()) co_return co_await reader.Flush();
    auto fresh = OpenLog(place);
    if (fresh.ok()) {
      struct stat now {
      }, then{};
      if (fstat(fresh->get(), &now) == 0 && fstat(fd.get(), &then) == 0 &&
          (now.st_ino != then.st_ino || now.st_dev != then.st_dev)) {
        // Rotated: the old file may have got its last lines between the read above and now.
        CO_RETURN_IF_ERROR((co_await reader.Drain(fd.get())).status());
        CO_RETURN_IF_ERROR(co_await reader.Flush());
        fd = *std::move(fresh);
        continue;
      }
    }
    if (!alive) co_return co_await reader.Flush();
    if (any) continue;
    CO_RETURN_IF_ERROR(co_await changed->Wait());
  }
}

}  // namespace skiff::kubelet
