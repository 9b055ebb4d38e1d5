#include "controlplane/apiserver/admission.h"

namespace skiff::controlplane {

Status Admission::Mutate(Context& context, const Attributes& attributes) const {
  RETURN_IF_ERROR(NamespaceLifecycle(*this, context, attributes));
  RETURN_IF_ERROR(LimitRangerDefaults(*this, attributes));
  RETURN_IF_ERROR(ServiceAccountAdmission(*this, attributes));
  RETURN_IF_ERROR(TaintNewNodes(attributes));
  RETURN_IF_ERROR(PriorityAdmission(*this, attributes));
  RETURN_IF_ERROR(DefaultTolerations(attributes));
  RETURN_IF_ERROR(RuntimeClassAdmission(*this, attributes));
  RETURN_IF_ERROR(PodTopologyLabels(*this, attributes));
  return absl::OkStatus();
}

Status Admission::Validate(Context& context, const Attributes& attributes) const {
  if (attributes.operation == Operation::kDelete) RETURN_IF_ERROR(NamespaceLifecycle(*this, context, attributes));
  RETURN_IF_ERROR(LimitRanger(*this, attributes));
  if (node_restriction_) RETURN_IF_ERROR(NodeRestriction(*this, context, attributes));
  RETURN_IF_ERROR(RbacEscalation(*this, context, attributes));
  RETURN_IF_ERROR(PodResize(*this, attributes));
  return context.internal ? absl::OkStatus() : ResourceQuota(*this, attributes);
}

}  // namespace skiff::controlplane
