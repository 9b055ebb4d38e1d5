#include "base/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/log.h"

namespace skiff {
namespace {

StatusOr<int64_t> Number(const char* name, const char* text) {
  int64_t out = 0;
  if (!absl::SimpleAtoi(text, &out)) {
    return InvalidArgument("error converting ", name, ": strconv.Atoi: parsing \"", text, "\": invalid syntax");
  }
  return out;
}

}  // namespace

StatusOr<bool> SdNotify(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == 0) return false;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return InvalidArgument("NOTIFY_SOCKET: ", path, " is too long");
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;  // abstract
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "NOTIFY_SOCKET");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (sendto(fd.get(), state.data(), state.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return ErrnoStatus(errno, absl::StrCat("NOTIFY_SOCKET ", path));
  }
  return true;
}

StatusOr<std::chrono::microseconds> SdWatchdogTimeout() {
  const char* usec = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (usec == nullptr || *usec == 0) return std::chrono::microseconds(0);
  ASSIGN_OR_RETURN(const int64_t timeout, Number("WATCHDOG_USEC", usec));
  if (timeout <= 0) return InvalidArgument("error WATCHDOG_USEC must be a positive number");
  if (pid != nullptr && *pid != 0) {
    ASSIGN_OR_RETURN(const int64_t meant, Number("WATCHDOG_PID", pid));
    if (meant != getpid()) return std::chrono::microseconds(0);
  }
  return std::chrono::microseconds(timeout);
}

Task<void> FeedSdWatchdog(std::chrono::nanoseconds interval, std::function<std::string()> unhealthy, Clock& clock) {
  for (;;) {
    if (const std::string why = unhealthy(); !why.empty()) {
      LOG_ERROR(absl::UnavailableError(why),
                "Do not notify watchdog this iteration as the kubelet is reportedly not healthy");
    } else {
      auto sent = SdNotify("WATCHDOG=1");
      if (!sent.ok()) {
        if (absl::IsCancelled(co_await clock.Sleep(std::chrono::seconds(1)))) co_return;
        sent = SdNotify("WATCHDOG=1");
      }
      if (sent.ok() && !*sent) {
        sent = FailedPrecondition(
            "failed to notify systemd watchdog, notification not supported - (i.e. NOTIFY_SOCKET is unset)");
      }
      if (!sent.ok()) LOG_ERROR(sent.status(), "Failed to notify watchdog");
    }
    if (absl::IsCancelled(co_await clock.Sleep(interval))) co_return;
  }
}

}  // namespace skiff
