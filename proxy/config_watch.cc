#include "proxy/config_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "absl/strings/str_cat.h"

namespace skiff::proxy {

Task<Status> WatchConfigFile(asio::any_io_executor executor, std::string path) {
  int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd < 0) co_return ErrnoStatus(errno, "inotify");
  asio::posix::stream_descriptor descriptor(executor, fd);
  if (inotify_add_watch(fd, path.c_str(), IN_MODIFY | IN_MOVE_SELF) < 0) {
    co_return ErrnoStatus(errno, absl::StrCat("watch ", path));
  }
  for (;;) {
    alignas(inotify_event) char buffer[1024];
    auto [ec, size] = co_await descriptor.async_read_some(asio::buffer(buffer), kAwait);
    if (ec) co_return Outcome(ec, "watch the configuration file");
    for (size_t at = 0; at + sizeof(inotify_event) <= size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      if (event->mask & (IN_MODIFY | IN_MOVE_SELF)) {
        co_return absl::FailedPreconditionError("content of the proxy server's configuration file was updated");
      }
      // The file is gone, and the watch with it.
      if (event->mask & IN_IGNORED) {
        for (;;) CO_RETURN_IF_ERROR(co_await SleepFor(std::chrono::hours(24)));
      }
      at += sizeof(inotify_event) + event->len;
    }
  }
}

}  // namespace skiff::proxy
