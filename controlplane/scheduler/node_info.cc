#include "controlplane/scheduler/node_info.h"

#include <algorithm>

#include "api/quantity.h"

namespace skiff::controlplane {
namespace {

constexpr int64_t kDefaultMilliCpu = 100;
constexpr int64_t kDefaultMemory = 200 * 1024 * 1024;

using Quantities = google::protobuf::Map<std::string, api::Quantity::Proto>;

Amounts AmountsOf(const Quantities& list) {
  Amounts out;
  for (const auto& [name, value] : list) {
    const api::Quantity quantity = api::Quantity::Of(value);
    if (name == "cpu") {
      out.milli_cpu = quantity.MilliValue();
    } else if (name == "memory") {
      out.memory = quantity.Value();
    } else if (name == "ephemeral-storage") {
      out.ephemeral_storage = quantity.Value();
    } else if (name != "pods") {
      out.scalar[name] = quantity.Value();
    }
  }
  return out;
}

void Raise(Amounts* to, const Amounts& other) {
  to->milli_cpu = std::max(to->milli_cpu, other.milli_cpu);
  to->memory = std::max(to->memory, other.memory);
  to->ephemeral_storage = std::max(to->ephemeral_storage, other.ephemeral_storage);
  for (const auto& [name, value] : other.scalar) {
    int64_t& slot = to->scalar[name];
    slot = std::max(slot, value);
  }
}

// Sums over a pod's containers; with `scored`, what asks for nothing counts with the defaults.
Amounts Total(const core::Pod& pod, bool scored) {
  const auto of = [scored](const core::Container& container) {
    Amounts out = AmountsOf(container.resources().requests());
    if (scored) {
      if (!container.resources().requests().contains("cpu")) out.milli_cpu = kDefaultMilliCpu;
      if (!container.resources().requests().contains("memory")) out.memory = kDefaultMemory;
    }
    return out;
  };
  Amounts total;
  for (const auto& container : pod.spec().containers()) total.Add(of(container), 1);
  Amounts sidecars, greatest;
  for (const auto& container : pod.spec().initcontainers()) {
    Amounts need = of(container);
    if (container.restartpolicy() == "Always") {
      total.Add(need, 1);
      sidecars.Add(need, 1);
      need = sidecars;
    } else {
      need.Add(sidecars, 1);
    }
    Raise(&greatest, need);
  }
  Raise(&total, greatest);
  if (pod.spec().has_resources()) {
    const auto& requests = pod.spec().resources().requests();
    const Amounts whole = AmountsOf(requests);
    if (requests.contains("cpu")) total.milli_cpu = whole.milli_cpu;
    if (requests.contains("memory")) total.memory = whole.memory;
    for (const auto& [name, value] : whole.scalar) total.scalar[name] = value;
  }
  total.Add(AmountsOf(pod.spec().overhead()), 1);
  return total;
}

}  // namespace

void Amounts::Add(const Amounts& other, int sign) {
  milli_cpu += sign * other.milli_cpu;
  memory += sign * other.memory;
  ephemeral_storage += sign * other.ephemeral_storage;
  for (const auto& [name, value] : other.scalar) {
    int64_t& slot = scalar[name];
    slot += sign * value;
    if (slot == 0) scalar.erase(name);
  }
}

bool HostPort::Conflicts(const HostPort& other) const {
  const auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return port == other.port && protocol == other.protocol && (any(ip) || any(other.ip) || ip == other.ip);
}

PodNeeds NeedsOf(const core::Pod& pod) {
  PodNeeds out;
  out.request = Total(pod, false);
  const Amounts scored = Total(pod, true);
  out.scored_cpu = scored.milli_cpu;
  out.scored_memory = scored.memory;
  const auto ports = [&](const core::Container& container) {
    for (const auto& port : container.ports()) {
      // Pods on the host's network hold their container ports; defaulting has copied those to hostPort.
      if (port.hostport() > 0) {
        out.ports.push_back({port.protocol().empty() ? "TCP" : port.protocol(), port.hostip(), port.hostport()});
      }
    }
  };
  for (const auto& container : pod.spec().containers()) ports(container);
  for (const auto& container : pod.spec().initcontainers()) {
    if (container.restartpolicy() == "Always") ports(container);
  }
  return out;
}

void ClusterState::SetNode(const NodePtr& node) {
  NodeInfo& info = nodes_[node->metadata().name()];
  info.node = node;
  info.allocatable = AmountsOf(node->status().allocatable());
  const auto pods = node->status().allocatable().find("pods");
  info.allowed_pods = pods == node->status().allocatable().end() ? 0 : api::Quantity::Of(pods->second).Value();
}

void ClusterState::RemoveNode(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  found->second.node = nullptr;
  if (found->second.pods.empty()) nodes_.erase(found);
}

void ClusterState::Place(const PodPtr& pod, const std::string& node) {
  const std::string& uid = pod->metadata().uid();
  Remove(uid);
  NodeInfo& info = nodes_[node];
  NodeInfo::Placed placed{pod, NeedsOf(*pod)};
  info.used.Add(placed.needs.request, 1);
  info.scored_cpu += placed.needs.scored_cpu;
  info.scored_memory += placed.needs.scored_memory;
  info.pods.emplace(uid, std::move(placed));
  where_[uid] = node;
}

void ClusterState::Remove(const std::string& uid) {
  const auto where = where_.find(uid);
  if (where == where_.end()) return;
  const auto node = nodes_.find(where->second);
  NodeInfo& info = node->second;
  const auto placed = info.pods.find(uid);
  info.used.Add(placed->second.needs.request, -1);
  info.scored_cpu -= placed->second.needs.scored_cpu;
  info.scored_memory -= placed->second.needs.scored_memory;
  info.pods.erase(placed);
  if (info.node == nullptr && info.pods.empty()) nodes_.erase(node);
  where_.erase(where);
}

size_t ClusterState::node_count() const {
  return static_cast<size_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [](const auto& entry) { return entry.second.node != nullptr; }));
}

}  // namespace skiff::controlplane
