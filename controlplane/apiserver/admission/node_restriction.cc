// A kubelet changes its own node, the pods bound to it, and nothing else of these kinds.
// Follows https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction .
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
constexpr char kMirrorAnnotation[] = "kubernetes.io/config.mirror";

Status CheckPod(const Attributes& attributes, const std::string& node) {
  const api::About about = attributes.kind.About(attributes.name);
  const core::Pod* pod = attributes.object ? attributes.object->As<core::Pod>() : nullptr;
  const core::Pod* old = attributes.old ? attributes.old->As<core::Pod>() : nullptr;
  if (attributes.operation == Operation::kCreate && pod) {
    if (!pod->metadata().annotations().contains(kMirrorAnnotation))
      return api::ForbiddenError(about, absl::StrCat("pod does not have \"", kMirrorAnnotation,
                                                     "\" annotation, node \"", node, "\" can only create mirror pods"));
    if (pod->spec().nodename() != node)
      return api::ForbiddenError(
          about, absl::StrCat("node \"", node, "\" can only create pods with spec.nodeName set to itself"));
    // A mirror pod must give no access to what the node has none to.
    if (!pod->spec().serviceaccountname().empty())
      return api::ForbiddenError(
          about, absl::StrCat("node \"", node, "\" can not create pods that reference a service account"));
    for (const core::Volume& volume : pod->spec().volumes()) {
      const auto& source = volume.volumesource();
      if (source.has_secret() || source.has_configmap() || source.has_persistentvolumeclaim() || source.has_projected())
        return api::ForbiddenError(about, absl::StrCat("node \"", node,
                                                       "\" can not create pods that reference secrets, configmaps, "
                                                       "persistentvolumeclaims or projected volumes"));
    }
  }
  if (attributes.operation == Operation::kUpdate && old && old->spec().nodename() != node)
    return api::ForbiddenError(
        about,
        absl::StrCat("node \"", node, "\" can only update pod status for pods with spec.nodeName set to itself"));
  if (attributes.operation == Operation::kDelete && old && old->spec().nodename() != node)
    return api::ForbiddenError(
        about, absl::StrCat("node \"", node, "\" can only delete pods with spec.nodeName set to itself"));
  return absl::OkStatus();
}

}  // namespace

Status NodeRestriction(const Admission&, const Context& context, const Attributes& attributes) {
  if (context.internal || !context.user.InGroup(kNodesGroup) ||
      !std::string_view(context.user.name).starts_with(kNodeUserPrefix))
    return absl::OkStatus();
  const std::string node = context.user.name.substr(kNodeUserPrefix.size());
  const api::Resource& resource = *attributes.kind.resource;
  if (!resource.group.empty()) return absl::OkStatus();
  if (resource.plural == "pods") return CheckPod(attributes, node);
  if (resource.plural == "nodes") {
    const std::string_view name =
        attributes.object ? std::string_view(attributes.object->meta().name()) : attributes.name;
    if (name != node)
      return api::ForbiddenError(
          attributes.kind.About(name),
          absl::StrCat("node \"", node, "\" is not allowed to modify node \"", std::string(name), "\""));
  }
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
