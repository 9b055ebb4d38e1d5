#include "controlplane/apiserver/node_authorizer.h"

#include <set>

#include "api/annotations.h"
#include "api/selector.h"
#include "controlplane/apiserver/stored_bytes.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace resource_api = ::k8s::io::api::resource::v1;
namespace storage = ::k8s::io::api::storage::v1;

constexpr char kNoRelation[] = "no relationship found between node '";

// Everything that a pod refers to, as "kind/ns/name".
std::set<std::string> ReferencesOf(const core::Pod& pod) {
  std::set<std::string> out;
  const std::string& ns = pod.metadata().namespace_();
  auto add = [&](const char* kind, const std::string& name) {
    if (!name.empty()) out.insert(absl::StrCat(kind, "/", ns, "/", name));
  };
  const core::PodSpec& spec = pod.spec();
  out.insert(absl::StrCat("pod/", ns, "/", pod.metadata().name()));
  // A node makes mirror pods itself: they must not lead it to anything else.
  if (pod.metadata().annotations().contains(api::kMirrorAnnotation)) return out;
  add("serviceaccount", spec.serviceaccountname());
  for (const auto& secret : spec.imagepullsecrets()) add("secret", secret.name());
  auto container = [&](const auto& c) {
    for (const auto& source : c.envfrom()) {
      if (source.has_configmapref()) add("configmap", source.configmapref().localobjectreference().name());
      if (source.has_secretref()) add("secret", source.secretref().localobjectreference().name());
    }
    for (const auto& env : c.env()) {
      if (env.valuefrom().has_configmapkeyref())
        add("configmap", env.valuefrom().configmapkeyref().localobjectreference().name());
      if (env.valuefrom().has_secretkeyref())
        add("secret", env.valuefrom().secretkeyref().localobjectreference().name());
    }
  };
  for (const auto& c : spec.containers()) container(c);
  for (const auto& c : spec.initcontainers()) container(c);
  for (const auto& c : spec.ephemeralcontainers()) container(c.ephemeralcontainercommon());
  for (const core::Volume& volume : spec.volumes()) {
    const auto& source = volume.volumesource();
    if (source.has_configmap()) add("configmap", source.configmap().localobjectreference().name());
    if (source.has_secret()) add("secret", source.secret().secretname());
    if (source.has_persistentvolumeclaim()) add("pvc", source.persistentvolumeclaim().claimname());
    if (source.has_ephemeral()) add("pvc", absl::StrCat(pod.metadata().name(), "-", volume.name()));
    if (source.has_csi() && source.csi().has_nodepublishsecretref())
      add("secret", source.csi().nodepublishsecretref().name());
    for (const auto& projection : source.projected().sources()) {
      if (projection.has_configmap()) add("configmap", projection.configmap().localobjectreference().name());
      if (projection.has_secret()) add("secret", projection.secret().localobjectreference().name());
    }
  }
  for (const auto& claim : spec.resourceclaims()) add("resourceclaim", claim.resourceclaimname());
  for (const auto& claim : pod.status().resourceclaimstatuses()) add("resourceclaim", claim.resourceclaimname());
  add("resourceclaim", pod.status().extendedresourceclaimstatus().resourceclaimname());
  return out;
}

// The pod leads to what it led to before. Most writes are of statuses: not even decoded.
bool SameReferences(const StoredValue& value, const StoredValue& previous) {
  // Of a mirror pod nothing but the pod itself counts; wherever the word stands, it is looked at closely.
  for (const StoredValue* v : {&value, &previous})
    if (v->data.find(api::kMirrorAnnotation) != std::string::npos) return false;
  auto same = [&](std::initializer_list<int> numbers) {
    const auto now = StoredField(value, numbers), before = StoredField(previous, numbers);
    return now && before && *now == *before;
  };
  return same({core::Pod::kSpecFieldNumber}) &&
         same({core::Pod::kStatusFieldNumber, core::PodStatus::kResourceClaimStatusesFieldNumber}) &&
         same({core::Pod::kStatusFieldNumber, core::PodStatus::kExtendedResourceClaimStatusFieldNumber});
}

Decision No(std::string reason = "") { return {false, std::move(reason)}; }
const Decision kYes{true, ""};

bool IsAny(std::string_view word, std::initializer_list<std::string_view> words) {
  for (std::string_view candidate : words)
    if (candidate == word) return true;
  return false;
}

}  // namespace

NodeAuthorizer::NodeAuthorizer(Store& store, const Kinds& kinds) : store_(store), kinds_(kinds) {
  const Kind& pods = kinds_.Core("pods");
  store_.PeekPrefix(pods.prefix, [&](const std::string& key, const ValuePtr& value) {
    Count(key, value, 1);
    return true;
  });
  store_.Observe([this](const StoreEvent& event) { Changed(event); });
}

void NodeAuthorizer::Changed(const StoreEvent& event) {
  if (!event.key.starts_with("/registry/pods/")) return;
  if (event.value && event.previous && SameReferences(*event.value, *event.previous)) return;
  if (event.value) Count(event.key, event.value, 1);
  if (event.previous) Count(event.key, event.previous, -1);
}

void NodeAuthorizer::Count(const std::string& key, const ValuePtr& value, int by) {
  auto object = kinds_.Core("pods").Decode(key, *value);
  if (!object.ok()) return;
  const core::Pod& pod = *object->As<core::Pod>();
  if (pod.spec().nodename().empty()) return;
  auto& of_node = related_[pod.spec().nodename()];
  for (const std::string& reference : ReferencesOf(pod))
    if ((of_node[reference] += by) <= 0) of_node.erase(reference);
  if (of_node.empty()) related_.erase(pod.spec().nodename());
}

Decision NodeAuthorizer::Related(const std::string& node, const Access& access, std::string_view what) const {
  if (access.name.empty()) return No("No Object name found");
  auto it = related_.find(node);
  if (it != related_.end() && it->second.contains(absl::StrCat(std::string(what), "/", access.ns, "/", access.name)))
    return kYes;
  return No(absl::StrCat(kNoRelation, node, "' and this object"));
}

// Of kinds that name their node themselves.
Decision NodeAuthorizer::Own(const std::string& node, const Access& access, std::string_view owner) {
  if (access.name.empty()) return No("No Object name found");
  return owner == node ? kYes : No(absl::StrCat(kNoRelation, node, "' and this object"));
}

template <typename T>
std::shared_ptr<const T> NodeAuthorizer::Stored(std::string_view group, std::string_view plural,
                                                const std::string& name) const {
  const Kind* kind = kinds_.Find(group, "v1", plural);
  if (!kind || name.empty()) return nullptr;
  const std::string key = kind->Key("", name);
  const ValuePtr value = store_.Peek(key);
  if (!value) return nullptr;
  auto object = kind->Decode(key, *value);
  if (!object.ok()) return nullptr;
  auto held = std::make_shared<api::Object>(*std::move(object));
  return std::shared_ptr<const T>(held, held->template As<T>());
}

Decision NodeAuthorizer::Authorize(const User& user, const Access& access) const {
  if (!user.InGroup(kNodesGroup) || !std::string_view(user.name).starts_with(kNodeUserPrefix)) return No();
  const std::string node = user.name.substr(kNodeUserPrefix.size());
  if (!access.is_resource || node.empty()) return No();
  const std::string& verb = access.verb;
  const std::string_view group = access.group, resource = access.resource, sub = access.subresource;
  const bool read = IsAny(verb, {"get", "list", "watch"});

  if (group.empty() && (resource == "secrets" || resource == "configmaps")) {
    if (!read) return No("can only read resources of this type");
    if (!sub.empty()) return No("cannot read subresource");
    if (access.ns.empty()) return No("can only read namespaced object of this type");
    return Related(node, access, resource == "secrets" ? "secret" : "configmap");
  }
  if (group.empty() && resource == "persistentvolumeclaims") {
    if (sub == "status") {
      if (!IsAny(verb, {"update", "patch"})) return No("can only get/update/patch this type");
      return Related(node, access, "pvc");
    }
    if (verb != "get" || !sub.empty()) return No("can only get individual resources of this type");
    return Related(node, access, "pvc");
  }
  if (group.empty() && resource == "persistentvolumes") {
    if (verb != "get" || !sub.empty()) return No("can only get individual resources of this type");
    // Through the claims of the node's pods.
    auto it = related_.find(node);
    if (it != related_.end()) {
      const Kind& volumes = kinds_.Core("persistentvolumes");
      ValuePtr value = store_.Peek(volumes.Key("", access.name));
      if (value) {
        auto object = volumes.Decode(access.name, *value);
        if (object.ok()) {
          const auto& claim = object->As<core::PersistentVolume>()->spec().claimref();
          if (it->second.contains(absl::StrCat("pvc/", claim.namespace_(), "/", claim.name()))) return kYes;
        }
      }
    }
    return No(absl::StrCat(kNoRelation, node, "' and this object"));
  }
  if (group.empty() && resource == "serviceaccounts") {
    if (sub == "token" && verb == "create") return Related(node, access, "serviceaccount");
    if (sub.empty() && verb == "get") return Related(node, access, "serviceaccount");
    return No("can only create tokens for individual service accounts");
  }
  if (group.empty() && resource == "pods") {
    if (sub.empty() && verb == "get") return Related(node, access, "pod");
    if (sub.empty() && (verb == "list" || verb == "watch")) {
      // By name, or all of its own.
      auto selector = api::FieldSelector::Parse(access.field_selector);
      if (selector.ok()) {
        const std::string* wanted = selector->RequiresExactMatch("spec.nodeName");
        if (wanted && *wanted == node) return kYes;
        if (wanted) return No(absl::StrCat("can only list/watch pods with spec.nodeName field selector of own node"));
      }
      if (!access.name.empty()) return Related(node, access, "pod");
      return No("can only list/watch pods with spec.nodeName field selector");
    }
    if (sub.empty() && IsAny(verb, {"create", "delete"})) return kYes;
    if (sub == "status" && IsAny(verb, {"patch", "update"})) return kYes;
    if (sub == "eviction" && verb == "create") return kYes;
    return No();
  }
  if (group.empty() && resource == "nodes") {
    if (sub.empty() && verb == "create") return kYes;
    if (sub.empty() && IsAny(verb, {"get", "list", "watch"})) {
      if (access.name == node) return kYes;
      if (verb == "get")
        return No(absl::StrCat("node '", node, "' cannot read '", access.name, "', only its own Node object"));
      return No(absl::StrCat("node '", node, "' cannot read all nodes, only its own Node object"));
    }
    if (IsAny(verb, {"update", "patch"}) && (sub.empty() || sub == "status")) return kYes;
    return No();
  }
  if (group == "coordination.k8s.io" && resource == "leases") {
    if (!IsAny(verb, {"get", "create", "update", "patch", "delete"}))
      return No("can only get, create, update, patch, or delete a node lease");
    if (access.ns != "kube-node-lease") return No("can only access leases in the \"kube-node-lease\" system namespace");
    if (verb != "create" && access.name != node)
      return No("can only access node lease with the same name as the requesting node");
    return kYes;
  }
  if (group == "storage.k8s.io" && resource == "csinodes") {
    if (!IsAny(verb, {"get", "create", "update", "patch", "delete"}))
      return No("can only get, create, update, patch, or delete a CSINode");
    if (!sub.empty()) return No("cannot authorize CSINode subresources");
    if (verb != "create" && access.name != node)
      return No("can only access CSINode with the same name as the requesting node");
    return kYes;
  }
  if (group == "storage.k8s.io" && resource == "volumeattachments") {
    if (verb != "get" || !sub.empty()) return No("can only get individual resources of this type");
    const auto attachment = Stored<storage::VolumeAttachment>(group, resource, access.name);
    return Own(node, access, attachment ? attachment->spec().nodename() : "");
  }
  if (group == "resource.k8s.io" && resource == "resourceclaims") {
    if (verb != "get" || !sub.empty()) return No("can only get individual resources of this type");
    return Related(node, access, "resourceclaim");
  }
  if (group == "resource.k8s.io" && resource == "resourceslices") {
    if (!sub.empty()) return No("cannot authorize ResourceSlice subresources");
    if (verb == "create") return kYes;  // NodeRestriction looks at the node that it names
    if (IsAny(verb, {"get", "update", "patch", "delete"})) {
      const auto slice = Stored<resource_api::ResourceSlice>(group, resource, access.name);
      return Own(node, access, slice ? slice->spec().nodename() : "");
    }
    if (!IsAny(verb, {"watch", "list", "deletecollection"}))
      return No(
          "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, "
          "deletecollection");
    const auto selector = api::FieldSelector::Parse(access.field_selector);
    const std::string* wanted = selector.ok() ? selector->RequiresExactMatch("spec.nodeName") : nullptr;
    if (wanted && *wanted == node) return kYes;
    return No("can only list/watch/deletecollection resourceslices with nodeName field selector");
  }

  // What every node may do, as upstream's node rules have it.
  if (group == "authentication.k8s.io" && resource == "tokenreviews" && verb == "create") return kYes;
  if (group == "authorization.k8s.io" && verb == "create" &&
      IsAny(resource, {"subjectaccessreviews", "localsubjectaccessreviews"}))
    return kYes;
  if (group.empty() && resource == "services" && read) return kYes;
  if ((group.empty() || group == "events.k8s.io") && resource == "events" && IsAny(verb, {"create", "patch", "update"}))
    return kYes;
  if (group == "certificates.k8s.io" && resource == "certificatesigningrequests" &&
      IsAny(verb, {"create", "get", "list", "watch"}) && sub.empty())
    return kYes;
  if (group == "storage.k8s.io" && resource == "csidrivers" && read) return kYes;
  if (group == "node.k8s.io" && resource == "runtimeclasses" && read) return kYes;
  return No();
}

}  // namespace skiff::controlplane
