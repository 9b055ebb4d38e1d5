#include "base/dir_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/files.h"

namespace skiff {

Task<Status> WatchDirectory(std::string path, std::shared_ptr<Wakeup> changed,
                            std::function<void(const std::string& name)> removed) {
  constexpr uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ATTRIB |
                               IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  Fd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify.valid()) co_return ErrnoStatus(errno, "inotify_init1");
  if (inotify_add_watch(inotify.get(), path.c_str(), kEvents) < 0) {
    co_return ErrnoStatus(errno, absl::StrCat("inotify_add_watch ", path));
  }
  asio::posix::stream_descriptor events(co_await asio::this_coro::executor);
  boost::system::error_code ec;
  events.assign(inotify.get(), ec);
  if (ec) co_return Outcome(ec, "inotify");
  (void)inotify.Release();
  changed->Notify();
  for (;;) {
    auto [error] = co_await events.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) co_return Outcome(error, "inotify");
    alignas(inotify_event) char buffer[4096];
    bool gone = false;
    for (;;) {
      const ssize_t n = ::read(events.native_handle(), buffer, sizeof(buffer));
      if (n <= 0) break;
      for (const char* at = buffer; at < buffer + n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(at);
        gone = gone || (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0;
        if (removed && event->len > 0 && (event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) removed(event->name);
        at += sizeof(inotify_event) + event->len;
      }
    }
    changed->Notify();
    if (gone) co_return NotFound("directory ", path, " is gone");
  }
}

}  // namespace skiff
