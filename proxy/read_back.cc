// The reconciler's start: from what the maps hold, as an earlier run or a crash left them.
#include <arpa/inet.h>

#include <algorithm>

#include "proxy/reconcile_impl.h"

namespace skiff::proxy {

// Turns the maps' content into ports as if an earlier pass of ours had made them. What is inconsistent (half a pass of
// a process that died) is not trusted: it gets new numbers, and what it used is removed.
Status Reconciler::Impl::ReadBack(Found* found, WritePlan* plan) {
  ASSIGN_OR_RETURN(auto frontends, maps_.ReadFrontends(), "read frontends");
  ASSIGN_OR_RETURN(auto slots, maps_.ReadSlots(), "read slots");
  ASSIGN_OR_RETURN(auto backends, maps_.ReadBackends(), "read backends");
  ASSIGN_OR_RETURN(auto source_ranges, maps_.ReadRanges(), "read source ranges");

  std::unordered_map<uint32_t, size_t> by_id;
  std::vector<uint32_t> service_ids, backend_ids;
  ranges_.Reset(SKIFF_MAX_SLOT_CHUNKS << SKIFF_CHUNK_BITS);
  auto port_of = [&](uint32_t id) -> Port& {
    auto [it, added] = by_id.emplace(id, found->ports.size());
    if (added) {
      found->ports.emplace_back().id = id;
      service_ids.push_back(id);
    }
    return found->ports[it->second];
  };
  for (const auto& [key, value] : frontends) {
    if (key.port == 0) {
      if (value.flags & SKIFF_FRONTEND_REFUSE)
        found->addresses.emplace(key, false);
      else
        node_addresses_written_[key.address] = (value.flags & SKIFF_FRONTEND_HOST_ONLY) != 0;
      continue;
    }
    if (value.service == 0) {
      plan->deleted.insert(key);
      continue;
    }
    Port& port = port_of(value.service);
    port.protocol = key.protocol;
    port.frontends.emplace_back(key, value);
    found->port_of.emplace(key, by_id[value.service]);
  }
  for (const auto& [id, value] : backends) {
    backend_ids.push_back(id);
    if (!by_id.contains(value.service)) {
      plan->late_backends.emplace_back(id,
                                       skiff_backend{});  // written before its frontend was, or after that was deleted
      continue;
    }
    port_of(value.service).backends.push_back({value.address, id, ntohs(value.port), value.state});
  }
  for (const SourceRange& range : source_ranges) {
    if (by_id.contains(range.service))
      port_of(range.service).source_ranges.push_back(range.prefix);
    else
      plan->removed_ranges.push_back(range);
  }
  for (Port& port : found->ports) {
    std::sort(port.source_ranges.begin(), port.source_ranges.end());
    std::sort(port.backends.begin(), port.backends.end(), [](const Backend& a, const Backend& b) {
      return a.address == b.address ? a.port < b.port : a.address < b.address;
    });
    auto claim = [&](skiff_range range, uint8_t state, skiff_range* into) {
      if (range.count == 0 || *into == range) return;
      bool ours = ranges_.Claim(range);
      if (into->count != 0) {
        // Half a pass: frontends of one port stand on two ranges. Both are in use until all are switched.
        ranges_.Give(*into);
        if (ours) ranges_.Give(range);
        *into = {};
        return;
      }
      if (!ours) return;  // overlaps, or given up already: whatever it was, it is replaced
      std::vector<uint32_t> want = Slots(port, state, port.maglev ? range.count : 0);
      bool same = want.size() == range.count && range.first + range.count <= slots.size();
      for (uint32_t i = 0; same && i < range.count; i++) {
        const skiff_slot& slot = slots[range.first + i];
        same = slot.backend == want[i] && slot.service == port.id;
      }
      if (same)
        *into = range;
      else
        ranges_.Give(range);
    };
    for (const auto& [key, value] : port.frontends) port.maglev |= (value.flags & SKIFF_FRONTEND_MAGLEV) != 0;
    for (const auto& [key, value] : port.frontends) {
      bool local = value.flags & SKIFF_FRONTEND_INSIDE_LOCAL;
      claim(value.inside, local ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER, local ? &port.local : &port.cluster);
      local = value.flags & SKIFF_FRONTEND_OUTSIDE_LOCAL;
      claim(value.outside, local ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER, local ? &port.local : &port.cluster);
    }
    backend_count_ += port.backends.size();
  }
  std::sort(service_ids.begin(), service_ids.end());
  std::sort(backend_ids.begin(), backend_ids.end());
  service_ids_.Reset(service_ids);
  backend_ids_.Reset(backend_ids);
  for (const auto& [id, value] : plan->late_backends) backend_ids_.Give(id);
  found->taken.assign(found->ports.size(), false);
  return absl::OkStatus();
}

}  // namespace skiff::proxy
