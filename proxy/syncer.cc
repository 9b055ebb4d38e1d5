#include "proxy/syncer.h"

#include <algorithm>

#include "base/log.h"

namespace skiff::proxy {

Syncer::Syncer(BpfMaps& maps, NodeInfo node, Clock& clock, Metrics& metrics, Health& health)
    : reconciler_(maps),
      node_(std::move(node)),
      clock_(clock),
      metrics_(metrics),
      health_(health),
      started_(clock.Now()) {}

void Syncer::MarkDirty(const std::string& service) {
  dirty_.insert(service);
  health_.Queued();
  metrics_.ObserveQueued(clock_.Now());
}

bool Syncer::SetService(const std::string& service, std::optional<ServiceDigest> digest) {
  auto it = services_.find(service);
  if (it == services_.end()) {
    if (!digest) return false;
    it = services_.emplace(service, Entry{}).first;
  }
  if (it->second.service == digest) return false;
  it->second.service = std::move(digest);
  metrics_.service_changes.Inc();
  metrics_.service_changes_pending.Inc();
  MarkDirty(service);
  return true;
}

bool Syncer::SetSlice(const std::string& slice, std::optional<SliceDigest> digest, std::optional<WallTime> trigger) {
  auto old = slices_.find(slice);
  bool changed = false;
  auto note = [&](const std::string& service) {
    changed = true;
    metrics_.endpoint_changes.Inc();
    metrics_.endpoint_changes_pending.Inc();
    MarkDirty(service);
  };
  if (old != slices_.end() && (!digest || digest->service != old->second)) {
    std::string service = old->second;
    std::erase_if(services_[service].slices, [&](const auto& s) { return s.first == slice; });
    slices_.erase(old);
    note(service);
  }
  if (!digest) return changed;
  Entry& entry = services_[digest->service];
  auto at = std::find_if(entry.slices.begin(), entry.slices.end(), [&](const auto& s) { return s.first == slice; });
  if (at != entry.slices.end() && *at->second == *digest) return changed;
  if (trigger && *trigger > started_) triggers_.push_back({digest->family, *trigger});
  slices_[slice] = digest->service;
  note(digest->service);
  auto copy = std::make_unique<SliceDigest>(*std::move(digest));
  if (at != entry.slices.end())
    at->second = std::move(copy);
  else
    entry.slices.emplace_back(slice, std::move(copy));
  return true;
}

bool Syncer::SetZone(const std::string& zone) {
  if (node_.zone == zone) return false;
  node_.zone = zone;
  for (const auto& [service, entry] : services_) {
    bool hinted =
        std::any_of(entry.slices.begin(), entry.slices.end(), [](const auto& s) { return !s.second->hints.empty(); });
    if (hinted) MarkDirty(service);
  }
  return dirty();
}

bool Syncer::SetNodeAddresses(std::map<Address, bool> addresses) {
  if (addresses == reconciler_.node_addresses()) return false;
  reconciler_.SetNodeAddresses(std::move(addresses));
  dirty_.insert("");  // no service of that name: a pass without changes writes the addresses
  return true;
}

void Syncer::LogHints(const std::string& service, const ModelPort& port) const {
  auto name = [&] {
    const FrontendKey* key = port.frontends.empty() ? nullptr : &port.frontends[0].key;
    return key != nullptr ? FormatKey(*key) : service;
  };
  if (port.node_hints_for_others) {
    VLOG(2, "Ignoring same-node topology hints for service since no hints were provided for node", {"service", name()},
         {"node", node_.name});
  }
  switch (port.ignored_zone_hints) {
    case IgnoredHints::kNone: break;
    case IgnoredHints::kMissing:
      VLOG(7, "Ignoring same-zone topology hints for service since one or more endpoints is missing a zone hint",
           {"service", name()});
      break;
    case IgnoredHints::kNoZone:
      VLOG(2, "Ignoring same-zone topology hints for service since node is missing label", {"service", name()},
           {"label", "topology.kubernetes.io/zone"});
      break;
    case IgnoredHints::kNoneForZone:
      VLOG(2, "Ignoring same-zone topology hints for service since no hints were provided for zone",
           {"service", name()}, {"zone", node_.zone});
      break;
  }
}

ServiceChange Syncer::BuildChange(const std::string& service, Entry& entry) {
  ServiceChange change{service, std::nullopt};
  NoLocal no_local;
  local_health_.erase(service);
  if (entry.service) {
    std::vector<const SliceDigest*> slices;
    slices.reserve(entry.slices.size());
    for (const auto& [name, digest] : entry.slices) slices.push_back(digest.get());
    change.model = Build(*entry.service, slices, node_);
    for (const ModelPort& port : change.model->ports) {
      auto family = static_cast<size_t>(port.family);
      LogHints(service, port);
      if (port.no_local_internal) no_local.internal[family]++;
      if (port.no_local_external) no_local.external[family]++;
    }
    if (change.model->health_check_node_port != 0) {
      LocalHealth& health = local_health_[service];
      health.port = change.model->health_check_node_port;
      for (size_t family : {0u, 1u}) health.local_endpoints[family] = change.model->local_ready_endpoints[family];
      for (const Address& ip : entry.service->cluster_ips) health.families[static_cast<size_t>(FamilyOf(ip))] = true;
    }
  }
  for (size_t family : {0u, 1u}) {
    no_local_[family][0] += no_local.internal[family] - entry.no_local.internal[family];
    no_local_[family][1] += no_local.external[family] - entry.no_local.external[family];
  }
  entry.no_local = no_local;
  bool external = change.model && change.model->external;
  external_ += static_cast<int>(external) - static_cast<int>(entry.external);
  entry.external = external;
  return change;
}

void Syncer::RemoveIfEmpty(const std::string& service) {
  auto it = services_.find(service);
  if (it != services_.end() && !it->second.service && it->second.slices.empty()) services_.erase(it);
}

StatusOr<ApplyResult> Syncer::Sync() {
  SteadyTime begin = std::chrono::steady_clock::now();
  bool full = all_dirty_ || reconciler_.needs_full();
  std::vector<ServiceChange> changes;
  std::set<std::string> names;
  if (full) {
    for (const auto& [service, entry] : services_) names.insert(service);
  } else {
    names = dirty_;
  }
  changes.reserve(names.size());
  for (const std::string& service : names) {
    auto it = services_.find(service);
    if (it == services_.end()) {
      if (!full && !service.empty()) changes.push_back({service, std::nullopt});
      continue;
    }
    changes.push_back(BuildChange(service, it->second));
  }
  auto result = full ? reconciler_.ApplyAll(changes) : reconciler_.Apply(changes);
  if (!result.ok()) {
    all_dirty_ = true;
    return result.status();
  }
  if (!result->left_out.ok()) {
    LOG_ERROR(result->left_out, "Not all services fit; the others are served, and the next change tries again");
  }
  all_dirty_ = false;
  for (const std::string& service : names) RemoveIfEmpty(service);
  dirty_.clear();
  for (const std::string& service : result->try_again) dirty_.insert(service);

  WallTime now = clock_.Now();
  for (const Trigger& t : triggers_) metrics_.ObserveProgramming(t.family, now - t.at);
  triggers_.clear();
  for (size_t family : {0u, 1u}) {
    std::string name(FamilyName(static_cast<Family>(family)));
    metrics_.no_local_endpoints.With({name, "internal"}).Set(no_local_[family][0]);
    metrics_.no_local_endpoints.With({name, "external"}).Set(no_local_[family][1]);
  }
  metrics_.service_changes_pending.Set(0);
  metrics_.endpoint_changes_pending.Set(0);
  metrics_.ObserveSync(full, std::chrono::steady_clock::now() - begin, now);
  if (dirty_.empty()) health_.Updated();
  VLOG(2, "Synced services", {"full", full}, {"services", changes.size()},
       {"frontendsWritten", result->frontends_written}, {"frontendsDeleted", result->frontends_deleted},
       {"backendsWritten", result->backends_written}, {"backendsRemoved", result->backends_removed});
  return result;
}

}  // namespace skiff::proxy
