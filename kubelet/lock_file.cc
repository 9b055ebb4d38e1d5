#include "kubelet/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/inotify.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/log.h"

namespace skiff::kubelet {

Task<StatusOr<Fd>> AcquireLockFile(std::string path, Clock& clock) {
  const std::string what = absl::StrCat("unable to acquire file lock on \"", path, "\"");
  Fd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) co_return ErrnoStatus(errno, what);
  LOG_INFO("Acquiring file lock", {"path", path});
  // Asked for again and again, since a blocking flock would hold the loop.
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) co_return ErrnoStatus(errno, what);
    CO_RETURN_IF_ERROR(co_await clock.Sleep(std::chrono::milliseconds(100)));
  }
  co_return file;
}

Task<Status> AwaitLockContention(std::string path) {
  Fd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify.valid()) co_return ErrnoStatus(errno, "inotify_init1");
  LOG_INFO("Watching for inotify events", {"path", path});
  if (inotify_add_watch(inotify.get(), path.c_str(), IN_OPEN | IN_DELETE_SELF) < 0)
    co_return ErrnoStatus(errno, absl::StrCat("unable to watch lockfile ", path));
  asio::posix::stream_descriptor events(co_await asio::this_coro::executor);
  boost::system::error_code ec;
  events.assign(inotify.get(), ec);
  if (ec) co_return Outcome(ec, "inotify");
  (void)inotify.Release();
  auto [error] = co_await events.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  co_return error ? Outcome(error, "inotify") : absl::OkStatus();
}

}  // namespace skiff::kubelet
