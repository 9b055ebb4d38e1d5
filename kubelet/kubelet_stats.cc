// The statistics endpoints' bodies.
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

Task<StatusOr<std::string>> Kubelet::Metrics() { co_return registry_.Expose(); }

Task<StatusOr<std::string>> Kubelet::ProbeMetrics() { co_return registry_.Expose(); }

Task<StatusOr<std::string>> Kubelet::CadvisorMetrics() {
  co_return absl::UnimplementedError("container statistics are not collected yet");
}
Task<StatusOr<std::string>> Kubelet::ResourceMetrics() {
  co_return absl::UnimplementedError("container statistics are not collected yet");
}
Task<StatusOr<std::string>> Kubelet::StatsSummary(bool) {
  co_return absl::UnimplementedError("container statistics are not collected yet");
}

}  // namespace skiff::kubelet
