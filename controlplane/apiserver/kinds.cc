#include "controlplane/apiserver/kinds.h"

#include <algorithm>
#include <tuple>

#include "api/codec.h"
#include "controlplane/apiserver/autoscaler_conversion.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/event_conversion.h"
#include "controlplane/apiserver/strategies.h"

namespace skiff::controlplane {
namespace {

struct TraitsRow {
  std::string_view names;  // "group/plural ..." that have the trait
  bool KindTraits::*trait;
  bool value;
};

// From upstream's registries.
constexpr TraitsRow kTraits[] = {
    {"/pods /replicationcontrollers apps/deployments apps/replicasets apps/statefulsets apps/daemonsets batch/jobs "
     "batch/cronjobs discovery.k8s.io/endpointslices networking.k8s.io/ingresses networking.k8s.io/ingressclasses "
     "networking.k8s.io/networkpolicies policy/poddisruptionbudgets resource.k8s.io/deviceclasses "
     "resource.k8s.io/resourceslices apiextensions.k8s.io/customresourcedefinitions scheduling.k8s.io/priorityclasses "
     "admissionregistration.k8s.io/validatingadmissionpolicies "
     "admissionregistration.k8s.io/validatingadmissionpolicybindings "
     "admissionregistration.k8s.io/mutatingadmissionpolicies "
     "admissionregistration.k8s.io/mutatingadmissionpolicybindings "
     "admissionregistration.k8s.io/validatingwebhookconfigurations "
     "admissionregistration.k8s.io/mutatingwebhookconfigurations flowcontrol.apiserver.k8s.io/flowschemas "
     "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations storage.k8s.io/csidrivers",
     &KindTraits::generation, true},
    {"coordination.k8s.io/leases /endpoints /events events.k8s.io/events /limitranges /services "
     "node.k8s.io/runtimeclasses rbac.authorization.k8s.io/roles rbac.authorization.k8s.io/rolebindings "
     "rbac.authorization.k8s.io/clusterroles rbac.authorization.k8s.io/clusterrolebindings",
     &KindTraits::create_on_update, true},
    {"admissionregistration.k8s.io/mutatingadmissionpolicies "
     "admissionregistration.k8s.io/mutatingadmissionpolicybindings "
     "admissionregistration.k8s.io/mutatingwebhookconfigurations "
     "admissionregistration.k8s.io/validatingadmissionpolicies "
     "admissionregistration.k8s.io/validatingadmissionpolicybindings "
     "admissionregistration.k8s.io/validatingwebhookconfigurations coordination.k8s.io/leases "
     "node.k8s.io/runtimeclasses policy/poddisruptionbudgets storage.k8s.io/csidrivers storage.k8s.io/csinodes "
     "storage.k8s.io/csistoragecapacities storage.k8s.io/volumeattachments "
     "apiextensions.k8s.io/customresourcedefinitions apiregistration.k8s.io/apiservices",
     &KindTraits::unconditional_update, false},
    {"resource.k8s.io/resourceclaimtemplates resource.k8s.io/resourceslices resource.k8s.io/resourceclaims "
     "resource.k8s.io/deviceclasses storage.k8s.io/csidrivers storage.k8s.io/storageclasses "
     "storage.k8s.io/volumeattachments storage.k8s.io/csinodes storage.k8s.io/volumeattributesclasses /resourcequotas "
     "/persistentvolumes /serviceaccounts /persistentvolumeclaims /namespaces /pods /services /podtemplates",
     &KindTraits::return_deleted, true},
    {"/events events.k8s.io/events", &KindTraits::garbage_collected, false},
    {"apiextensions.k8s.io/customresourcedefinitions apiregistration.k8s.io/apiservices", &KindTraits::json_storage,
     true},
};

bool HoldsWord(std::string_view list, std::string_view word) {
  for (size_t at = list.find(word); at != std::string_view::npos; at = list.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || list[at - 1] == ' ') && (end == list.size() || list[end] == ' ')) return true;
  }
  return false;
}

KindTraits TraitsOf(const api::Resource& resource, bool has_status) {
  KindTraits traits;
  traits.has_status = has_status;
  const std::string name = absl::StrCat(std::string(resource.group), "/", std::string(resource.plural));
  for (const TraitsRow& row : kTraits)
    if (HoldsWord(row.names, name)) traits.*row.trait = row.value;
  return traits;
}

}  // namespace

Kind::Kind() = default;
Kind::~Kind() = default;

std::string Kind::ListKind() const {
  return custom ? custom->list_kind : absl::StrCat(std::string(resource->kind), "List");
}

namespace {

// Two versions of one stored kind.
StatusOr<api::Object> Convert(api::Object object, const api::TypeOps& to) {
  if (to.kind == "HorizontalPodAutoscaler") return ConvertAutoscaler(std::move(object), to);
  return ConvertEvent(std::move(object), to);
}

}  // namespace

std::string Kind::Key(std::string_view ns, std::string_view name) const {
  std::string key = Prefix(ns);
  key.append(name);
  return key;
}

std::string Kind::Prefix(std::string_view ns) const {
  std::string key = prefix;
  if (resource->namespaced && !ns.empty()) {
    key.append(ns);
    key.push_back('/');
  }
  return key;
}

const api::Subresource* Kind::FindSubresource(std::string_view name) const {
  for (const api::Subresource& subresource : subresources)
    if (subresource.name == name) return &subresource;
  return nullptr;
}

StatusOr<api::Object> Kind::Decode(std::string_view key, const StoredValue& value) const {
  if (custom) {
    auto document = api::ParseJson(value.data);
    RETURN_IF_ERROR(document.status(), "stored object ", std::string(key));
    // Stored in one version, read in any: they differ by name alone.
    (*document)["kind"] = custom->gvk.kind;
    auto object = custom->FromDocument(*std::move(document), nullptr);
    RETURN_IF_ERROR(object.status(), "stored object ", std::string(key));
    object->mutable_meta()->set_resourceversion(absl::StrCat(value.mod_revision));
    return object;
  }
  std::unique_ptr<google::protobuf::Message> message = storage_type->New();
  Status status = std::string_view(value.data).starts_with(api::kProtobufMagic)
                      ? api::FromProtobuf(value.data, message.get())
                      : api::FromJson(std::string_view(value.data), message.get());
  RETURN_IF_ERROR(status, "stored object ", std::string(key));
  api::Normalize(message.get());
  api::Object object(*storage_type, std::move(message));
  object.mutable_meta()->set_resourceversion(absl::StrCat(value.mod_revision));
  if (storage_type != type) return Convert(std::move(object), *type);
  return object;
}

StatusOr<std::string> Kind::Encode(const api::Object& object) const {
  api::Object copy = object.Clone();
  if (custom) {
    copy.mutable_meta()->clear_resourceversion();
    api::json document = copy.ToJsonValue();
    document["apiVersion"] = custom->storage_version;
    std::string text;
    api::AppendJson(document, &text);
    return text + "\n";
  }
  if (storage_type != type) {
    ASSIGN_OR_RETURN(copy, Convert(std::move(copy), *storage_type));
  }
  copy.mutable_meta()->clear_resourceversion();
  if (strategy->traits().json_storage) return copy.ToJson() + "\n";
  return copy.ToProtobuf();
}

Kinds::Kinds(Allocators* allocators) {
  for (const api::Resource& resource : api::Resources()) {
    const api::TypeOps* type = api::TypeOf(resource.gvk());
    if (!type) continue;
    auto kind = std::make_unique<Kind>();
    kind->resource = &resource;
    kind->type = type;
    kind->storage_type = type;
    kind->subresources = api::SubresourcesOf(resource);
    if (resource.etcd_prefix != "-") kind->prefix = std::string(resource.etcd_prefix) + "/";
    if (resource.group == "autoscaling" && resource.version == "v1")
      kind->storage_type = api::TypeOf({"autoscaling", "v2", "HorizontalPodAutoscaler"});
    if (resource.group == "events.k8s.io") kind->storage_type = api::TypeOf({"", "v1", "Event"});
    kind->strategy = MakeStrategy(resource, TraitsOf(resource, kind->FindSubresource("status") != nullptr), allocators);
    all_.push_back(std::move(kind));
  }
}

const Kind* Kinds::Find(std::string_view group, std::string_view version, std::string_view plural) const {
  for (const auto& kind : all_)
    if (kind->resource->plural == plural && kind->resource->group == group && kind->resource->version == version)
      return kind.get();
  return nullptr;
}

std::shared_ptr<const Kind> Kinds::FindCustom(std::string_view group, std::string_view version,
                                              std::string_view plural) const {
  for (const auto& [name, kinds] : custom_)
    for (const auto& kind : kinds)
      if (kind->resource->plural == plural && kind->resource->group == group && kind->resource->version == version)
        return kind;
  return nullptr;
}

std::vector<std::shared_ptr<const Kind>> Kinds::CustomOf(const std::string& definition) const {
  const auto it = custom_.find(definition);
  return it == custom_.end() ? std::vector<std::shared_ptr<const Kind>>() : it->second;
}

std::vector<std::shared_ptr<const Kind>> Kinds::custom() const {
  std::vector<std::shared_ptr<const Kind>> out;
  for (const auto& [name, kinds] : custom_) out.insert(out.end(), kinds.begin(), kinds.end());
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a->resource->group, a->resource->version) < std::tie(b->resource->group, b->resource->version);
  });
  return out;
}

void Kinds::ForEach(const std::function<void(const Kind&)>& visit) const {
  for (const auto& kind : all_) visit(*kind);
  for (const auto& kind : custom()) visit(*kind);
}

void Kinds::SetCustom(const std::string& definition, std::vector<std::shared_ptr<const Kind>> kinds) {
  auto& held = custom_[definition];
  // A write that changed nothing that objects or clients see keeps the kinds, and with them the watches.
  auto same = [](const std::shared_ptr<const Kind>& a, const std::shared_ptr<const Kind>& b) {
    return a->custom->schema == b->custom->schema && a->custom->resource.version == b->custom->resource.version &&
           a->custom->storage_version == b->custom->storage_version &&
           a->custom->resource.plural == b->custom->resource.plural &&
           a->custom->resource.kind == b->custom->resource.kind && a->custom->list_kind == b->custom->list_kind;
  };
  const bool unchanged = held.size() == kinds.size() && std::equal(held.begin(), held.end(), kinds.begin(), same);
  if (!unchanged)
    for (const auto& kind : held) kind->custom->retired = true;
  held = std::move(kinds);
  if (held.empty()) custom_.erase(definition);
}

const Kind* Kinds::FindByKind(std::string_view group, std::string_view name) const {
  for (const auto& kind : all_)
    if (kind->resource->kind == name && kind->resource->group == group) return kind.get();
  return nullptr;
}

}  // namespace skiff::controlplane
