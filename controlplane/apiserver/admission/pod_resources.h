// What a pod asks for as a whole.
#ifndef SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_RESOURCES_H_
#define SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_RESOURCES_H_

#include <map>
#include <string>

#include "api/quantity.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {

using ResourceMap = google::protobuf::Map<std::string, api::Quantity::Proto>;
using ResourceSums = std::map<std::string, api::Quantity>;

ResourceSums SumsOf(const ResourceMap& resources);
// The containers' and sidecars' sum, or the most that an init container needs; for cpu and memory what the pod itself
// says comes first. Without overhead.
ResourceSums PodRequests(const ::k8s::io::api::core::v1::PodSpec& spec);
ResourceSums PodLimits(const ::k8s::io::api::core::v1::PodSpec& spec);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_RESOURCES_H_
