// A prober's host for tests of pods that are not probed.
#ifndef SKIFF_KUBELET_POD_NO_PROBES_TESTING_H_
#define SKIFF_KUBELET_POD_NO_PROBES_TESTING_H_

#include "kubelet/pod/types.h"
#include "kubelet/probe/prober.h"

namespace skiff::kubelet {

class NoProbeHost final : public ProbeHost {
 public:
  std::optional<Container> ContainerOf(const std::string&, const std::string&) override { return std::nullopt; }
  std::string PodIp(const std::string&) override { return ""; }
  bool PodFinished(const std::string&) override { return false; }
  bool PodTerminating(const std::string&) override { return false; }
  Task<StatusOr<ExecResult>> ExecSync(std::string, std::vector<std::string>, std::chrono::nanoseconds) override {
    co_return ExecResult{};
  }
  void ProbeChanged(const std::string&, const std::string&, ProbeKind, ProbeResult) override {}
  void ProbeEvent(const Pod&, const std::string&, std::string_view, std::string_view, std::string_view) override {}
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_NO_PROBES_TESTING_H_
