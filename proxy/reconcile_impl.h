// What the reconciler keeps: for its own sources alone, so that nobody else compiles it.
#ifndef SKIFF_PROXY_RECONCILE_IMPL_H_
#define SKIFF_PROXY_RECONCILE_IMPL_H_

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proxy/allocator.h"
#include "proxy/reconcile.h"
#include "proxy/write_plan.h"

namespace skiff::proxy {

struct Reconciler::Impl {
  static constexpr uint32_t kMaxServices = 1u << 31;

  struct Backend {
    Address address;
    uint32_t id;
    uint16_t port;  // host order
    uint8_t state;
  };
  struct Port {
    std::string name;
    uint32_t id = 0;
    uint8_t protocol = 0;
    Family family = Family::kIPv4;
    bool maglev = false;
    skiff_range cluster = {}, local = {};
    std::vector<Backend> backends;  // sorted by address, port
    std::vector<std::pair<FrontendKey, skiff_frontend>> frontends;
    std::vector<Prefix> source_ranges;  // sorted
  };
  struct Service {
    std::vector<Port> ports;
    std::vector<FrontendKey> addresses;
    std::vector<FrontendKey> waiting;  // keys that another service holds
  };
  // Who an entry of `frontends` belongs to; port 0: the entry of an address.
  struct Owner {
    const std::string* service;  // a key of services_
    uint32_t port;
  };
  // What the maps held when we came.
  struct Found {
    std::vector<Port> ports;
    std::vector<bool> taken;                                   // by a service of ours
    std::unordered_map<FrontendKey, size_t, KeyHash> port_of;  // frontend -> index in ports
    std::unordered_map<FrontendKey, bool, KeyHash> addresses;  // address entries; true: still wanted
  };

  explicit Impl(BpfMaps& maps)
      : maps_(maps),
        service_ids_(kMaxServices),
        backend_ids_(SKIFF_MAX_BACKEND_CHUNKS << SKIFF_CHUNK_BITS),
        ranges_(SKIFF_MAX_SLOT_CHUNKS << SKIFF_CHUNK_BITS) {}
  StatusOr<ApplyResult> Apply(const std::vector<ServiceChange>& changes);
  StatusOr<ApplyResult> ApplyAll(const std::vector<ServiceChange>& all);
  Status ReadBack(Found* found, WritePlan* plan);
  Status ChangeService(const ServiceChange& change, Found* found, WritePlan* plan);
  Status ChangePort(const std::string& service, Service& state, Port* old, const ModelPort& model, Port* out,
                    WritePlan* plan);
  StatusOr<skiff_range> ChangeSet(const Port& old, skiff_range old_range, const Port& now, uint8_t state,
                                  WritePlan* plan);
  static std::vector<uint32_t> Slots(const Port& port, uint8_t state, uint32_t table);
  void DropPort(Port& port, WritePlan* plan);
  bool Claim(const std::string& service, Service& state, const FrontendKey& key, uint32_t port);
  void Release(const FrontendKey& key, uint32_t port, WritePlan* plan);
  void ChangeNodeAddresses(WritePlan* plan);
  void Forget();

  BpfMaps& maps_;
  BalancingOptions balancing_;
  bool needs_full_ = true;
  size_t backend_count_ = 0;
  IdAllocator service_ids_, backend_ids_;
  RangeAllocator ranges_;
  std::unordered_map<std::string, Service> services_;
  std::unordered_map<FrontendKey, Owner, KeyHash> owners_;
  std::multimap<FrontendKey, std::string> waiting_;
  std::map<Address, bool> node_addresses_, node_addresses_written_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_RECONCILE_IMPL_H_
