#include "client/object.h"

#include <map>

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_split.h"
#include "api/scheme.h"

namespace skiff::client {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Message;

const google::protobuf::FieldDescriptor* MetadataField(const Message& object) {
  // Every object has its metadata as field 1; lists have a ListMeta there.
  const auto* field = object.GetDescriptor()->FindFieldByNumber(1);
  return field != nullptr && !field->is_repeated() && field->message_type() == meta::ObjectMeta::descriptor() ? field
                                                                                                              : nullptr;
}

// "k8s.io.api.discovery.v1" -> {"discovery", "v1"}: packages name groups by their first part.
std::pair<std::string_view, std::string_view> PackageParts(const Descriptor* type) {
  const std::string& package = type->file()->package();
  const size_t last = package.rfind('.');
  if (last == std::string::npos) return {package, ""};
  const size_t before = package.rfind('.', last - 1);
  const size_t start = before == std::string::npos ? 0 : before + 1;
  return {std::string_view(package).substr(start, last - start), std::string_view(package).substr(last + 1)};
}

std::string_view FirstPart(std::string_view group) {
  return group.empty() ? std::string_view("core") : group.substr(0, group.find('.'));
}

}  // namespace

const meta::ObjectMeta& MetadataOf(const Message& object) {
  const auto* field = MetadataField(object);
  if (field == nullptr) return meta::ObjectMeta::default_instance();
  return static_cast<const meta::ObjectMeta&>(object.GetReflection()->GetMessage(object, field));
}

meta::ObjectMeta* MutableMetadataOf(Message* object) {
  const auto* field = MetadataField(*object);
  if (field == nullptr) return nullptr;
  return static_cast<meta::ObjectMeta*>(object->GetReflection()->MutableMessage(object, field));
}

StatusOr<const api::Resource*> ResourceOf(const Message& prototype) {
  static auto* const known = new std::map<const Descriptor*, const api::Resource*>();
  const Descriptor* type = prototype.GetDescriptor();
  if (const auto found = known->find(type); found != known->end()) return found->second;
  const auto [group, version] = PackageParts(type);
  for (const api::Resource& resource : api::Resources()) {
    if (resource.kind == type->name() && resource.version == version && FirstPart(resource.group) == group) {
      known->emplace(type, &resource);
      return &resource;
    }
  }
  return InvalidArgument("no resource is known for ", type->full_name());
}

api::GroupVersionKind KindOf(const Message& object) {
  if (const auto resource = ResourceOf(object); resource.ok()) return (*resource)->gvk();
  const Descriptor* type = object.GetDescriptor();
  const auto [group, version] = PackageParts(type);
  for (const api::Resource& resource : api::Resources()) {
    if (resource.version == version && FirstPart(resource.group) == group) {
      return {std::string(resource.group), std::string(version), type->name()};
    }
  }
  return {"", "v1", type->name()};  // meta/v1 belongs to every group; upstream writes it as v1
}

meta::OwnerReference ControllerReference(const Message& owner) {
  meta::OwnerReference out;
  const api::GroupVersionKind kind = KindOf(owner);
  out.set_apiversion(kind.group_version().ToString());
  out.set_kind(kind.kind);
  out.set_name(MetadataOf(owner).name());
  out.set_uid(MetadataOf(owner).uid());
  out.set_controller(true);
  out.set_blockownerdeletion(true);
  return out;
}

const meta::OwnerReference* ControllerOf(const meta::ObjectMeta& metadata) {
  for (const auto& owner : metadata.ownerreferences()) {
    if (owner.controller()) return &owner;
  }
  return nullptr;
}

}  // namespace skiff::client
