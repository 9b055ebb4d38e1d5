#include "api/validation.h"

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/scheme.h"
#include "api/selector.h"
#include "api/text.h"
#include "api/time.h"
#include "api/validation_parts.h"

namespace skiff::api {
namespace internal {

void NonNegative(const Path& path, int64_t value, FieldErrors* errors) {
  if (value < 0) errors->Invalid(path, value, "must be greater than or equal to 0");
}

void OneOf(const Path& path, std::string_view value, std::initializer_list<std::string_view> allowed,
           FieldErrors* errors) {
  if (value.empty()) return errors->Required(path);
  for (const std::string_view candidate : allowed)
    if (candidate == value) return;
  errors->NotSupported(path, value, allowed);
}

void ValidateLabels(const StringMap& labels, const Path& path, FieldErrors* errors) {
  for (const std::string& key : SortedKeys(labels)) {
    InvalidAll(path, key, IsQualifiedName(key), errors);
    InvalidAll(path, labels.at(key), IsValidLabelValue(labels.at(key)), errors);
  }
}

void ValidateAnnotations(const StringMap& annotations, const Path& path, FieldErrors* errors) {
  constexpr size_t kLimit = 256 * 1024;
  size_t total = 0;
  for (const std::string& key : SortedKeys(annotations)) {
    InvalidAll(path, key, IsQualifiedName(absl::AsciiStrToLower(key)), errors);
    total += key.size() + annotations.at(key).size();
  }
  if (total > kLimit) errors->TooLong(path, kLimit);
}

void ValidateSelector(const LabelSelectorProto& selector, const Path& path, FieldErrors* errors) {
  const Path labels = path.Child("matchLabels");
  ValidateLabels(selector.matchlabels(), labels, errors);
  const Path expressions = path.Child("matchExpressions");
  for (int i = 0; i < selector.matchexpressions_size(); ++i) {
    const auto& expression = selector.matchexpressions(i);
    const Path at = expressions.Index(i);
    const std::string& op = expression.operator_();
    if (op == "In" || op == "NotIn") {
      if (expression.values().empty())
        errors->Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (!expression.values().empty())
        errors->Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      errors->Invalid(at.Child("operator"), op, "not a valid selector operator");
    }
    InvalidAll(at.Child("key"), expression.key(), IsQualifiedName(expression.key()), errors);
    const Path values = at.Child("values");
    for (int j = 0; j < expression.values_size(); ++j)
      InvalidAll(values.Index(j), expression.values(j), IsValidLabelValue(expression.values(j)), errors);
  }
}

void ValidatePortNumOrName(const IntOrString& port, const Path& path, FieldErrors* errors) {
  if (IsString(port)) return InvalidAll(path, port.strval(), IsValidPortName(port.strval()), errors);
  for (const std::string& complaint : IsValidPortNum(port.intval())) errors->Invalid(path, port.intval(), complaint);
}

bool IsIpv4(std::string_view address) {
  in_addr out;
  return inet_pton(AF_INET, std::string(address).c_str(), &out) == 1;
}
bool IsIpv6(std::string_view address) {
  in6_addr out;
  return inet_pton(AF_INET6, std::string(address).c_str(), &out) == 1;
}

void ValidateEndpointIp(std::string_view address, const Path& path, FieldErrors* errors) {
  in6_addr six;
  in_addr four;
  const std::string text(address);
  bool unspecified, loopback, link_local, link_local_multicast;
  if (inet_pton(AF_INET, text.c_str(), &four) != 1 && inet_pton(AF_INET6, text.c_str(), &six) == 1 &&
      IN6_IS_ADDR_V4MAPPED(&six))
    return ValidateEndpointIp(text.substr(text.rfind(':') + 1), path, errors);
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) {
    const uint32_t ip = ntohl(four.s_addr);
    unspecified = ip == 0;
    loopback = ip >> 24 == 127;
    link_local = ip >> 16 == (169 << 8 | 254);
    link_local_multicast = ip >> 8 == 224 << 16;
  } else if (inet_pton(AF_INET6, text.c_str(), &six) == 1) {
    unspecified = IN6_IS_ADDR_UNSPECIFIED(&six);
    loopback = IN6_IS_ADDR_LOOPBACK(&six);
    link_local = IN6_IS_ADDR_LINKLOCAL(&six);
    link_local_multicast = IN6_IS_ADDR_MC_LINKLOCAL(&six);
  } else {
    return errors->Invalid(path, address, "must be a valid IP address");
  }
  if (unspecified) errors->Invalid(path, address, absl::StrCat("may not be unspecified (", address, ")"));
  if (loopback) errors->Invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (link_local) errors->Invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (link_local_multicast)
    errors->Invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

}  // namespace internal

namespace {

using namespace internal;  // NOLINT: the pieces of this library's own

Complaints NameComplaints(std::string_view kind, std::string_view name) {
  if (kind == "Namespace" || kind == "Service") return IsDns1123Label(name);
  if (kind == "Role" || kind == "ClusterRole" || kind == "RoleBinding" || kind == "ClusterRoleBinding" ||
      kind == "APIService")
    return IsPathSegmentName(name);
  if (kind == "Event" || kind == "ComponentStatus") return IsPathSegmentName(name);
  if (kind == "IPAddress") return IsValidIp(name);
  return IsDns1123Subdomain(name);
}

void ValidateOwners(const ObjectMeta& meta, const Path& path, FieldErrors* errors) {
  const Path at = path.Child("ownerReferences");
  std::string controller;
  for (const auto& owner : meta.ownerreferences()) {
    const size_t slash = owner.apiversion().rfind('/');
    if ((slash == std::string::npos ? owner.apiversion() : owner.apiversion().substr(slash + 1)).empty())
      errors->Invalid(at.Child("apiVersion"), owner.apiversion(), "version must not be empty");
    if (owner.kind().empty()) errors->Invalid(at.Child("kind"), owner.kind(), "must not be empty");
    if (owner.name().empty()) errors->Invalid(at.Child("name"), owner.name(), "must not be empty");
    if (owner.uid().empty()) errors->Invalid(at.Child("uid"), owner.uid(), "must not be empty");
    if (owner.apiversion() == "v1" && owner.kind() == "Event")
      errors->InvalidRaw(at, ToJson(owner), "/v1, Kind=Event is disallowed from being an owner");
    if (!owner.controller()) continue;
    const std::string name = absl::StrCat(owner.kind(), "/", owner.name());
    if (!controller.empty()) {
      std::string printed = "[";
      for (const auto& each : meta.ownerreferences())
        absl::StrAppend(&printed, printed.size() > 1 ? "," : "", ToJson(each));
      errors->InvalidRaw(
          at, printed + "]",
          absl::StrCat("Only one reference can have Controller set to true. Found \"true\" in references for ",
                       controller, " and ", name));
    } else {
      controller = name;
    }
  }
}

void ValidateFinalizers(const ObjectMeta& meta, const Path& path, FieldErrors* errors) {
  const Path at = path.Child("finalizers");
  bool orphan = false, foreground = false;
  for (const std::string& finalizer : meta.finalizers()) {
    InvalidAll(at, finalizer, IsQualifiedName(finalizer), errors);
    orphan |= finalizer == "orphan";
    foreground |= finalizer == "foregroundDeletion";
  }
  if (orphan && foreground) {
    json list = json::array();
    for (const std::string& finalizer : meta.finalizers()) list.push_back(finalizer);
    errors->InvalidRaw(at, list.dump(), "finalizer orphan and foregroundDeletion cannot be both set");
  }
}

template <typename T>
void Immutable(const Path& path, const T& updated, const T& old, FieldErrors* errors) {
  if (updated != old) errors->Invalid(path, updated, "field is immutable");
}

bool Namespaced(const Object& object) {
  const GroupVersionKind gvk = object.gvk();
  const Resource* resource = FindResourceByKind(gvk.group, gvk.version, gvk.kind);
  if (resource != nullptr) return resource->namespaced;
  return !object.meta().namespace_().empty();
}

void ValidateKind(const Object& object, const Object* old, std::string_view subresource, FieldErrors* errors) {
  if (object.is_custom()) return;
  if (ValidatePodKinds(object, old, subresource, errors)) return;
  if (!subresource.empty()) return;
  if (ValidateServiceKinds(object, old, errors)) return;
  if (ValidateConfigKinds(object, old, errors)) return;
  if (ValidateWorkloadKinds(object, old, errors)) return;
  ValidateClusterKinds(object, old, errors);
}

}  // namespace

void ValidateObjectMeta(const ObjectMeta& meta, bool namespaced, std::string_view kind, const Path& path,
                        FieldErrors* errors) {
  if (!meta.generatename().empty()) {
    // The dash that a random ending follows is no fault.
    std::string prefix = meta.generatename();
    if (prefix.size() > 1 && prefix.back() == '-') prefix.back() = 'a';
    InvalidAll(path.Child("generateName"), meta.generatename(), NameComplaints(kind, prefix), errors);
  }
  if (meta.name().empty())
    errors->Required(path.Child("name"), "name or generateName is required");
  else
    InvalidAll(path.Child("name"), meta.name(), NameComplaints(kind, meta.name()), errors);
  if (namespaced) {
    if (meta.namespace_().empty())
      errors->Required(path.Child("namespace"));
    else
      InvalidAll(path.Child("namespace"), meta.namespace_(), IsDns1123Label(meta.namespace_()), errors);
  } else if (!meta.namespace_().empty()) {
    errors->Forbidden(path.Child("namespace"), "not allowed on this type");
  }
  NonNegative(path.Child("generation"), meta.generation(), errors);
  ValidateLabels(meta.labels(), path.Child("labels"), errors);
  ValidateAnnotations(meta.annotations(), path.Child("annotations"), errors);
  ValidateOwners(meta, path, errors);
  ValidateFinalizers(meta, path, errors);
}

void ValidateObjectMetaUpdate(const ObjectMeta& updated, const ObjectMeta& old, const Path& path, FieldErrors* errors) {
  if (old.has_deletiontimestamp()) {
    std::vector<std::string> extra;
    for (const std::string& finalizer : updated.finalizers())
      if (std::find(old.finalizers().begin(), old.finalizers().end(), finalizer) == old.finalizers().end())
        extra.push_back(GoQuote(finalizer));
    std::sort(extra.begin(), extra.end());
    if (!extra.empty())
      errors->Forbidden(
          path.Child("finalizers"),
          absl::StrCat("no new finalizers can be added if the object is being deleted, found new finalizers "
                       "[]string{",
                       absl::StrJoin(extra, ", "), "}"));
  }
  if (updated.resourceversion().empty())
    errors->Invalid(path.Child("resourceVersion"), updated.resourceversion(), "must be specified for an update");
  if (updated.generation() < old.generation())
    errors->Invalid(path.Child("generation"), updated.generation(), "must not be decremented");
  Immutable(path.Child("name"), updated.name(), old.name(), errors);
  Immutable(path.Child("namespace"), updated.namespace_(), old.namespace_(), errors);
  Immutable(path.Child("uid"), updated.uid(), old.uid(), errors);
  if (updated.creationtimestamp().seconds() != old.creationtimestamp().seconds())
    errors->Invalid(path.Child("creationTimestamp"), FormatTime(updated.creationtimestamp()), "field is immutable");
  ValidateLabels(updated.labels(), path.Child("labels"), errors);
  ValidateAnnotations(updated.annotations(), path.Child("annotations"), errors);
  ValidateOwners(updated, path, errors);
  ValidateFinalizers(updated, path, errors);
}

Status ValidateCreate(const Object& object) {
  FieldErrors errors;
  const GroupVersionKind gvk = object.gvk();
  ValidateObjectMeta(object.meta(), Namespaced(object), gvk.kind, Path("metadata"), &errors);
  ValidateKind(object, nullptr, {}, &errors);
  return errors.ToStatus(gvk.group, gvk.kind, object.meta().name());
}

Status ValidateUpdate(const Object& updated, const Object& old, std::string_view subresource) {
  FieldErrors errors;
  const GroupVersionKind gvk = updated.gvk();
  const Path metadata("metadata");
  ValidateObjectMetaUpdate(updated.meta(), old.meta(), metadata, &errors);
  // Upstream checks once for every kind and once in the kind's own rules, and reports both.
  if (!errors.ok()) ValidateObjectMetaUpdate(updated.meta(), old.meta(), metadata, &errors);
  ValidateKind(updated, &old, subresource, &errors);
  return errors.ToStatus(gvk.group, gvk.kind, updated.meta().name());
}

}  // namespace skiff::api
