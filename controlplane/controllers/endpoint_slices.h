// Which EndpointSlices a service should have: pure, with upstream's results (k8s.io/endpointslice): at most 100
// endpoints a slice, one group of slices per set of ports and address family, few writes rather than perfect packing.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINT_SLICES_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINT_SLICES_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

using SlicePtr = std::shared_ptr<const discovery::EndpointSlice>;

inline constexpr char kServiceName[] = "kubernetes.io/service-name";
inline constexpr char kSliceManagedBy[] = "endpointslice.kubernetes.io/managed-by";
inline constexpr char kHeadless[] = "service.kubernetes.io/headless";
inline constexpr char kTriggerTime[] = "endpoints.kubernetes.io/last-change-trigger-time";
inline constexpr char kSliceController[] = "endpointslice-controller.k8s.io";

struct SliceChanges {
  std::vector<discovery::EndpointSlice> create, update;
  std::vector<SlicePtr> remove;
  bool empty() const { return create.empty() && update.empty() && remove.empty(); }
};

// `pods` match the service's selector, `existing` are the slices this controller manages for it. `node_of` may give
// null. A pod on an unknown node is left out and reported in `problem`.
SliceChanges ComputeSlices(const core::Service& service, const std::vector<PodPtr>& pods,
                           const std::vector<SlicePtr>& existing,
                           const std::function<NodePtr(const std::string& name)>& node_of, Status* problem);

// The container port that a service port leads to on this pod; 0 when the pod has no such named port.
int FindTargetPort(const core::Pod& pod, const core::ServicePort& port);
bool IsHeadless(const core::Service& service);  // no cluster IP
bool ShouldPodBeInEndpoints(const core::Pod& pod, bool include_terminating);

// When the change that a sync reflects happened: the earliest new time among the pods' readiness and the service's
// creation, as upstream's tracker computes it. The epoch when nothing is new.
class TriggerTimes {
 public:
  WallTime Compute(const core::Service& service, const std::vector<PodPtr>& pods);
  void Forget(const std::string& service_key) { services_.erase(service_key); }

 private:
  struct Seen {
    std::map<std::string, int64_t> pods;
    int64_t service = 0;
  };
  std::map<std::string, Seen> services_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINT_SLICES_H_
