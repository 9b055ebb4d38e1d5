// What a pod's resources come to: its class of service and the sums over its containers.
// https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ . Thread-safe.
#ifndef SKIFF_API_POD_RESOURCES_H_
#define SKIFF_API_POD_RESOURCES_H_

#include <string>
#include <string_view>

#include <google/protobuf/map.h>

#include "api/quantity.h"

namespace k8s::io::api::core::v1 {
class Container;
class PodSpec;
}  // namespace k8s::io::api::core::v1

namespace skiff::api {

using Amounts = google::protobuf::Map<std::string, Quantity::Proto>;

// "Guaranteed", "Burstable" or "BestEffort": of the pod's own resources where it has them, else of its containers'.
std::string_view QosClassOf(const k8s::io::api::core::v1::PodSpec& spec);

const Amounts& LimitsOf(const k8s::io::api::core::v1::Container& container);
const Amounts& RequestsOf(const k8s::io::api::core::v1::Container& container);
// The sum of LimitsOf or RequestsOf over the containers, at least what any one init container needs beside the sidecars
// started before it.
Amounts AggregateContainers(const k8s::io::api::core::v1::PodSpec& spec,
                            const Amounts& (*of)(const k8s::io::api::core::v1::Container&));

}  // namespace skiff::api

#endif  // SKIFF_API_POD_RESOURCES_H_
