// Internal to api: the parts of a pod's validation.
#ifndef SKIFF_API_VALIDATION_POD_H_
#define SKIFF_API_VALIDATION_POD_H_

#include <set>
#include <string>
#include <string_view>

#include "api/annotations.h"
#include "api/validation_parts.h"

namespace k8s::io::api::core::v1 {
class Container;
class Pod;
class PodSpec;
class ResourceRequirements;
}  // namespace k8s::io::api::core::v1

namespace skiff::api::internal {

void RelativePath(std::string_view value, const Path& path, FieldErrors* errors);

// ---- the parts of a specification ----

// The names of the volumes that are right.
std::set<std::string> ValidateVolumes(const k8s::io::api::core::v1::PodSpec& spec, const Path& path,
                                      FieldErrors* errors);
// `old` is null on create.
void ValidateContainers(const k8s::io::api::core::v1::PodSpec& spec, const k8s::io::api::core::v1::PodSpec* old,
                        const std::set<std::string>& volumes, const Path& path, FieldErrors* errors);
// What every kind of container has. `spec` is the pod's.
void ValidateContainerCommon(const k8s::io::api::core::v1::Container& container,
                             const k8s::io::api::core::v1::PodSpec& spec, const std::set<std::string>& volumes,
                             const Path& path, FieldErrors* errors);
void ValidateImage(std::string_view image, const Path& container, FieldErrors* errors);
void ValidateEphemeralContainers(const k8s::io::api::core::v1::PodSpec& spec, const std::set<std::string>& volumes,
                                 const Path& path, FieldErrors* errors);
void ValidateContainerResources(const k8s::io::api::core::v1::ResourceRequirements& resources, const Path& path,
                                FieldErrors* errors);
// spec.resources, alone and against the containers'.
void ValidatePodLevelResources(const k8s::io::api::core::v1::PodSpec& spec, const Path& path, FieldErrors* errors);
void ValidateGates(const k8s::io::api::core::v1::PodSpec& spec, const Path& path, FieldErrors* errors);
// Gates may only be taken away.
void ValidateGatesUpdate(const k8s::io::api::core::v1::PodSpec& now, const k8s::io::api::core::v1::PodSpec& before,
                         const Path& spec, FieldErrors* errors);
// Nodes that a gated pod may go to can become fewer, not others. Gives `now` the old choice of nodes.
void ValidateGatedPlacement(const k8s::io::api::core::v1::PodSpec& before, const Path& spec,
                            k8s::io::api::core::v1::PodSpec* now, FieldErrors* errors);

// ---- the pod ----

// Annotations and specification, as every write of a pod but its status has them checked. `old` is null on create. What
// is stored may stay: an earlier server may have taken it.
void ValidatePodContent(const k8s::io::api::core::v1::Pod& pod, const k8s::io::api::core::v1::Pod* old,
                        FieldErrors* errors);
// Of a pod or of a template; those that are in `old` (null on create) with the same value may stay.
void ValidatePodAnnotations(const StringMap& annotations, const k8s::io::api::core::v1::PodSpec& spec,
                            const StringMap* old, const Path& path, FieldErrors* errors);
// On create, and of a template that changed: annotations that say what a field says too. `path` is the specification's.
void ValidateAnnotationsMatchFields(const StringMap& annotations, const k8s::io::api::core::v1::PodSpec& spec,
                                    const Path& path, FieldErrors* errors);
void ValidatePodAnnotationUpdates(const k8s::io::api::core::v1::Pod& pod, const k8s::io::api::core::v1::Pod& old,
                                  FieldErrors* errors);
void ValidatePodStatus(const k8s::io::api::core::v1::Pod& pod, const k8s::io::api::core::v1::Pod& old,
                       FieldErrors* errors);
// Of all its containers: users, and the health of resources.
void ValidateContainerStatuses(const k8s::io::api::core::v1::Pod& pod, const Path& status, FieldErrors* errors);
void ValidatePodResize(const k8s::io::api::core::v1::Pod& pod, const k8s::io::api::core::v1::Pod& old,
                       FieldErrors* errors);
void ValidateEphemeralContainersUpdate(const k8s::io::api::core::v1::Pod& pod, const k8s::io::api::core::v1::Pod& old,
                                       FieldErrors* errors);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_VALIDATION_POD_H_
