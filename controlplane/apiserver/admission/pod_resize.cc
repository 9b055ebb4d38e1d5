// A pod is not resized beyond what its node has at all, nor on a node that cannot resize.
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/admission/pod_resources.h"
#include "k8s/io/api/core/v1/node.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

Status Refuse(const Attributes& attributes, std::string_view why, const char* cause) {
  api::StatusMessage status = api::ToStatusMessage(api::ForbiddenError(attributes.kind.About(attributes.name), why));
  status.mutable_details()->add_causes()->set_reason(cause);
  return api::FromStatusMessage(std::move(status));
}

}  // namespace

Status PodResize(const Admission& admission, const Attributes& attributes) {
  if (attributes.subresource != "resize" || attributes.operation != Operation::kUpdate) return absl::OkStatus();
  const core::Pod* pod = attributes.object->As<core::Pod>();
  // Without a change of the specification there is nothing to look at.
  if (!pod || pod->spec().nodename().empty() || pod->metadata().generation() == attributes.old->meta().generation())
    return absl::OkStatus();
  const std::string& name = pod->spec().nodename();
  const auto node = admission.Find<core::Node>("nodes", "", name);
  if (!node)
    return api::ForbiddenError(attributes.kind.About(attributes.name), absl::StrCat("node \"", name, "\" not found"));
  const auto& labels = node->metadata().labels();
  if (const auto os = labels.find("kubernetes.io/os"); os != labels.end() && os->second != "linux")
    return Refuse(
        attributes,
        absl::StrCat("pod resize is only supported on linux nodes, node \"", name, "\" is \"", os->second, "\""),
        "UnsupportedPlatform");
  ResourceSums requests = PodRequests(pod->spec());
  for (const auto& [resource, quantity] : SumsOf(pod->spec().overhead())) requests[resource] += quantity;
  ResourceSums allocatable = SumsOf(node->status().allocatable());
  std::string over;
  if (requests["cpu"] > allocatable["cpu"])
    absl::StrAppend(&over, "cpu, requested: ", requests["cpu"].MilliValue(),
                    ", allocatable: ", allocatable["cpu"].MilliValue());
  if (requests["memory"] > allocatable["memory"])
    absl::StrAppend(&over, over.empty() ? "" : "; ", "memory, requested: ", requests["memory"].Value(),
                    ", allocatable: ", allocatable["memory"].Value());
  if (over.empty()) return absl::OkStatus();
  return Refuse(attributes, "node didn't have enough allocatable resources: " + over, "NodeCapacity");
}

}  // namespace skiff::controlplane
