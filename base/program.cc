#include "base/program.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/log.h"
#include "base/memory.h"

namespace skiff {

const char kKubernetesVersion[] = "v1.36.2";
const char kSkiffVersion[] = "0.1.0";

namespace {

struct Run {
  explicit Run(asio::io_context& loop) : signals(loop, SIGTERM, SIGINT) {}
  asio::signal_set signals;
  asio::cancellation_signal cancel;
  bool signalled = false;
  Status result = absl::UnknownError("the loop ran dry");
};

void WatchSignals(const std::shared_ptr<Run>& run) {
  run->signals.async_wait([run](const boost::system::error_code& ec, int number) {
    if (ec) return;
    if (run->signalled) std::_Exit(1);
    run->signalled = true;
    LOG_INFO("Received a signal, shutting down", {"signal", number});
    WatchSignals(run);
    run->cancel.emit(asio::cancellation_type::terminal);
  });
}

Task<Status> Body(Task<Status> body) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_return co_await std::move(body);
}

// Loops are never destroyed: that would destroy the coroutines still on them in an order that none of them expects.
asio::io_context& NewLoop() {
  static auto* const kept = new std::vector<asio::io_context*>;
  kept->push_back(new asio::io_context(1));
  return *kept->back();
}

}  // namespace

int RunProgram(std::function<Task<Status>(asio::io_context&)> body) {
  std::signal(SIGPIPE, SIG_IGN);
  asio::io_context& loop = NewLoop();
  const auto run = std::make_shared<Run>(loop);
  WatchSignals(run);
  Spawn(loop.get_executor(), "stay small", StaySmall());
  asio::co_spawn(
      loop, Body(body(loop)),
      asio::bind_cancellation_slot(run->cancel.slot(), [run, &loop](std::exception_ptr error, Status status) {
        run->result = std::move(status);
        try {
          if (error) std::rethrow_exception(error);
        } catch (const std::exception& e) {
          run->result = run->signalled ? absl::OkStatus() : absl::InternalError(e.what());
        } catch (...) {
          run->result = absl::InternalError("unknown exception");
        }
        run->signals.cancel();
        loop.stop();
      }));
  loop.run();
  const bool stopped = run->signalled && absl::IsCancelled(run->result);
  if (run->result.ok() || stopped) return 0;
  LOG_ERROR(run->result, "command failed");
  return 1;
}

}  // namespace skiff
