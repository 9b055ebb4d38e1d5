#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/namespace.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;

Status NamespaceLifecycle(const Admission& admission, const Context& context, const Attributes& attributes) {
  if (context.internal) return absl::OkStatus();
  const api::Resource& resource = *attributes.kind.resource;
  if (attributes.operation == Operation::kDelete) {
    if (resource.group.empty() && resource.plural == "namespaces" &&
        (attributes.name == "default" || attributes.name == "kube-system" || attributes.name == "kube-public"))
      return api::ForbiddenError(attributes.kind.About(attributes.name), "this namespace may not be deleted");
    return absl::OkStatus();
  }
  if (!resource.namespaced || attributes.ns.empty() || attributes.operation != Operation::kCreate)
    return absl::OkStatus();
  // Reviews ask about a namespace, they do not live in it.
  if (resource.plural == "localsubjectaccessreviews") return absl::OkStatus();
  auto ns = admission.Find<core::Namespace>("namespaces", "", attributes.ns);
  if (!ns) return api::NotFoundError({"", "namespaces", attributes.ns});
  if (ns->status().phase() != "Terminating" && !ns->metadata().has_deletiontimestamp()) return absl::OkStatus();
  api::StatusMessage status = api::ToStatusMessage(
      api::ForbiddenError(attributes.kind.About(attributes.name),
                          absl::StrCat("unable to create new content in namespace ", std::string(attributes.ns),
                                       " because it is being terminated")));
  auto* cause = status.mutable_details()->add_causes();
  cause->set_reason("NamespaceTerminating");
  cause->set_message(absl::StrCat("namespace ", std::string(attributes.ns), " is being terminated"));
  cause->set_field("metadata.namespace");
  return api::FromStatusMessage(std::move(status));
}

}  // namespace skiff::controlplane
