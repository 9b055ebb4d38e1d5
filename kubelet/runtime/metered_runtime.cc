#include "kubelet/runtime/metered_runtime.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"

namespace skiff::kubelet {
namespace {

namespace v1 = cri::v1;

// "ListPodSandbox" as upstream's label: "list_podsandbox".
std::string OperationName(std::string_view method) {
  std::string joined = absl::StrReplaceAll(method, {{"PodSandbox", "Podsandbox"}});
  if (joined == "UpdateContainerResources") joined = "UpdateContainer";
  std::string out;
  for (char c : joined) {
    if (absl::ascii_isupper(c) && !out.empty()) out += '_';
    out += absl::ascii_tolower(c);
  }
  return out;
}

class MeteredRuntime final : public cri::Runtime {
 public:
  MeteredRuntime(std::unique_ptr<cri::Runtime> runtime, metrics::Registry& registry, Clock& clock)
      : runtime_(std::move(runtime)),
        clock_(clock),
        total_(registry.Counters("kubelet_runtime_operations_total",
                                 "[ALPHA] Cumulative number of runtime operations by operation type.",
                                 {"operation_type"})),
        errors_(registry.Counters("kubelet_runtime_operations_errors_total",
                                  "[ALPHA] Cumulative number of runtime operation errors by operation type.",
                                  {"operation_type"})),
        duration_(registry.Histograms(
            "kubelet_runtime_operations_duration_seconds",
            "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
            {0.005, 0.0125, 0.03125, 0.078125, 0.1953125, 0.48828125, 1.220703125, 3.0517578125, 7.62939453125,
             19.073486328125, 47.6837158203125, 119.20928955078125, 298.0232238769531, 745.0580596923828},
            {"operation_type"})) {}

#define SKIFF_METER(name)                                                                                 \
  Task<StatusOr<v1::name##Response>> name(v1::name##Request request, cri::CallOptions options) override { \
    static const metrics::LabelValues label = {OperationName(#name)};                                     \
    return Measure<v1::name##Response>(label, runtime_->name(std::move(request), options));               \
  }
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_METER)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_METER)
#undef SKIFF_METER

  Task<StatusOr<std::string>> ListPodSandboxEncoded(cri::CallOptions options) override {
    static const metrics::LabelValues label = {OperationName("ListPodSandbox")};
    return Measure<std::string>(label, runtime_->ListPodSandboxEncoded(options));
  }
  Task<StatusOr<std::string>> ListContainersEncoded(cri::CallOptions options) override {
    static const metrics::LabelValues label = {OperationName("ListContainers")};
    return Measure<std::string>(label, runtime_->ListContainersEncoded(options));
  }

  Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) override {
    static const metrics::LabelValues label = {"get_container_events"};
    const SteadyTime began = clock_.Steady();
    total_.With(label).Inc();
    absl::Status end = co_await runtime_->WatchContainerEvents(std::move(on_event));
    duration_.With(label).Observe(std::chrono::duration<double>(clock_.Steady() - began).count());
    if (!end.ok()) errors_.With(label).Inc();
    co_return end;
  }

 private:
  template <typename Response>
  Task<StatusOr<Response>> Measure(const metrics::LabelValues& label, Task<StatusOr<Response>> call) {
    const SteadyTime began = clock_.Steady();
    total_.With(label).Inc();
    auto answer = co_await std::move(call);
    duration_.With(label).Observe(std::chrono::duration<double>(clock_.Steady() - began).count());
    if (!answer.ok()) errors_.With(label).Inc();
    co_return answer;
  }

  std::unique_ptr<cri::Runtime> runtime_;
  Clock& clock_;
  metrics::Family<metrics::Counter>&total_, &errors_;
  metrics::Family<metrics::Histogram>& duration_;
};

}  // namespace

std::unique_ptr<cri::Runtime> Metered(std::unique_ptr<cri::Runtime> runtime, metrics::Registry& registry,
                                      Clock& clock) {
  return std::make_unique<MeteredRuntime>(std::move(runtime), registry, clock);
}

}  // namespace skiff::kubelet
