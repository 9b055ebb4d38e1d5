#include "proxy/reconcile.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "base/log.h"
#include "proxy/maglev.h"
#include "proxy/reconcile_impl.h"

namespace skiff::proxy {

namespace {

skiff_backend MakeBackend(const ModelEndpoint& e, uint8_t protocol, uint32_t service) {
  skiff_backend out = {};
  out.address = e.address;
  out.port = htons(e.port);
  out.protocol = protocol;
  out.state = e.state;
  out.service = service;
  return out;
}

}  // namespace

void Reconciler::Impl::Forget() {
  services_.clear();
  owners_.clear();
  waiting_.clear();
  node_addresses_written_.clear();
  backend_count_ = 0;
  needs_full_ = true;
}

StatusOr<ApplyResult> Reconciler::Impl::Apply(const std::vector<ServiceChange>& changes) {
  if (needs_full_) return FailedPrecondition("the maps must be read back first");
  service_ids_.Settle();
  backend_ids_.Settle();
  ranges_.Settle();
  WritePlan plan;
  ApplyResult result;
  Status status;
  for (const ServiceChange& change : changes) {
    status = ChangeService(change, nullptr, &plan);
    if (!status.ok()) break;
  }
  ChangeNodeAddresses(&plan);
  if (status.ok()) status = plan.Write(maps_, &result);
  if (!status.ok() || !result.left_out.ok()) Forget();
  if (!status.ok()) return status;
  return result;
}

StatusOr<ApplyResult> Reconciler::Impl::ApplyAll(const std::vector<ServiceChange>& all) {
  Forget();
  WritePlan plan;
  Found found;
  ApplyResult result;
  Status status = ReadBack(&found, &plan);
  for (size_t i = 0; status.ok() && i < all.size(); i++) status = ChangeService(all[i], &found, &plan);
  if (status.ok()) {
    for (size_t i = 0; i < found.ports.size(); i++) {
      if (!found.taken[i]) DropPort(found.ports[i], &plan);
    }
    for (const auto& [key, wanted] : found.addresses) {
      if (!wanted) Release(key, 0, &plan);
    }
    ChangeNodeAddresses(&plan);
    status = plan.Write(maps_, &result);
  }
  needs_full_ = false;
  if (!status.ok() || !result.left_out.ok()) Forget();
  if (!status.ok()) return status;
  return result;
}

Status Reconciler::Impl::ChangeService(const ServiceChange& change, Found* found, WritePlan* plan) {
  auto it = services_.find(change.service);
  if (!change.model && it == services_.end()) return absl::OkStatus();
  if (it == services_.end()) it = services_.emplace(change.service, Service{}).first;
  const std::string& name = it->first;
  Service& state = it->second;

  for (const FrontendKey& key : state.waiting) {
    auto [from, to] = waiting_.equal_range(key);
    for (auto w = from; w != to; ++w) {
      if (w->second == name) {
        waiting_.erase(w);
        break;
      }
    }
  }
  state.waiting.clear();

  std::vector<Port> before = std::move(state.ports);
  state.ports.clear();
  std::vector<bool> kept(before.size(), false);
  const std::vector<ModelPort> none;
  const std::vector<ModelPort>& wanted = change.model ? change.model->ports : none;
  std::vector<Port*> olds(wanted.size(), nullptr);
  for (size_t m = 0; m < wanted.size(); m++) {
    const ModelPort& model = wanted[m];
    for (size_t i = 0; i < before.size(); i++) {
      if (!kept[i] && before[i].name == model.name && before[i].protocol == model.protocol &&
          before[i].family == model.family) {
        kept[i] = true;
        olds[m] = &before[i];
        break;
      }
    }
    if (olds[m] == nullptr && found != nullptr) {
      for (const ModelFrontend& f : model.frontends) {
        auto at = found->port_of.find(f.key);
        if (at == found->port_of.end() || found->taken[at->second]) continue;
        found->taken[at->second] = true;
        olds[m] = &found->ports[at->second];
        break;
      }
    }
  }
  // Ports that go away first: their keys may be wanted by a port that comes.
  for (size_t i = 0; i < before.size(); i++) {
    if (!kept[i]) DropPort(before[i], plan);
  }
  state.ports.reserve(wanted.size());
  for (size_t m = 0; m < wanted.size(); m++) {
    Port& port = state.ports.emplace_back();
    RETURN_IF_ERROR(ChangePort(name, state, olds[m], wanted[m], &port, plan));
  }

  // Addresses: their other ports refuse.
  std::vector<FrontendKey> addresses;
  if (change.model) {
    for (const FrontendKey& key : change.model->addresses) {
      bool had = std::find(state.addresses.begin(), state.addresses.end(), key) != state.addresses.end();
      if (!had && !Claim(name, state, key, 0)) continue;
      addresses.push_back(key);
      if (had) continue;
      if (found != nullptr) {
        if (auto at = found->addresses.find(key); at != found->addresses.end()) {
          at->second = true;
          continue;
        }
      }
      skiff_frontend value = {};
      value.flags = SKIFF_FRONTEND_REFUSE;
      plan->frontends[key] = value;
      plan->deleted.erase(key);
    }
  }
  for (const FrontendKey& key : state.addresses) {
    if (std::find(addresses.begin(), addresses.end(), key) == addresses.end()) Release(key, 0, plan);
  }
  state.addresses = std::move(addresses);
  if (!change.model) services_.erase(it);
  return absl::OkStatus();
}

Status Reconciler::Impl::ChangePort(const std::string& service, Service& state, Port* old, const ModelPort& model,
                                    Port* out, WritePlan* plan) {
  static const Port kNone;
  const Port& before = old != nullptr ? *old : kNone;
  out->name = model.name;
  out->protocol = model.protocol;
  out->family = model.family;
  out->id = before.id;
  out->maglev = model.balancing == Balancing::kMaglev || (model.balancing == Balancing::kDefault && balancing_.maglev);
  if (out->id == 0) {
    auto id = service_ids_.Take();
    if (!id) return absl::ResourceExhaustedError("out of service numbers");
    out->id = *id;
    plan->new_services.push_back(*id);
  }

  // Both lists are sorted: one walk finds what stays, comes and goes.
  auto had = before.backends.begin();
  auto gone = [&](const Backend& b) {
    plan->late_backends.emplace_back(b.id, skiff_backend{});
    backend_ids_.Give(b.id);
    --backend_count_;
    if (model.protocol == IPPROTO_UDP) plan->udp_backend_removed = true;
  };
  out->backends.reserve(model.endpoints.size());
  for (const ModelEndpoint& e : model.endpoints) {
    auto less = [](const Backend& b, const ModelEndpoint& m) {
      return b.address == m.address ? b.port < m.port : b.address < m.address;
    };
    for (; had != before.backends.end() && less(*had, e); ++had) gone(*had);
    Backend b{e.address, 0, e.port, e.state};
    if (had != before.backends.end() && had->address == e.address && had->port == e.port) {
      b.id = had->id;
      if (had->state != e.state) {
        skiff_backend value = MakeBackend(e, model.protocol, out->id);
        plan->late_backends.emplace_back(b.id, value);
        value.state |= had->state;
        if (value.state != had->state) plan->backends.emplace_back(b.id, value);
        if (model.protocol == IPPROTO_UDP && !(e.state & SKIFF_BACKEND_SERVING)) plan->udp_backend_removed = true;
      }
      ++had;
    } else {
      auto id = backend_ids_.Take();
      if (!id) return absl::ResourceExhaustedError("out of backend numbers");
      b.id = *id;
      ++backend_count_;
      plan->backends.emplace_back(b.id, MakeBackend(e, model.protocol, out->id));
    }
    out->backends.push_back(b);
  }
  for (; had != before.backends.end(); ++had) gone(*had);

  bool uses_local = false, uses_cluster = false;
  for (const ModelFrontend& f : model.frontends) {
    (f.flags & SKIFF_FRONTEND_INSIDE_LOCAL ? uses_local : uses_cluster) = true;
    (f.flags & SKIFF_FRONTEND_OUTSIDE_LOCAL ? uses_local : uses_cluster) = true;
  }
  if (uses_cluster) {
    ASSIGN_OR_RETURN(out->cluster, ChangeSet(before, before.cluster, *out, SKIFF_BACKEND_CLUSTER, plan));
  } else if (before.cluster.count != 0) {
    ranges_.Give(before.cluster);
  }
  if (uses_local) {
    ASSIGN_OR_RETURN(out->local, ChangeSet(before, before.local, *out, SKIFF_BACKEND_LOCAL, plan));
  } else if (before.local.count != 0) {
    ranges_.Give(before.local);
  }

  out->source_ranges = model.source_ranges;
  for (const Prefix& range : model.source_ranges) {
    if (!std::binary_search(before.source_ranges.begin(), before.source_ranges.end(), range)) {
      plan->ranges.push_back({out->id, range});
    }
  }
  for (const Prefix& range : before.source_ranges) {
    if (!std::binary_search(model.source_ranges.begin(), model.source_ranges.end(), range)) {
      plan->removed_ranges.push_back({out->id, range});
    }
  }

  for (const ModelFrontend& f : model.frontends) {
    auto was = std::find_if(before.frontends.begin(), before.frontends.end(),
                            [&](const auto& entry) { return entry.first == f.key; });
    if (!Claim(service, state, f.key, out->id)) continue;
    skiff_frontend value = {};
    value.service = out->id;
    value.flags = f.flags | (out->maglev ? uint32_t{SKIFF_FRONTEND_MAGLEV} : 0u);
    value.inside = f.flags & SKIFF_FRONTEND_INSIDE_LOCAL ? out->local : out->cluster;
    value.outside = f.flags & SKIFF_FRONTEND_OUTSIDE_LOCAL ? out->local : out->cluster;
    value.affinity_seconds = model.affinity_seconds;
    if (was == before.frontends.end() || !(was->second == value)) plan->frontends[f.key] = value;
    plan->deleted.erase(f.key);
    out->frontends.emplace_back(f.key, value);
  }
  for (const auto& [key, value] : before.frontends) {
    bool still = std::any_of(out->frontends.begin(), out->frontends.end(),
                             [&](const auto& entry) { return entry.first == key; });
    if (!still) Release(key, out->id, plan);
  }
  return absl::OkStatus();
}

// The backends of a set's slots. `table`: the places of a Maglev table; 0: one slot a backend, in their order.
std::vector<uint32_t> Reconciler::Impl::Slots(const Port& port, uint8_t state, uint32_t table) {
  std::vector<uint32_t> ids;
  std::vector<MaglevName> names;
  for (const Backend& b : port.backends) {
    if (!(b.state & state)) continue;
    ids.push_back(b.id);
    if (table != 0) names.push_back({b.address, b.port});
  }
  if (table <= ids.size() || ids.empty()) return ids;
  std::vector<uint32_t> out = MaglevTable(names, table);
  for (uint32_t& i : out) i = ids[i];
  return out;
}

// Slots that are in use are never changed: a changed set goes to new ones.
StatusOr<skiff_range> Reconciler::Impl::ChangeSet(const Port& old, skiff_range old_range, const Port& now,
                                                  uint8_t state, WritePlan* plan) {
  std::vector<uint32_t> want = Slots(now, state, 0), had = Slots(old, state, 0);
  uint32_t table = now.maglev && !want.empty() ? MaglevSize(balancing_.table, want.size()) : 0;
  auto count = table != 0 ? table : static_cast<uint32_t>(want.size());
  if (want == had && old.maglev == now.maglev && old_range.count == count) return old_range;
  if (old_range.count != 0) ranges_.Give(old_range);
  if (want.empty()) return skiff_range{};
  auto range = ranges_.Take(count);
  if (!range && table != 0) {
    LOG_WARNING("No room for a Maglev table; endpoints are chosen by a plain hash", {"endpoints", want.size()});
    table = 0;
    range = ranges_.Take(static_cast<uint32_t>(want.size()));
  }
  if (!range) return absl::ResourceExhaustedError("out of slots for endpoints");
  if (table != 0) want = Slots(now, state, table);
  for (uint32_t i = 0; i < range->count; i++) plan->slots.emplace_back(range->first + i, skiff_slot{want[i], now.id});
  return *range;
}

void Reconciler::Impl::DropPort(Port& port, WritePlan* plan) {
  for (const auto& [key, value] : port.frontends) Release(key, port.id, plan);
  for (const Backend& b : port.backends) {
    plan->late_backends.emplace_back(b.id, skiff_backend{});
    backend_ids_.Give(b.id);
    --backend_count_;
    if (port.protocol == IPPROTO_UDP) plan->udp_backend_removed = true;
  }
  for (const Prefix& range : port.source_ranges) plan->removed_ranges.push_back({port.id, range});
  if (port.cluster.count != 0) ranges_.Give(port.cluster);
  if (port.local.count != 0) ranges_.Give(port.local);
  service_ids_.Give(port.id);
}

bool Reconciler::Impl::Claim(const std::string& service, Service& state, const FrontendKey& key, uint32_t port) {
  auto [it, added] = owners_.emplace(key, Owner{&service, port});
  if (added) return true;
  if (it->second.service == &service) {
    it->second.port = port;  // moves from one port of the service to another
    return true;
  }
  waiting_.emplace(key, service);
  state.waiting.push_back(key);
  LOG_WARNING("Address and port are taken by another service; waiting for it", {"service", service},
              {"address", FormatKey(key)}, {"owner", *it->second.service});
  return false;
}

void Reconciler::Impl::Release(const FrontendKey& key, uint32_t port, WritePlan* plan) {
  auto it = owners_.find(key);
  if (it != owners_.end()) {
    if (it->second.port != port) return;  // somebody else has it by now
    owners_.erase(it);
  }
  plan->frontends.erase(key);
  plan->deleted.insert(key);
  auto [from, to] = waiting_.equal_range(key);
  for (auto w = from; w != to; ++w) plan->try_again.push_back(w->second);
}

void Reconciler::Impl::ChangeNodeAddresses(WritePlan* plan) {
  for (const auto& [address, host_only] : node_addresses_) {
    auto was = node_addresses_written_.find(address);
    if (was != node_addresses_written_.end() && was->second == host_only) continue;
    FrontendKey key = AddressKey(address);
    if (owners_.contains(key)) continue;  // a service's own address
    skiff_frontend value = {};
    value.flags = SKIFF_FRONTEND_NODE_ADDRESS | (host_only ? SKIFF_FRONTEND_HOST_ONLY : 0u);
    plan->frontends[key] = value;
    plan->deleted.erase(key);
  }
  for (const auto& [address, host_only] : node_addresses_written_) {
    FrontendKey key = AddressKey(address);
    if (!node_addresses_.contains(address) && !owners_.contains(key)) plan->deleted.insert(key);
  }
  node_addresses_written_ = node_addresses_;
}

Reconciler::Reconciler(BpfMaps& maps) : impl_(std::make_unique<Impl>(maps)) {}
Reconciler::~Reconciler() = default;
bool Reconciler::needs_full() const { return impl_->needs_full_; }
StatusOr<ApplyResult> Reconciler::Apply(const std::vector<ServiceChange>& changes) { return impl_->Apply(changes); }
StatusOr<ApplyResult> Reconciler::ApplyAll(const std::vector<ServiceChange>& all) { return impl_->ApplyAll(all); }
void Reconciler::SetBalancing(BalancingOptions options) { impl_->balancing_ = options; }
void Reconciler::SetNodeAddresses(std::map<Address, bool> addresses) { impl_->node_addresses_ = std::move(addresses); }
const std::map<Address, bool>& Reconciler::node_addresses() const { return impl_->node_addresses_; }
size_t Reconciler::frontends() const { return impl_->owners_.size(); }
size_t Reconciler::backends() const { return impl_->backend_count_; }
size_t Reconciler::slots() const { return (SKIFF_MAX_SLOT_CHUNKS << SKIFF_CHUNK_BITS) - impl_->ranges_.free(); }

}  // namespace skiff::proxy
