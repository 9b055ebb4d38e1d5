#include "controlplane/controllers/endpoint_slices.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/int_or_string.h"
#include "api/names.h"
#include "api/time.h"
#include "client/object.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

using discovery::Endpoint;
using discovery::EndpointSlice;
using Ports = google::protobuf::RepeatedPtrField<discovery::EndpointPort>;

constexpr int kMostEndpoints = 100;

bool IsV6(std::string_view ip) { return ip.find(':') != std::string_view::npos; }

std::string PortsKey(const Ports& ports) {
  std::vector<std::string> keys;
  for (const auto& port : ports) {
    keys.push_back(absl::StrCat(port.name(), "/", port.protocol(), "/", port.port(), "/", port.appprotocol()));
  }
  std::sort(keys.begin(), keys.end());
  return absl::StrJoin(keys, ",");
}

Ports PortsOf(const core::Service& service, const core::Pod& pod) {
  Ports out;
  for (const auto& port : service.spec().ports()) {
    const int number = FindTargetPort(pod, port);
    if (number == 0) continue;
    auto* added = out.Add();
    added->set_name(port.name());
    added->set_port(number);
    added->set_protocol(port.protocol());
    if (port.has_appprotocol()) added->set_appprotocol(port.appprotocol());
  }
  return out;
}

Endpoint EndpointOf(const core::Service& service, const core::Pod& pod, const core::Node* node, bool v6) {
  Endpoint out;
  for (const auto& ip : pod.status().podips()) {
    if (IsV6(ip.ip()) == v6) out.add_addresses(ip.ip());
  }
  if (pod.status().podips().empty() && IsV6(pod.status().podip()) == v6) out.add_addresses(pod.status().podip());
  const bool serving = IsPodReady(pod);
  const bool terminating = IsBeingDeleted(pod.metadata());
  out.mutable_conditions()->set_ready(service.spec().publishnotreadyaddresses() || (serving && !terminating));
  out.mutable_conditions()->set_serving(serving);
  out.mutable_conditions()->set_terminating(terminating);
  auto* target = out.mutable_targetref();
  target->set_kind("Pod");
  target->set_namespace_(pod.metadata().namespace_());
  target->set_name(pod.metadata().name());
  target->set_uid(pod.metadata().uid());
  if (!pod.spec().nodename().empty()) out.set_nodename(pod.spec().nodename());
  if (node != nullptr) {
    const auto zone = node->metadata().labels().find("topology.kubernetes.io/zone");
    if (zone != node->metadata().labels().end() && !zone->second.empty()) out.set_zone(zone->second);
  }
  if (!pod.spec().hostname().empty() && pod.spec().subdomain() == service.metadata().name()) {
    out.set_hostname(pod.spec().hostname());
  }
  return out;
}

std::string EndpointKey(const Endpoint& endpoint) {
  return absl::StrCat(absl::StrJoin(endpoint.addresses(), ","), "|", endpoint.targetref().namespace_(), "/",
                      endpoint.targetref().name(), "|", endpoint.targetref().uid(), "|", endpoint.nodename());
}

bool Reserved(const std::string& label) {
  return label == kServiceName || label == kSliceManagedBy || label == kHeadless;
}

using Labels = google::protobuf::Map<std::string, std::string>;

Labels LabelsOf(const core::Service& service) {
  Labels out;
  for (const auto& [key, value] : service.metadata().labels()) {
    if (!Reserved(key)) out[key] = value;
  }
  if (IsHeadless(service)) out[kHeadless] = "";
  out[kServiceName] = service.metadata().name();
  out[kSliceManagedBy] = kSliceController;
  return out;
}

// The reserved labels do not count: they follow the service's own fields and never change alone.
bool LabelsDiffer(const EndpointSlice& slice, const core::Service& service) {
  const auto plain = [](const Labels& labels) {
    std::map<std::string, std::string> out;
    for (const auto& [key, value] : labels) {
      if (!Reserved(key)) out[key] = value;
    }
    return out;
  };
  return plain(slice.metadata().labels()) != plain(service.metadata().labels());
}

EndpointSlice NewSlice(const core::Service& service, const Ports& ports, bool v6) {
  EndpointSlice out;
  auto* metadata = out.mutable_metadata();
  std::string prefix = absl::StrCat(service.metadata().name(), "-");
  if (prefix.size() > 253) prefix = service.metadata().name();
  metadata->set_generatename(prefix);
  metadata->set_namespace_(service.metadata().namespace_());
  *metadata->add_ownerreferences() = client::ControllerReference(service);
  *metadata->mutable_labels() = LabelsOf(service);
  *out.mutable_ports() = ports;
  out.set_addresstype(v6 ? "IPv6" : "IPv4");
  return out;
}

bool OwnedBy(const EndpointSlice& slice, const core::Service& service) {
  for (const auto& owner : slice.metadata().ownerreferences()) {
    if (owner.uid() == service.metadata().uid() && owner.kind() == "Service") return true;
  }
  return false;
}

// The wanted endpoints of one set of ports, in the order of the pods.
struct Wanted {
  Ports ports;
  std::vector<std::pair<std::string, Endpoint>> endpoints;
  std::set<std::string> keys;
};

void ReconcilePorts(const core::Service& service, const std::vector<SlicePtr>& existing, Wanted wanted, bool v6,
                    SliceChanges* out) {
  std::map<std::string, Endpoint*> by_key;
  for (auto& [key, endpoint] : wanted.endpoints) by_key[key] = &endpoint;
  std::vector<EndpointSlice> update;
  std::vector<SlicePtr> unchanged;
  for (const SlicePtr& slice : existing) {
    std::vector<Endpoint*> kept;
    bool changed = false;
    for (const auto& endpoint : slice->endpoints()) {
      const auto found = by_key.find(EndpointKey(endpoint));
      if (found == by_key.end()) continue;
      if (!api::Equal(endpoint, *found->second)) changed = true;
      kept.push_back(found->second);
      by_key.erase(found);
    }
    const bool fewer = static_cast<int>(kept.size()) != slice->endpoints_size();
    if (!changed && !fewer && !LabelsDiffer(*slice, service)) {
      unchanged.push_back(slice);
    } else if (kept.empty() && fewer) {
      out->remove.push_back(slice);
    } else {
      EndpointSlice copy = *slice;
      copy.clear_endpoints();
      for (const Endpoint* endpoint : kept) *copy.add_endpoints() = *endpoint;
      *copy.mutable_metadata()->mutable_labels() = LabelsOf(service);
      update.push_back(std::move(copy));
    }
  }
  std::deque<Endpoint*> left;
  for (auto& [key, endpoint] : wanted.endpoints) {
    if (by_key.contains(key)) left.push_back(&endpoint);
  }
  // Slices that are written anyway are filled first, the fullest before the others.
  std::sort(update.begin(), update.end(),
            [](const auto& a, const auto& b) { return a.endpoints_size() > b.endpoints_size(); });
  const auto fill = [&](EndpointSlice* slice) {
    while (!left.empty() && slice->endpoints_size() < kMostEndpoints) {
      *slice->add_endpoints() = *left.front();
      left.pop_front();
    }
  };
  for (EndpointSlice& slice : update) fill(&slice);
  while (!left.empty()) {
    // One existing slice that has room for all the rest, the tightest fit; else a new one.
    auto best = unchanged.end();
    int best_room = kMostEndpoints;
    if (static_cast<int>(left.size()) < kMostEndpoints) {
      for (auto it = unchanged.begin(); it != unchanged.end(); ++it) {
        const int room = kMostEndpoints - static_cast<int>(left.size()) - (*it)->endpoints_size();
        if (room >= 0 && room < best_room) {
          best = it;
          best_room = room;
        }
      }
    }
    if (best != unchanged.end()) {
      EndpointSlice copy = **best;
      unchanged.erase(best);
      fill(&copy);
      update.push_back(std::move(copy));
    } else {
      EndpointSlice slice = NewSlice(service, wanted.ports, v6);
      fill(&slice);
      out->create.push_back(std::move(slice));
    }
  }
  for (EndpointSlice& slice : update) out->update.push_back(std::move(slice));
}

void ReconcileFamily(const core::Service& service, const std::vector<PodPtr>& pods,
                     const std::vector<SlicePtr>& existing,
                     const std::function<NodePtr(const std::string& name)>& node_of, bool v6, Status* problem,
                     SliceChanges* out) {
  SliceChanges changes;
  std::map<std::string, std::vector<SlicePtr>> by_ports;
  for (const SlicePtr& slice : existing) {
    if (OwnedBy(*slice, service)) {
      by_ports[PortsKey(slice->ports())].push_back(slice);
    } else {
      changes.remove.push_back(slice);
    }
  }
  std::map<std::string, Wanted> wanted;
  for (const PodPtr& pod : pods) {
    if (!ShouldPodBeInEndpoints(*pod, true)) continue;
    const Ports ports = PortsOf(service, *pod);
    Wanted& group = wanted[PortsKey(ports)];
    group.ports = ports;
    const NodePtr node = node_of(pod->spec().nodename());
    if (node == nullptr && !service.spec().publishnotreadyaddresses()) {
      *problem = NotFound("skipping Pod ", pod->metadata().name(), " for Service ", service.metadata().namespace_(),
                          "/", service.metadata().name(), ": Node ", pod->spec().nodename(), " Not Found");
      continue;
    }
    Endpoint endpoint = EndpointOf(service, *pod, node.get(), v6);
    if (endpoint.addresses().empty()) continue;
    std::string key = EndpointKey(endpoint);
    if (group.keys.insert(key).second) group.endpoints.emplace_back(std::move(key), std::move(endpoint));
  }
  for (auto& [key, group] : wanted) ReconcilePorts(service, by_ports[key], std::move(group), v6, &changes);
  for (const auto& [key, slices] : by_ports) {
    if (!wanted.contains(key)) changes.remove.insert(changes.remove.end(), slices.begin(), slices.end());
  }
  // Where there would be none, an empty slice says that the service was looked at.
  if (changes.remove.size() == existing.size() && changes.create.empty()) {
    const EndpointSlice placeholder = NewSlice(service, {}, v6);
    const bool there = changes.remove.size() == 1 && OwnedBy(*changes.remove[0], service) &&
                       changes.remove[0]->endpoints().empty() && changes.remove[0]->ports().empty() &&
                       !LabelsDiffer(*changes.remove[0], service);
    if (there) {
      changes.remove.clear();
    } else {
      changes.create.push_back(placeholder);
    }
  }
  // A slice that goes and one that comes are one slice that changes.
  for (auto it = changes.remove.begin(); it != changes.remove.end() && !changes.create.empty();) {
    if (!OwnedBy(**it, service) || (*it)->addresstype() != changes.create.back().addresstype()) {
      ++it;
      continue;
    }
    EndpointSlice copy = **it;
    EndpointSlice& fresh = changes.create.back();
    *copy.mutable_endpoints() = fresh.endpoints();
    *copy.mutable_ports() = fresh.ports();
    *copy.mutable_metadata()->mutable_labels() = fresh.metadata().labels();
    changes.update.push_back(std::move(copy));
    changes.create.pop_back();
    it = changes.remove.erase(it);
  }
  for (auto& slice : changes.create) out->create.push_back(std::move(slice));
  for (auto& slice : changes.update) out->update.push_back(std::move(slice));
  for (auto& slice : changes.remove) out->remove.push_back(std::move(slice));
}

}  // namespace

int FindTargetPort(const core::Pod& pod, const core::ServicePort& port) {
  if (!api::IsString(port.targetport())) return api::IntValue(port.targetport());
  const std::string name = api::ToString(port.targetport());
  const auto look = [&](const core::Container& container) {
    for (const auto& candidate : container.ports()) {
      if (candidate.name() == name && candidate.protocol() == port.protocol()) return candidate.containerport();
    }
    return 0;
  };
  for (const auto& container : pod.spec().containers()) {
    if (const int found = look(container)) return found;
  }
  for (const auto& container : pod.spec().initcontainers()) {
    if (container.restartpolicy() != "Always") continue;
    if (const int found = look(container)) return found;
  }
  return 0;
}

bool IsHeadless(const core::Service& service) {
  return service.spec().clusterip().empty() || service.spec().clusterip() == "None";
}

bool ShouldPodBeInEndpoints(const core::Pod& pod, bool include_terminating) {
  if (IsPodTerminal(pod)) return false;
  if (pod.status().podip().empty() && pod.status().podips().empty()) return false;
  return include_terminating || !IsBeingDeleted(pod.metadata());
}

SliceChanges ComputeSlices(const core::Service& service, const std::vector<PodPtr>& pods,
                           const std::vector<SlicePtr>& existing,
                           const std::function<NodePtr(const std::string& name)>& node_of, Status* problem) {
  bool families[2] = {false, false};  // v4, v6
  for (const std::string& family : service.spec().ipfamilies()) families[family == "IPv6"] = true;
  if (!families[0] && !families[1]) {
    if (IsHeadless(service)) {
      families[0] = families[1] = true;
    } else {
      families[IsV6(service.spec().clusterip())] = true;
    }
  }
  SliceChanges out;
  std::vector<SlicePtr> of_family[2];
  for (const SlicePtr& slice : existing) {
    const bool v6 = slice->addresstype() == "IPv6";
    if (!families[v6]) {
      out.remove.push_back(slice);
    } else {
      of_family[v6].push_back(slice);
    }
  }
  for (const bool v6 : {false, true}) {
    if (families[v6]) ReconcileFamily(service, pods, of_family[v6], node_of, v6, problem, &out);
  }
  return out;
}

WallTime TriggerTimes::Compute(const core::Service& service, const std::vector<PodPtr>& pods) {
  const std::string key = client::MakeKey(service.metadata().namespace_(), service.metadata().name());
  const auto known = services_.find(key);
  Seen now;
  int64_t least = 0;
  const auto consider = [&](int64_t time) { least = least == 0 ? time : std::min(least, time); };
  for (const PodPtr& pod : pods) {
    const auto* ready = FindPodCondition(*pod, "Ready");
    if (ready == nullptr || ready->lasttransitiontime().seconds() <= 0) continue;
    const int64_t time = ready->lasttransitiontime().seconds();
    now.pods[pod->metadata().name()] = time;
    if (known == services_.end()) continue;
    const auto before = known->second.pods.find(pod->metadata().name());
    if (before == known->second.pods.end() || time > before->second) consider(time);
  }
  now.service = service.metadata().creationtimestamp().seconds();
  if (known == services_.end()) {
    least = now.service;
  } else if (now.service > known->second.service) {
    consider(now.service);
  }
  services_[key] = std::move(now);
  return WallTime(std::chrono::seconds(least));
}

}  // namespace skiff::controlplane
