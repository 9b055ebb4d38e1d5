#include "cri/faulty_runtime.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/timed_wait.h"

namespace skiff::cri {
namespace {

template <typename Answer>
struct Sent {
  explicit Sent(const asio::any_io_executor& executor) : answered(executor) {}
  std::optional<StatusOr<Answer>> answer;
  Wakeup answered;
};

template <typename Request, typename Answer>
using Method = Task<StatusOr<Answer>> (Runtime::*)(Request, CallOptions);

// What happens beyond the line; its caller may be gone.
template <typename Request, typename Answer>
Task<void> Arrive(std::shared_ptr<Sent<Answer>> sent, Runtime& real, Clock& clock, CallFaults faults,
                  Method<Request, Answer> method, Request request, CallOptions options) {
  if (faults.before.count() > 0) (void)co_await clock.Sleep(faults.before);
  if (absl::IsCancelled(faults.error)) faults.error = absl::UnavailableError(faults.error.message());  // as client.cc
  StatusOr<Answer> answer = faults.error.ok() ? Status(absl::StatusCode::kInternal, "no answer") : faults.error;
  if (!faults.fail) {
    auto first = co_await (real.*method)(request, options);
    if (faults.twice) {
      auto second = co_await (real.*method)(request, options);
      if (faults.second_answer) first = std::move(second);
    }
    if (!faults.lose) answer = std::move(first);
  }
  if (faults.after.count() > 0) (void)co_await clock.Sleep(faults.after);
  sent->answer.emplace(std::move(answer));
  sent->answered.Notify();
}

template <typename Request, typename Answer>
Task<StatusOr<Answer>> Send(Runtime& real, Clock& clock, CallFaults faults, Method<Request, Answer> method,
                            Request request, CallOptions options) {
  const auto executor = co_await asio::this_coro::executor;
  auto sent = std::make_shared<Sent<Answer>>(executor);
  Spawn(executor, "cri call", Arrive(sent, real, clock, std::move(faults), method, std::move(request), options));
  if (sent->answer) co_return *std::move(sent->answer);
  Status waited = options.timeout.count() > 0 ? co_await WaitFor(clock, sent->answered, options.timeout)
                                              : co_await sent->answered.Wait();
  if (sent->answer) co_return *std::move(sent->answer);
  if (absl::IsDeadlineExceeded(waited)) co_return absl::DeadlineExceededError("context deadline exceeded");
  co_return absl::CancelledError("context canceled");
}

}  // namespace

#define SKIFF_CRI_DEFINE(name)                                                                                        \
  Task<StatusOr<v1::name##Response>> FaultyRuntime::name(v1::name##Request request, CallOptions options) {            \
    if (cut_ || co_await IsCancelled()) co_return absl::CancelledError("context canceled");                           \
    co_return co_await Send<v1::name##Request, v1::name##Response>(real_, clock_, plan_->Draw(#name), &Runtime::name, \
                                                                   std::move(request), options);                      \
  }
SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_DEFINE)
SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_DEFINE)
#undef SKIFF_CRI_DEFINE

// Events are lost, doubled and late as answers are; the stream itself holds.
Task<absl::Status> FaultyRuntime::WatchContainerEvents(
    std::function<void(const v1::ContainerEventResponse&)> on_event) {
  if (cut_ || co_await IsCancelled()) co_return absl::CancelledError("context canceled");
  struct Late {
    static Task<void> Tell(Clock& clock, std::chrono::milliseconds delay, v1::ContainerEventResponse event,
                           std::shared_ptr<std::function<void(const v1::ContainerEventResponse&)>> to) {
      if ((co_await clock.Sleep(delay)).ok() && *to) (*to)(event);
    }
  };
  const auto executor = co_await asio::this_coro::executor;
  const auto to = std::make_shared<std::function<void(const v1::ContainerEventResponse&)>>(std::move(on_event));
  auto pass = [&clock = clock_, plan = plan_, to, executor](const v1::ContainerEventResponse& event) {
    const CallFaults faults = plan->Draw("event");
    if (faults.fail || faults.lose) return;
    for (int i = 0; i < (faults.twice ? 2 : 1); ++i) {
      Spawn(executor, "late event", Late::Tell(clock, i == 0 ? faults.before : faults.after, event, to));
    }
  };
  absl::Status end = co_await real_.WatchContainerEvents(std::move(pass));
  *to = nullptr;
  co_return end;
}

}  // namespace skiff::cri
