// Pods carry the zone and the region of their node as labels, so that their programs can read them.
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;

void AddTopologyLabels(const Admission& admission, std::string_view node, core::Pod* pod) {
  const auto found = admission.Find<core::Node>("nodes", "", node);
  if (!found) return;
  for (const char* key : {"topology.kubernetes.io/zone", "topology.kubernetes.io/region"}) {
    const auto label = found->metadata().labels().find(key);
    if (label != found->metadata().labels().end()) (*pod->mutable_metadata()->mutable_labels())[key] = label->second;
  }
}

Status PodTopologyLabels(const Admission& admission, const Attributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.object || !attributes.subresource.empty())
    return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (pod && !pod->spec().nodename().empty()) AddTopologyLabels(admission, pod->spec().nodename(), pod);
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
