// The fake runtime's event stream.
#include <utility>

#include "cri/fake_runtime.h"

namespace skiff::cri {

struct FakeRuntime::Watcher {
  Watcher(asio::any_io_executor executor, std::function<void(const v1::ContainerEventResponse&)> on_event)
      : on_event(std::move(on_event)), ended(std::move(executor)) {}
  std::function<void(const v1::ContainerEventResponse&)> on_event;
  Wakeup ended;
  absl::Status status;
};

FakeRuntime::FakeRuntime(Clock& clock) : clock_(clock) {}
FakeRuntime::~FakeRuntime() = default;

void FakeRuntime::Happened(v1::ContainerEventType what, const std::string& id, const std::string& sandbox_id) {
  if (!has_events) return;
  v1::ContainerEventResponse event;
  event.set_container_id(id);
  event.set_container_event_type(what);
  event.set_created_at(NowNanos());
  // What is left of the sandbox: nothing any more where it is the sandbox that was removed.
  if (auto it = sandboxes.find(sandbox_id); it != sandboxes.end()) {
    *event.mutable_pod_sandbox_status() = it->second.status;
  }
  for (const auto& [container_id, c] : containers) {
    if (c.sandbox_id == sandbox_id) *event.add_containers_statuses() = c.status;
  }
  if (hold_events) {
    events.push_back(std::move(event));
  } else {
    Tell(event);
  }
}

void FakeRuntime::Tell(const v1::ContainerEventResponse& event) {
  for (const auto& watcher : streams_) watcher->on_event(event);
}

void FakeRuntime::EndStreams(absl::Status status) {
  for (const auto& watcher : streams_) {
    watcher->status = status;
    watcher->ended.Notify();
  }
  streams_.clear();
}

Task<absl::Status> FakeRuntime::WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) {
  if (absl::Status s = Take("GetContainerEvents", ""); !s.ok()) co_return s;
  if (!has_events) co_return absl::UnimplementedError("unknown method GetContainerEvents");
  auto watcher = std::make_shared<Watcher>(co_await asio::this_coro::executor, std::move(on_event));
  streams_.push_back(watcher);
  absl::Status s = co_await watcher->ended.Wait();
  std::erase(streams_, watcher);
  co_return s.ok() ? watcher->status : s;
}

}  // namespace skiff::cri
