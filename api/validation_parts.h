// Internal to api: the pieces of validation, one file a group of kinds.
#ifndef SKIFF_API_VALIDATION_PARTS_H_
#define SKIFF_API_VALIDATION_PARTS_H_

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/map.h>

#include "api/field_errors.h"
#include "api/int_or_string.h"
#include "api/names.h"
#include "api/object.h"

namespace k8s::io::api::core::v1 {
class PodTemplateSpec;
class ConfigMap;
class Secret;
class Service;
class Pod;
class Node;
class Namespace;
}  // namespace k8s::io::api::core::v1
namespace k8s::io::apimachinery::pkg::apis::meta::v1 {
class LabelSelector;
}

namespace skiff::api::internal {

using StringMap = google::protobuf::Map<std::string, std::string>;

// Keys in order, so that errors come in one order (upstream's is random here).
template <typename M>
std::vector<std::string> SortedKeys(const M& map) {
  std::vector<std::string> out;
  for (const auto& [key, value] : map) out.push_back(key);
  std::sort(out.begin(), out.end());
  return out;
}

inline void InvalidAll(const Path& path, std::string_view value, const Complaints& complaints, FieldErrors* errors) {
  for (const std::string& complaint : complaints) errors->Invalid(path, value, complaint);
}
void NonNegative(const Path& path, int64_t value, FieldErrors* errors);
// A value out of a fixed set; required when empty.
void OneOf(const Path& path, std::string_view value, std::initializer_list<std::string_view> allowed,
           FieldErrors* errors);
void ValidateLabels(const StringMap& labels, const Path& path, FieldErrors* errors);
void ValidateAnnotations(const StringMap& annotations, const Path& path, FieldErrors* errors);
void ValidateSelector(const k8s::io::apimachinery::pkg::apis::meta::v1::LabelSelector& selector, const Path& path,
                      FieldErrors* errors);
void ValidatePortNumOrName(const IntOrString& port, const Path& path, FieldErrors* errors);
// An address that traffic may be sent to (rows external-ip-hijack of the security list).
void ValidateEndpointIp(std::string_view address, const Path& path, FieldErrors* errors);
bool IsIpv4(std::string_view address);
bool IsIpv6(std::string_view address);

// `old` is nullptr on create.
void ValidatePodTemplate(const k8s::io::api::core::v1::PodTemplateSpec& pod,
                         const k8s::io::api::core::v1::PodTemplateSpec* old, const Path& path, FieldErrors* errors);

// Rules of the kinds; metadata is the caller's. `old` is nullptr on create. False for kinds they do not know.
bool ValidatePodKinds(const Object& object, const Object* old, std::string_view subresource, FieldErrors* errors);
bool ValidateServiceKinds(const Object& object, const Object* old, FieldErrors* errors);
bool ValidateConfigKinds(const Object& object, const Object* old, FieldErrors* errors);
bool ValidateWorkloadKinds(const Object& object, const Object* old, FieldErrors* errors);
bool ValidateClusterKinds(const Object& object, const Object* old, FieldErrors* errors);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_VALIDATION_PARTS_H_
