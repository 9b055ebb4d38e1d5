// Pods and their use in few words, for the tests of evictions.
#ifndef SKIFF_KUBELET_EVICTION_EVICTION_TESTING_H_
#define SKIFF_KUBELET_EVICTION_EVICTION_TESTING_H_

#include <string>

#include "kubelet/eviction/ranking.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet::testing_eviction {

inline constexpr uint64_t kMi = uint64_t{1} << 20;

inline std::shared_ptr<Pod> NamedPod(const std::string& name, int32_t priority = 0, const char* memory_request = "") {
  auto pod = std::make_shared<Pod>(testing_pods::MakePod({"c"}));
  pod->mutable_metadata()->set_name(name);
  pod->mutable_metadata()->set_uid(name);
  pod->mutable_spec()->set_priority(priority);
  if (memory_request[0] != 0) {
    auto* requests = pod->mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_requests();
    (*requests)["memory"] = api::Quantity::Of(memory_request).ToProto();
  }
  return pod;
}

inline PodUse UseOf(uint64_t memory, uint64_t rootfs = 0, uint64_t logs = 0) {
  PodUse use;
  use.memory = memory;
  use.containers.push_back({.name = "c", .memory = memory, .rootfs = DiskUse{rootfs, 10}, .logs = DiskUse{logs, 1}});
  use.ephemeral = {rootfs + logs, 11};
  use.processes = 1;
  return use;
}

}  // namespace skiff::kubelet::testing_eviction

#endif  // SKIFF_KUBELET_EVICTION_EVICTION_TESTING_H_
