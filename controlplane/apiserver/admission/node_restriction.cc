// A kubelet changes its own node, lease, driver list and slices, the pods bound to it, and nothing else of these kinds.
// Follows https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction .
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "api/annotations.h"
#include "api/codec.h"
#include "base/csr.h"
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/admission/pod_references.h"
#include "controlplane/apiserver/authz.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/certificates/v1/generated.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace authn = ::k8s::io::api::authentication::v1;
namespace certificates = ::k8s::io::api::certificates::v1;
namespace core = ::k8s::io::api::core::v1;
namespace resource_api = ::k8s::io::api::resource::v1;
namespace storage = ::k8s::io::api::storage::v1;

class Restriction {
 public:
  Restriction(const Admission& admission, const Context& context, const Attributes& attributes, std::string node)
      : admission_(admission), context_(context), attributes_(attributes), node_(std::move(node)) {}

  Status Check() {
    const api::Resource& resource = *attributes_.kind.resource;
    const std::string_view sub = attributes_.subresource;
    if (resource.group.empty()) {
      if (resource.plural == "pods") {
        if (sub.empty()) return Pod();
        if (sub == "status") return PodStatus();
        if (sub == "eviction") return PodEviction();
        return Refuse("unexpected pod subresource \"", sub, "\", only 'status' and 'eviction' are allowed");
      }
      if (resource.plural == "nodes") return Node();
      if (resource.plural == "persistentvolumeclaims")
        return sub == "status" ? ClaimStatus() : Refuse("may only update PVC status");
      if (resource.plural == "serviceaccounts") return Token();
    } else if (resource.group == "coordination.k8s.io" && resource.plural == "leases") {
      if (attributes_.ns != "kube-node-lease")
        return Refuse("can only access leases in the \"kube-node-lease\" system namespace");
      if (Name() != node_) return Refuse("can only access node lease with the same name as the requesting node");
    } else if (resource.plural == "csinodes") {
      if (Name() != node_) return Refuse("can only access CSINode with the same name as the requesting node");
    } else if (resource.plural == "certificatesigningrequests") {
      if (attributes_.operation == Operation::kCreate) return SigningRequest();
    } else if (resource.plural == "resourceslices") {
      const bool create = attributes_.operation == Operation::kCreate;
      if (attributes_.operation == Operation::kUpdate) return absl::OkStatus();
      const auto* slice = (create ? attributes_.object : attributes_.old)->As<resource_api::ResourceSlice>();
      if (slice->spec().nodename() != node_)
        return Refuse("can only ", create ? "create" : "delete",
                      " ResourceSlice with the same NodeName as the requesting node");
    }
    return absl::OkStatus();
  }

 private:
  template <typename... Parts>
  Status Refuse(const Parts&... parts) const {
    return api::ForbiddenError(attributes_.kind.About(attributes_.name), absl::StrCat(Text(parts)...));
  }
  static std::string Text(std::string_view text) { return std::string(text); }

  std::string_view Name() const {
    return attributes_.operation == Operation::kCreate && attributes_.object
               ? std::string_view(attributes_.object->meta().name())
               : attributes_.name;
  }

  Status Pod() {
    if (attributes_.operation == Operation::kCreate) return CreatePod(*attributes_.object->As<core::Pod>());
    if (attributes_.operation == Operation::kUpdate)
      return Refuse("unexpected operation \"UPDATE\", node \"", node_, "\" can only create and delete mirror pods");
    if (attributes_.old->As<core::Pod>()->spec().nodename() != node_)
      return Refuse("node \"", node_, "\" can only delete pods with spec.nodeName set to itself");
    return absl::OkStatus();
  }

  Status CreatePod(const core::Pod& pod) {
    if (!pod.metadata().annotations().contains(api::kMirrorAnnotation))
      return Refuse("pod does not have \"", api::kMirrorAnnotation, "\" annotation, node \"", node_,
                    "\" can only create mirror pods");
    if (pod.spec().nodename() != node_)
      return Refuse("node \"", node_, "\" can only create pods with spec.nodeName set to itself");
    if (pod.metadata().ownerreferences_size() > 1)
      return Refuse("node \"", node_, "\" can only create pods with a single owner reference set to itself");
    if (pod.metadata().ownerreferences_size() == 0)
      return Refuse("node \"", node_, "\" can only create pods with an owner reference set to itself");
    const auto& owner = pod.metadata().ownerreferences(0);
    if (owner.apiversion() != "v1" || owner.kind() != "Node" || owner.name() != node_)
      return Refuse("node \"", node_, "\" can only create pods with an owner reference set to itself");
    if (!owner.controller())
      return Refuse("node \"", node_, "\" can only create pods with a controller owner reference set to itself");
    if (owner.blockownerdeletion())
      return Refuse("node \"", node_, "\" must not set blockOwnerDeletion on an owner reference");
    auto node = admission_.Find<core::Node>("nodes", "", node_);
    if (!node) return api::NotFoundError({"", "nodes", node_});
    if (owner.uid() != node->metadata().uid())
      return Refuse("node ", node_, " UID mismatch: expected ", owner.uid(), " got ", node->metadata().uid());
    if (const std::string_view what = Reference(pod); !what.empty())
      return Refuse("node \"", node_, "\" can not create pods that reference ", what);
    return absl::OkStatus();
  }

  // The first kind of API object that a pod needs, which a mirror pod may not.
  static std::string_view Reference(const core::Pod& pod) {
    const core::PodSpec& spec = pod.spec();
    if (!spec.serviceaccountname().empty()) return "serviceaccounts";
    if (RefersToSecrets(spec)) return "secrets";
    if (RefersToConfigMaps(spec)) return "configmaps";
    if (spec.resourceclaims_size() > 0) return "resourceclaims";
    for (const core::Volume& volume : spec.volumes()) {
      const auto& source = volume.volumesource();
      if (source.has_csi()) return "csidrivers (via CSI volumes)";
      if (source.has_glusterfs()) return "endpoints (via glusterFS volumes)";
      if (source.has_persistentvolumeclaim()) return "persistentvolumeclaims";
      if (source.has_ephemeral()) return "persistentvolumeclaims (via ephemeral volumes)";
      for (const auto& part : source.projected().sources()) {
        if (part.has_serviceaccounttoken()) return "serviceaccounts (via projected volumes)";
        if (part.has_clustertrustbundle()) return "clustertrustbundles";
        if (part.has_podcertificate()) return "podcertificates";
      }
    }
    return "";
  }

  Status PodStatus() {
    if (attributes_.operation != Operation::kUpdate) return Refuse("unexpected operation");
    const core::Pod& old = *attributes_.old->As<core::Pod>();
    const core::Pod& pod = *attributes_.object->As<core::Pod>();
    if (old.spec().nodename() != node_)
      return Refuse("node \"", node_, "\" can only update pod status for pods with spec.nodeName set to itself");
    if (!Same(old.metadata().labels(), pod.metadata().labels()))
      return Refuse("node \"", node_, "\" cannot update labels through pod status");
    core::PodStatus before, after;
    *before.mutable_resourceclaimstatuses() = old.status().resourceclaimstatuses();
    *after.mutable_resourceclaimstatuses() = pod.status().resourceclaimstatuses();
    if (!api::Equal(before, after)) return Refuse("node \"", node_, "\" cannot update resource claim statues");
    if (!api::Equal(old.status().extendedresourceclaimstatus(), pod.status().extendedresourceclaimstatus()))
      return Refuse("node \"", node_, "\" cannot update extended resource claim status");
    return absl::OkStatus();
  }

  Status PodEviction() {
    auto pod = admission_.Find<core::Pod>("pods", attributes_.ns, attributes_.name);
    if (!pod) return api::NotFoundError({"", "pods", attributes_.name});
    if (pod->spec().nodename() != node_)
      return Refuse("node ", node_, " can only evict pods with spec.nodeName set to itself");
    return absl::OkStatus();
  }

  Status Node() {
    if (Name() != node_) return Refuse("node \"", node_, "\" is not allowed to modify node \"", Name(), "\"");
    if (attributes_.operation == Operation::kDelete) return absl::OkStatus();
    const core::Node& node = *attributes_.object->As<core::Node>();
    const core::Node* old = attributes_.old ? attributes_.old->As<core::Node>() : nullptr;
    if (!old) {
      if (node.spec().has_configsource())
        return Refuse("node \"", node_, "\" is not allowed to create pods with a non-nil configSource");
      if (const std::string bad = ForbiddenLabels(node, nullptr); !bad.empty())
        return Refuse("node \"", node_, "\" is not allowed to set the following labels: ", bad);
      return absl::OkStatus();
    }
    if (node.spec().has_configsource() && !api::Equal(node.spec().configsource(), old->spec().configsource()))
      return Refuse("node \"", node_, "\" is not allowed to update configSource to a new non-nil configSource");
    core::NodeSpec before, after;
    *before.mutable_taints() = old->spec().taints();
    *after.mutable_taints() = node.spec().taints();
    if (!api::Equal(before, after)) return Refuse("node \"", node_, "\" is not allowed to modify taints");
    api::ObjectMeta had, has;
    *had.mutable_ownerreferences() = old->metadata().ownerreferences();
    *has.mutable_ownerreferences() = node.metadata().ownerreferences();
    if (!api::Equal(had, has)) return Refuse("node \"", node_, "\" is not allowed to modify ownerReferences");
    if (const std::string bad = ForbiddenLabels(node, old); !bad.empty())
      return Refuse("is not allowed to modify labels: ", bad);
    return absl::OkStatus();
  }

  // The rest of what a node may ask for is the signers' to check.
  Status SigningRequest() const {
    const auto& spec = attributes_.object->As<certificates::CertificateSigningRequest>()->spec();
    if (spec.signername() != "kubernetes.io/kubelet-serving" &&
        spec.signername() != "kubernetes.io/kube-apiserver-client-kubelet")
      return absl::OkStatus();
    const auto common_name = CsrCommonName(spec.request());
    if (!common_name.ok()) return Refuse("unable to parse csr: ", common_name.status().message());
    if (*common_name != absl::StrCat(kNodeUserPrefix, node_))
      return Refuse("can only create a node CSR with CN=system:node:", node_);
    return absl::OkStatus();
  }

  using LabelMap = google::protobuf::Map<std::string, std::string>;
  static bool Same(const LabelMap& a, const LabelMap& b) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, value] : a)
      if (const auto it = b.find(key); it == b.end() || it->second != value) return false;
    return true;
  }

  // Labels that steer workloads to nodes are not the nodes' to change: joined, "" for none.
  static std::string ForbiddenLabels(const core::Node& node, const core::Node* old) {
    static const LabelMap* const none = new LabelMap;
    const LabelMap &now = node.metadata().labels(), &before = old ? old->metadata().labels() : *none;
    std::set<std::string> bad;
    auto look = [&](const LabelMap& a, const LabelMap& b) {
      for (const auto& [key, value] : a) {
        if (const auto it = b.find(key); it != b.end() && it->second == value) continue;
        const size_t slash = key.find('/');
        const std::string domain = slash == std::string::npos ? "" : key.substr(0, slash);
        auto in = [&](std::string_view suffix) {
          return domain == suffix || absl::EndsWith(domain, "." + std::string(suffix));
        };
        if (in("node-restriction.kubernetes.io") ||
            ((in("kubernetes.io") || in("k8s.io")) && !KubeletsOwn(key, domain)))
          bad.insert(key);
      }
    };
    look(now, before);
    look(before, now);
    return absl::StrJoin(bad, ", ");
  }
  static bool KubeletsOwn(const std::string& key, const std::string& domain) {
    static const auto* const own = new std::set<std::string>{"kubernetes.io/hostname",
                                                             "topology.kubernetes.io/zone",
                                                             "topology.kubernetes.io/region",
                                                             "failure-domain.beta.kubernetes.io/zone",
                                                             "failure-domain.beta.kubernetes.io/region",
                                                             "node.kubernetes.io/instance-type",
                                                             "beta.kubernetes.io/instance-type",
                                                             "kubernetes.io/os",
                                                             "kubernetes.io/arch",
                                                             "beta.kubernetes.io/os",
                                                             "beta.kubernetes.io/arch"};
    if (own->contains(key)) return true;
    for (const char* allowed : {"kubelet.kubernetes.io", "node.kubernetes.io"})
      if (domain == allowed || absl::EndsWith(domain, absl::StrCat(".", allowed))) return true;
    return false;
  }

  Status ClaimStatus() {
    if (attributes_.operation != Operation::kUpdate) return Refuse("unexpected operation");
    core::PersistentVolumeClaim before = *attributes_.old->As<core::PersistentVolumeClaim>();
    core::PersistentVolumeClaim after = *attributes_.object->As<core::PersistentVolumeClaim>();
    for (core::PersistentVolumeClaim* claim : {&before, &after}) {
      claim->mutable_metadata()->clear_resourceversion();
      claim->mutable_metadata()->clear_managedfields();
      claim->mutable_status()->clear_capacity();
      claim->mutable_status()->clear_conditions();
      claim->mutable_status()->clear_allocatedresources();
      claim->mutable_status()->clear_allocatedresourcestatuses();
    }
    if (!api::Equal(before, after))
      return Refuse("node \"", node_,
                    "\" is not allowed to update fields other than status.quantity and status.conditions");
    return absl::OkStatus();
  }

  Status Token() {
    if (attributes_.operation != Operation::kCreate || attributes_.subresource != "token") return absl::OkStatus();
    const auto& spec = attributes_.object->As<authn::TokenRequest>()->spec();
    const auto& ref = spec.boundobjectref();
    if (!spec.has_boundobjectref() || ref.apiversion() != "v1" || ref.kind() != "Pod" || ref.name().empty())
      return Refuse("node requested token not bound to a pod");
    if (ref.uid().empty()) return Refuse("node requested token with a pod binding without a uid");
    auto pod = admission_.Find<core::Pod>("pods", attributes_.ns, ref.name());
    if (!pod) return api::NotFoundError({"", "pods", ref.name()});
    if (ref.uid() != pod->metadata().uid())
      return Refuse("the UID in the bound object reference (", ref.uid(),
                    ") does not match the UID in record. The object might have been deleted and then recreated");
    if (pod->spec().nodename() != node_)
      return Refuse("node requested token bound to a pod scheduled on a different node");
    if (spec.audiences_size() > 1) return Refuse("node may only request 0 or 1 audiences");
    const std::string audience = spec.audiences_size() > 0 ? spec.audiences(0) : "";
    if (NamesAudience(*pod, audience)) return absl::OkStatus();
    Access access;
    access.verb = "request-serviceaccounts-token-audience";
    access.version = "v1";
    access.resource = audience;
    access.ns = std::string(attributes_.ns);
    access.name = std::string(attributes_.name);
    if (admission_.authorizer() && admission_.authorizer()->Authorize(context_.user, access).allowed)
      return absl::OkStatus();
    return Refuse("audience \"", audience, "\" not found in pod spec volume, ", context_.user.name,
                  " is not authorized to request tokens for this audience");
  }

  bool NamesAudience(const core::Pod& pod, const std::string& audience) const {
    for (const core::Volume& volume : pod.spec().volumes()) {
      const auto& source = volume.volumesource();
      for (const auto& part : source.projected().sources())
        if (part.has_serviceaccounttoken() && part.serviceaccounttoken().audience() == audience) return true;
      std::string driver = source.csi().driver(), claim;
      if (source.has_persistentvolumeclaim()) claim = source.persistentvolumeclaim().claimname();
      if (source.has_ephemeral()) claim = absl::StrCat(pod.metadata().name(), "-", volume.name());
      if (!claim.empty()) {
        auto found = admission_.Find<core::PersistentVolumeClaim>("persistentvolumeclaims", attributes_.ns, claim);
        if (!found) continue;
        auto bound = admission_.Find<core::PersistentVolume>("persistentvolumes", "", found->spec().volumename());
        if (!bound) continue;
        driver = bound->spec().persistentvolumesource().csi().driver();
      }
      if (driver.empty()) continue;
      auto csi = admission_.Find<storage::CSIDriver>("csidrivers", "", driver, "storage.k8s.io");
      if (!csi) continue;
      for (const auto& request : csi->spec().tokenrequests())
        if (request.audience() == audience) return true;
    }
    return false;
  }

  const Admission& admission_;
  const Context& context_;
  const Attributes& attributes_;
  const std::string node_;
};

}  // namespace

Status NodeRestriction(const Admission& admission, const Context& context, const Attributes& attributes) {
  if (context.internal || !context.user.InGroup(kNodesGroup)) return absl::OkStatus();
  // A member of the nodes' group without a node's name has no node that is its own.
  if (!std::string_view(context.user.name).starts_with(kNodeUserPrefix)) return absl::OkStatus();
  const std::string node = context.user.name.substr(kNodeUserPrefix.size());
  return Restriction(admission, context, attributes, node).Check();
}

}  // namespace skiff::controlplane
