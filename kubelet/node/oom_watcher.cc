#include "kubelet/node/oom_watcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace skiff::kubelet {
namespace {

// The value of `key` ("pid=") in "a=1,pid=2,uid=0".
std::string_view ValueOf(std::string_view line, std::string_view key) {
  size_t at = line.find(absl::StrCat(",", key));
  if (at == std::string_view::npos) return "";
  line.remove_prefix(at + 1 + key.size());
  return line.substr(0, line.find(','));
}

}  // namespace

std::optional<OomKill> OomParser::Feed(std::string_view line) {
  if (absl::StrContains(line, "invoked oom-killer:")) {
    open_.emplace();
    return std::nullopt;
  }
  if (!open_) return std::nullopt;
  if (line.starts_with("oom-kill:constraint=")) {
    if (const std::string_view cgroup = ValueOf(line, "oom_memcg="); !cgroup.empty()) open_->cgroup = cgroup;
    open_->process = ValueOf(line, "task=");
    (void)absl::SimpleAtoi(ValueOf(line, "pid="), &open_->pid);
    return std::exchange(open_, std::nullopt);
  }
  // Kernels before 5.0, and what must be said when the line above was lost.
  constexpr std::string_view kLegacy = " killed as a result of limit of ";
  if (const size_t at = line.find(kLegacy); line.starts_with("Task in ") && at != std::string_view::npos) {
    open_->cgroup = line.substr(at + kLegacy.size());
    return std::nullopt;
  }
  constexpr std::string_view kKilled = "Killed process ";
  const size_t at = line.find(kKilled);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + kKilled.size());
  const size_t open = line.find(" ("), close = line.find(')');
  if (open != std::string_view::npos && close != std::string_view::npos && close > open) {
    (void)absl::SimpleAtoi(line.substr(0, open), &open_->pid);
    open_->process = line.substr(open + 2, close - open - 2);
  }
  return std::exchange(open_, std::nullopt);
}

std::string SystemOomMessage(const OomKill& kill) {
  std::string out = "System OOM encountered";
  if (!kill.process.empty() && kill.pid != 0) {
    absl::StrAppend(&out, ", victim process: ", kill.process, ", pid: ", kill.pid);
  }
  return out;
}

Task<Status> WatchSystemOoms(std::function<void(const OomKill&)> on_kill, std::string log) {
  Fd fd(::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) co_return ErrnoStatus(errno, log);
  // What happened before this life was told then, or is too old to matter.
  if (::lseek(fd.get(), 0, SEEK_END) < 0) co_return ErrnoStatus(errno, absl::StrCat("seek in ", log));
  boost::system::error_code ec;
  asio::posix::stream_descriptor descriptor(co_await asio::this_coro::executor);
  descriptor.assign(fd.get(), ec);
  if (ec) co_return ErrnoStatus(ec.value(), absl::StrCat("watch ", log));
  fd.Release();
  OomParser parser;
  std::string record(8192, '\0');
  while (true) {
    auto [waited] = co_await descriptor.async_wait(asio::posix::descriptor_base::wait_read, kAwait);
    if (waited) co_return absl::CancelledError("stopped");
    while (true) {
      // One record a read: "priority,sequence,time,flags;text\n key=value lines".
      const ssize_t n = ::read(descriptor.native_handle(), record.data(), record.size());
      if (n < 0 && (errno == EINTR || errno == EPIPE)) continue;  // EPIPE: records were overwritten before we came
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) co_return ErrnoStatus(n < 0 ? errno : EIO, absl::StrCat("read ", log));
      std::string_view text(record.data(), static_cast<size_t>(n));
      const size_t semicolon = text.find(';');
      if (semicolon == std::string_view::npos) continue;
      text.remove_prefix(semicolon + 1);
      if (auto kill = parser.Feed(text.substr(0, text.find('\n')))) on_kill(*kill);
    }
  }
}

}  // namespace skiff::kubelet
