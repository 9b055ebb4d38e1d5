#include "kubelet/runtime/cgroup_driver.h"

#include "base/log.h"

namespace skiff::kubelet {

Task<StatusOr<std::string>> CgroupDriver(cri::Runtime& runtime, Clock& clock, std::string configured,
                                         metrics::Registry& registry) {
  for (int attempt = 0;; ++attempt) {
    const auto answer = co_await runtime.RuntimeConfig({}, {.timeout = std::chrono::seconds(10)});
    if (absl::IsUnimplemented(answer.status())) {
      registry
          .Gauges("kubelet_cri_losing_support",
                  "[ALPHA] the Kubernetes version that the currently running CRI implementation will lose support on "
                  "if not upgraded.",
                  {"version"})
          .With({"1.37.0"})
          .Set(1);
      LOG_INFO("The runtime does not name its cgroup driver (RuntimeConfig): taking the configured one",
               {"cgroupDriver", configured});
      co_return configured;
    }
    if (!answer.ok()) {
      if (attempt % 10 == 0) LOG_ERROR(answer.status(), "The runtime does not tell its cgroup driver yet");
      CO_RETURN_IF_ERROR(co_await clock.Sleep(std::chrono::seconds(2)));
      continue;
    }
    if (!answer->has_linux()) co_return configured;
    std::string driver;
    switch (answer->linux().cgroup_driver()) {
      case cri::v1::SYSTEMD: driver = "systemd"; break;
      case cri::v1::CGROUPFS: driver = "cgroupfs"; break;
      default:
        co_return InvalidArgument("runtime returned an unknown cgroup driver ",
                                  static_cast<int>(answer->linux().cgroup_driver()));
    }
    LOG_INFO("Using cgroup driver setting received from the CRI runtime", {"cgroupDriver", driver});
    co_return driver;
  }
}

}  // namespace skiff::kubelet
