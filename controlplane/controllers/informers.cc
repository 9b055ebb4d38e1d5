#include "controlplane/controllers/informers.h"

#include <algorithm>

#include "client/object.h"

namespace skiff::controlplane {
namespace {

void SlimContainer(core::Container& container) {
  container.clear_command();
  container.clear_args();
  container.clear_workingdir();
  container.clear_env();
  container.clear_envfrom();
  container.clear_volumemounts();
  container.clear_volumedevices();
  container.clear_livenessprobe();
  container.clear_readinessprobe();
  container.clear_startupprobe();
  container.clear_lifecycle();
  container.clear_terminationmessagepath();
  container.clear_terminationmessagepolicy();
  container.clear_securitycontext();
}

std::vector<std::string> OwnerUid(const meta::ObjectMeta& metadata) {
  const auto* owner = client::ControllerOf(metadata);
  return owner == nullptr ? std::vector<std::string>() : std::vector<std::string>{owner->uid()};
}

}  // namespace

void SlimPod(core::Pod& pod) {
  auto* spec = pod.mutable_spec();
  for (auto& container : *spec->mutable_containers()) SlimContainer(container);
  for (auto& container : *spec->mutable_initcontainers()) SlimContainer(container);
  // The scheduler looks at claims; of other volumes only the kubelet wants to know.
  auto& volumes = *spec->mutable_volumes();
  volumes.erase(std::remove_if(volumes.begin(), volumes.end(),
                               [](const core::Volume& volume) {
                                 const auto& source = volume.volumesource();
                                 return !source.has_persistentvolumeclaim() && !source.has_ephemeral();
                               }),
                volumes.end());
  spec->clear_ephemeralcontainers();
  spec->clear_securitycontext();
  spec->clear_imagepullsecrets();
  spec->clear_dnsconfig();
  for (auto& status : *pod.mutable_status()->mutable_containerstatuses()) {
    status.clear_image();
    status.clear_imageid();
    status.clear_containerid();
    status.clear_laststate();
    status.clear_volumemounts();
    status.clear_resources();
    status.clear_allocatedresources();
    status.clear_user();
  }
  pod.mutable_status()->clear_initcontainerstatuses();
  pod.mutable_status()->clear_ephemeralcontainerstatuses();
  pod.mutable_metadata()->mutable_annotations()->erase("kubectl.kubernetes.io/last-applied-configuration");
}

void SlimNode(core::Node& node) {
  node.mutable_status()->clear_images();
  node.mutable_status()->clear_volumesinuse();
  node.mutable_status()->clear_volumesattached();
  node.mutable_status()->clear_nodeinfo();
}

std::string ClaimOf(const core::Pod& pod, const core::Volume& volume) {
  const auto& source = volume.volumesource();
  if (source.has_persistentvolumeclaim()) return source.persistentvolumeclaim().claimname();
  return source.has_ephemeral() ? absl::StrCat(pod.metadata().name(), "-", volume.name()) : "";
}

Informers::Informers(std::shared_ptr<client::Rest> rest, bool controllers) : rest_(std::move(rest)) {
  pods = Make<core::Pod>();
  pods->SetTransform(SlimPod);
  pods->AddIndex("node", [](const core::Pod& pod) -> std::vector<std::string> {
    if (pod.spec().nodename().empty()) return {};
    return {pod.spec().nodename()};
  });
  pods->AddIndex("owner", [](const core::Pod& pod) { return OwnerUid(pod.metadata()); });
  pods->AddIndex("claim", [](const core::Pod& pod) {
    std::vector<std::string> out;
    for (const auto& volume : pod.spec().volumes()) {
      if (const std::string name = ClaimOf(pod, volume); !name.empty())
        out.push_back(client::MakeKey(pod.metadata().namespace_(), name));
    }
    return out;
  });
  nodes = Make<core::Node>();
  nodes->SetTransform(SlimNode);
  if (!controllers) return;
  namespaces = Make<core::Namespace>();
  services = Make<core::Service>();
  service_accounts = Make<core::ServiceAccount>();
  root_cas = Make<core::ConfigMap>({.field_selector = "metadata.name=kube-root-ca.crt"});
  endpoints = Make<core::Endpoints>();
  endpoint_slices = Make<discovery::EndpointSlice>();
  endpoint_slices->AddIndex("service", [](const discovery::EndpointSlice& slice) -> std::vector<std::string> {
    const auto found = slice.metadata().labels().find("kubernetes.io/service-name");
    if (found == slice.metadata().labels().end()) return {};
    return {client::MakeKey(slice.metadata().namespace_(), found->second)};
  });
  deployments = Make<apps::Deployment>();
  replica_sets = Make<apps::ReplicaSet>();
  replica_sets->AddIndex("owner", [](const apps::ReplicaSet& set) { return OwnerUid(set.metadata()); });
  daemon_sets = Make<apps::DaemonSet>();
  stateful_sets = Make<apps::StatefulSet>();
  stateful_sets->SetTransform([](apps::StatefulSet& set) {
    set.mutable_spec()->clear_template_();
    set.mutable_spec()->clear_volumeclaimtemplates();
    set.clear_status();
  });
  jobs = Make<batch::Job>();
  budgets = Make<policy::PodDisruptionBudget>();
  claims = Make<core::PersistentVolumeClaim>();
  volumes = Make<core::PersistentVolume>();
  attributes_classes = Make<storage::VolumeAttributesClass>();
  node_leases = Make<coordination::Lease>({.ns = "kube-node-lease"});
}

Task<Status> Informers::WaitForSync() {
  const auto all = all_;
  for (const auto& informer : all) CO_RETURN_IF_ERROR(co_await informer->WaitForSync());
  co_return absl::OkStatus();
}

}  // namespace skiff::controlplane
