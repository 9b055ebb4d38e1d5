#include "proxy/node_facts.h"

#include "k8s/io/api/core/v1/node.pb.h"

namespace skiff::proxy {

namespace {

constexpr char kZoneLabel[] = "topology.kubernetes.io/zone";
constexpr char kToBeDeletedTaint[] = "ToBeDeletedByClusterAutoscaler";

}  // namespace

NodeFacts ReadNode(const k8s::io::api::core::v1::Node* node) {
  NodeFacts out;
  if (node == nullptr) return out;
  out.eligible = !node->metadata().has_deletiontimestamp();
  for (const auto& taint : node->spec().taints()) out.eligible &= taint.key() != kToBeDeletedTaint;
  out.pod_cidrs.assign(node->spec().podcidrs().begin(), node->spec().podcidrs().end());
  auto label = node->metadata().labels().find(kZoneLabel);
  if (label != node->metadata().labels().end()) out.zone = label->second;
  for (const auto& address : node->status().addresses()) {
    auto a = ParseAddress(address.address());
    if (!a || (address.type() != "InternalIP" && address.type() != "ExternalIP")) continue;
    out.addresses.push_back(*a);
    (address.type() == "InternalIP" ? out.internal : out.external).push_back(*a);
  }
  return out;
}

void StripNode(k8s::io::api::core::v1::Node& node) {
  auto addresses = node.status().addresses();
  node.mutable_status()->Clear();
  *node.mutable_status()->mutable_addresses() = std::move(addresses);
  node.mutable_metadata()->clear_annotations();
}

}  // namespace skiff::proxy
