// The one set of caches that the controllers and the scheduler share. What none of them reads is dropped from the
// cached pods and nodes. Made before and run beside the controllers; loop thread only.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_INFORMERS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_INFORMERS_H_

#include <memory>
#include <string>
#include <vector>

#include "client/informer.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/policy/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;
namespace apps = ::k8s::io::api::apps::v1;
namespace batch = ::k8s::io::api::batch::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
namespace policy = ::k8s::io::api::policy::v1;
namespace storage = ::k8s::io::api::storage::v1;
namespace coordination = ::k8s::io::api::coordination::v1;
namespace meta = ::k8s::io::apimachinery::pkg::apis::meta::v1;

using PodPtr = std::shared_ptr<const core::Pod>;
using NodePtr = std::shared_ptr<const core::Node>;

// Drops the fields of a pod (a node) that neither controllers nor the scheduler read.
void SlimPod(core::Pod& pod);
void SlimNode(core::Node& node);

// The name of the claim that a pod's volume is, or that is made for it; "" for other volumes.
std::string ClaimOf(const core::Pod& pod, const core::Volume& volume);

class Informers {
 public:
  // `controllers` false: only what the scheduler needs (pods, nodes).
  explicit Informers(std::shared_ptr<client::Rest> rest, bool controllers = true);

  // Pods have the indexes "node" (spec.nodeName), "owner" (uid of the controller) and "claim" (namespace/name of what
  // their volumes claim).
  std::shared_ptr<client::Informer<core::Pod>> pods;
  std::shared_ptr<client::Informer<core::Node>> nodes;
  std::shared_ptr<client::Informer<core::Namespace>> namespaces;
  std::shared_ptr<client::Informer<core::Service>> services;
  std::shared_ptr<client::Informer<core::ServiceAccount>> service_accounts;
  std::shared_ptr<client::Informer<core::ConfigMap>> root_cas;  // kube-root-ca.crt of every namespace
  std::shared_ptr<client::Informer<core::Endpoints>> endpoints;
  std::shared_ptr<client::Informer<discovery::EndpointSlice>> endpoint_slices;  // index "service": namespace/name
  std::shared_ptr<client::Informer<apps::Deployment>> deployments;
  std::shared_ptr<client::Informer<apps::ReplicaSet>> replica_sets;  // index "owner"
  std::shared_ptr<client::Informer<apps::DaemonSet>> daemon_sets;
  std::shared_ptr<client::Informer<apps::StatefulSet>> stateful_sets;  // without their templates
  std::shared_ptr<client::Informer<batch::Job>> jobs;
  std::shared_ptr<client::Informer<policy::PodDisruptionBudget>> budgets;
  std::shared_ptr<client::Informer<core::PersistentVolumeClaim>> claims;
  std::shared_ptr<client::Informer<core::PersistentVolume>> volumes;
  std::shared_ptr<client::Informer<storage::VolumeAttributesClass>> attributes_classes;
  std::shared_ptr<client::Informer<coordination::Lease>> node_leases;

  std::vector<std::shared_ptr<client::InformerBase>> all() const { return all_; }
  Task<Status> WaitForSync();

 private:
  template <typename T>
  std::shared_ptr<client::Informer<T>> Make(client::InformerOptions options = {}) {
    auto out = std::make_shared<client::Informer<T>>(rest_, std::move(options));
    all_.push_back(out);
    return out;
  }
  std::shared_ptr<client::Rest> rest_;
  std::vector<std::shared_ptr<client::InformerBase>> all_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_INFORMERS_H_
