// A runtime behind a bad line: calls reach the real one (in tests a FakeRuntime) with the faults of a plan. A call that
// was sent goes on when its caller is cancelled, gives up after its time-out, or dies. Loop only.
#ifndef SKIFF_CRI_FAULTY_RUNTIME_H_
#define SKIFF_CRI_FAULTY_RUNTIME_H_

#include <memory>

#include "base/clock.h"
#include "cri/faults.h"
#include "cri/runtime.h"

namespace skiff::cri {

class FaultyRuntime final : public Runtime {
 public:
  // `real` must outlive the calls under way, which may be longer than this object.
  FaultyRuntime(Runtime& real, Clock& clock, std::shared_ptr<FaultPlan> plan)
      : real_(real), clock_(clock), plan_(std::move(plan)) {}

  // The caller is dead: nothing that it still calls reaches the runtime.
  void Cut() { cut_ = true; }

#define SKIFF_CRI_OVERRIDE(name) \
  Task<StatusOr<v1::name##Response>> name(v1::name##Request request, CallOptions options = {}) override;
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_OVERRIDE)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_OVERRIDE)
#undef SKIFF_CRI_OVERRIDE
  Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) override;

 private:
  Runtime& real_;
  Clock& clock_;
  std::shared_ptr<FaultPlan> plan_;
  bool cut_ = false;
};

}  // namespace skiff::cri

#endif  // SKIFF_CRI_FAULTY_RUNTIME_H_
