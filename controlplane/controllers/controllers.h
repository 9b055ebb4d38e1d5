// kube-controller-manager in small: all controllers on one loop and one set of caches.
//
// Upstream's controllers that are here, by upstream's names: namespace-controller, serviceaccount-controller,
// root-ca-certificate-publisher-controller, deployment-controller, replicaset-controller, daemonset-controller,
// job-controller, endpointslice-controller, endpoints-controller, node-ipam-controller, node-lifecycle-controller,
// taint-eviction-controller (within node-lifecycle), garbage-collector-controller, pod-garbage-collector-controller,
// disruption-controller, persistentvolumeclaim-protection-controller, persistentvolume-protection-controller,
// volumeattributesclass-protection-controller.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLERS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLERS_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "client/rest.h"

namespace skiff::controlplane {

class Informers;

struct ControllerOptions {
  // As --controllers: "*" is all, "name" adds one, "-name" takes one away.
  std::vector<std::string> controllers{"*"};
  std::string root_ca_pem;                             // what kube-root-ca.crt holds; empty: the publisher does not run
  bool allocate_node_cidrs = true;                     // --allocate-node-cidrs
  std::string cluster_cidr = "10.244.0.0/16";          // --cluster-cidr
  int node_cidr_mask_size = 24;                        // --node-cidr-mask-size
  std::chrono::seconds node_monitor_grace_period{50};  // --node-monitor-grace-period
  std::chrono::seconds node_monitor_period{5};         // --node-monitor-period
  int terminated_pod_gc_threshold = 12500;             // --terminated-pod-gc-threshold
};

// Until cancelled; an error only when an option is unusable. `informers` may be shared with the scheduler: then the
// caller runs them (RunInformers); null makes and runs an own set.
Task<Status> RunControllers(std::shared_ptr<client::Rest> rest, ControllerOptions options,
                            std::shared_ptr<Informers> informers = nullptr);

// A set for RunControllers and RunScheduler to share. RunInformers must be started after both were (their handlers come
// first); it ends when cancelled.
std::shared_ptr<Informers> MakeInformers(std::shared_ptr<client::Rest> rest);
Task<void> RunInformers(std::shared_ptr<Informers> informers);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLERS_H_
