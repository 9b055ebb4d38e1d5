#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "base/files.h"

extern char** environ;

namespace skiff {
namespace {

using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::milliseconds kLeaveAfter{200};  // a killed child that does not die

struct Pipe {
  Fd read, write;
};

StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  Pipe pipe{.read = Fd(fds[0]), .write = Fd(fds[1])};
  return pipe;
}

// What the coroutines around one child share. Whoever ends last frees it.
struct Child {
  explicit Child(const asio::any_io_executor& executor)
      : in(executor), out(executor), err(executor), exited(executor) {}
  pid_t pid = -1;
  Descriptor in, out, err;
  Descriptor exited;  // the pidfd: readable once the child has ended
  bool timed_out = false;

  // The group dies as a whole, so that a script's children do not outlive it. The child is not reaped yet where this
  // is called, so the number cannot have been given to another process.
  void Kill() const {
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
  }
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Status Launch(const Command& command, int in, int out, int err, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);  // SIGPIPE is ignored in our programs; children want it back
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const std::vector<char*> argv = Pointers(command.argv);
  const std::vector<char*> env = Pointers(command.env);
  const int error = posix_spawnp(pid, command.argv[0].c_str(), &actions, &attributes, argv.data(),
                                 command.env.empty() ? environ : env.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("exec ", command.argv[0]));
  return absl::OkStatus();
}

// write(2) to a pipe that answers EPIPE without a signal, whatever the program does about SIGPIPE.
ssize_t WriteQuietly(int fd, std::string_view data) {
  sigset_t pipe_signal, before, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const ssize_t n = write(fd, data.data(), data.size());
  const int error = errno;
  if (n < 0 && error == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    const timespec now{};
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return n;
}

Task<void> Feed(std::shared_ptr<Child> child, std::string input) {
  std::string_view rest = input;
  boost::system::error_code ignored;
  child->in.native_non_blocking(true, ignored);
  while (!rest.empty()) {
    const auto [ec] = co_await child->in.async_wait(Descriptor::wait_write, kAwait);
    if (ec) break;
    const ssize_t n = WriteQuietly(child->in.native_handle(), rest);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) break;  // the child does not want the rest
    rest.remove_prefix(static_cast<size_t>(n));
  }
  child->in.close(ignored);
}

struct Gathered {
  explicit Gathered(const asio::any_io_executor& executor) : done(executor) {}
  CommandResult result;
  int open = 2;             // streams that have not ended
  asio::steady_timer done;  // cancelled when both have
};

Task<void> Collect(std::shared_ptr<Child> child, std::shared_ptr<Gathered> gathered, bool err, size_t limit) {
  Descriptor& from = err ? child->err : child->out;
  std::string& into = err ? gathered->result.err : gathered->result.out;
  std::array<char, 4096> buffer;
  for (;;) {
    const auto [ec, n] = co_await from.async_read_some(asio::buffer(buffer), kAwait);
    if (ec) break;
    into.append(buffer.data(), std::min(n, limit - into.size()));
  }
  if (--gathered->open == 0) gathered->done.cancel();
}

// Reaps a killed child. It may take as long as it likes: one in an uninterruptible wait (a dead mount) dies only once
// the kernel lets it.
Task<void> Bury(std::shared_ptr<Child> child, std::shared_ptr<asio::steady_timer> gone) {
  siginfo_t info{};
  for (;;) {
    const auto [ec] = co_await child->exited.async_wait(Descriptor::wait_read, kAwait);
    // An error: somebody else has reaped it, as the kernel does where SIGCHLD is ignored.
    if (waitid(P_PID, static_cast<id_t>(child->pid), &info, WEXITED | WNOHANG) != 0 || info.si_pid != 0) break;
    if (ec && ec != asio::error::operation_aborted) break;  // aborted: by a limit that came to its end meanwhile
  }
  boost::system::error_code ignored;
  child->exited.close(ignored);
  gone->cancel();
}

int ExitCode(const siginfo_t& info) { return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status; }

}  // namespace

Task<StatusOr<CommandResult>> RunCommand(Command command) {
  if (command.argv.empty()) co_return InvalidArgument("no command to run");
  const std::string name = command.argv[0];
  if (co_await IsCancelled()) co_return absl::CancelledError(absl::StrCat(name, ": context canceled"));
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  CO_ASSIGN_OR_RETURN(Pipe in, MakePipe());
  CO_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  CO_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  auto child = std::make_shared<Child>(executor);
  CO_RETURN_IF_ERROR(Launch(command, in.read.get(), out.write.get(), err.write.get(), &child->pid));
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child->pid, 0));
  if (pidfd < 0) {
    const Status status = ErrnoStatus(errno, "pidfd_open");
    child->Kill();
    waitpid(child->pid, nullptr, 0);
    co_return status;
  }
  boost::system::error_code ec;
  child->exited.assign(pidfd, ec);
  child->in.assign(in.write.Release(), ec);
  child->out.assign(out.read.Release(), ec);
  child->err.assign(err.read.Release(), ec);
  in.read = Fd();
  out.write = Fd();
  err.write = Fd();

  auto gathered = std::make_shared<Gathered>(executor);
  gathered->done.expires_at(asio::steady_timer::time_point::max());
  Spawn(executor, "subprocess input", Feed(child, std::move(command.input)));
  Spawn(executor, "subprocess output", Collect(child, gathered, false, command.output_limit));
  Spawn(executor, "subprocess output", Collect(child, gathered, true, command.output_limit));

  asio::steady_timer limit(executor);
  if (command.timeout.count() > 0) {
    limit.expires_after(command.timeout);
    limit.async_wait([child](const boost::system::error_code& timer_ec) {
      if (timer_ec) return;
      child->timed_out = true;
      boost::system::error_code ignored;
      child->exited.cancel(ignored);
    });
  }
  const auto [wait_ec] = co_await child->exited.async_wait(Descriptor::wait_read, kAwait);
  limit.cancel();
  child->in.close(ec);
  if (wait_ec) {
    const bool timed_out = child->timed_out;
    child->Kill();
    child->out.close(ec);
    child->err.close(ec);
    // Mostly it is gone at once, and what it held with it.
    auto gone = std::make_shared<asio::steady_timer>(executor, kLeaveAfter);
    Spawn(executor, "killed subprocess", Bury(child, gone));
    co_await gone->async_wait(kAwait);
    if (!timed_out) co_return absl::CancelledError(absl::StrCat(name, ": context canceled"));
    co_return absl::DeadlineExceededError(
        absl::StrCat(name, ": timed out after ", std::chrono::duration<double>(command.timeout).count(), "s"));
  }
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(child->pid), &info, WEXITED) != 0 && errno == EINTR) {
  }
  if (gathered->open > 0) {
    // The pipes may still hold output of the ended child; one that a grandchild keeps open gets a moment, no more.
    gathered->done.expires_after(std::chrono::milliseconds(200));
    co_await gathered->done.async_wait(kAwait);
  }
  child->out.close(ec);
  child->err.close(ec);
  child->exited.close(ec);
  gathered->result.exit_code = ExitCode(info);
  co_return std::move(gathered->result);
}

}  // namespace skiff
