#include "controlplane/apiserver/admission/pod_resources.h"

#include "api/pod_resources.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

ResourceSums WithOwn(ResourceSums sums, const ResourceMap& own) {
  for (const auto& [name, quantity] : SumsOf(own))
    if (name == "cpu" || name == "memory") sums[name] = quantity;
  return sums;
}

}  // namespace

ResourceSums SumsOf(const ResourceMap& resources) {
  ResourceSums out;
  for (const auto& [name, quantity] : resources) out.emplace(name, api::Quantity::Of(quantity));
  return out;
}

ResourceSums PodRequests(const core::PodSpec& spec) {
  return WithOwn(SumsOf(api::AggregateContainers(spec, api::RequestsOf)), spec.resources().requests());
}

ResourceSums PodLimits(const core::PodSpec& spec) {
  return WithOwn(SumsOf(api::AggregateContainers(spec, api::LimitsOf)), spec.resources().limits());
}

}  // namespace skiff::controlplane
