// Internal to api: the parts of a pod's validation.
#ifndef SKIFF_API_VALIDATION_POD_H_
#define SKIFF_API_VALIDATION_POD_H_

#include <set>
#include <string>
#include <string_view>

#include "api/validation_parts.h"

namespace k8s::io::api::core::v1 {
class PodSpec;
}

namespace skiff::api::internal {

void RelativePath(std::string_view value, const Path& path, FieldErrors* errors);
// The names of the volumes that are right.
std::set<std::string> ValidateVolumes(const k8s::io::api::core::v1::PodSpec& spec, const Path& path,
                                      FieldErrors* errors);
void ValidateContainers(const k8s::io::api::core::v1::PodSpec& spec, const std::set<std::string>& volumes,
                        const Path& path, FieldErrors* errors);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_VALIDATION_POD_H_
