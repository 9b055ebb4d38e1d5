// From desired services to the difference in the maps. Keeps what it has written, so that one changed service costs a
// few writes whatever the number of services. The order of writes keeps every moment consistent: new backends, then new
// slots, then frontends (each switched at once), then removals. Loop thread only.
//
// The first Apply, and the one after an error, must be full: it reads the maps back, takes over the numbers of
// everything that is still wanted, and removes the rest, so that a crash at any write is made good.
#ifndef SKIFF_PROXY_RECONCILE_H_
#define SKIFF_PROXY_RECONCILE_H_

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/allocator.h"
#include "proxy/bpf_maps.h"
#include "proxy/model.h"
#include "proxy/write_plan.h"

namespace skiff::proxy {

struct ServiceChange {
  std::string service;                // "namespace/name"
  std::optional<ServiceModel> model;  // nothing: the service is gone
};

// How packets find endpoints of services that do not say it themselves.
struct BalancingOptions {
  bool maglev = false;
  uint32_t table = 1021;  // places of a Maglev table, rounded up to a prime; more where a service has many endpoints
};

class Reconciler {
 public:
  explicit Reconciler(BpfMaps& maps);
  ~Reconciler();

  bool needs_full() const { return needs_full_; }
  StatusOr<ApplyResult> Apply(const std::vector<ServiceChange>& changes);
  // `all` is everything that there is.
  StatusOr<ApplyResult> ApplyAll(const std::vector<ServiceChange>& all);

  // Before the first Apply.
  void SetBalancing(BalancingOptions options) { balancing_ = options; }

  // The addresses on which NodePorts answer; true: only for sockets in the node's own network namespace. Takes effect
  // with the next Apply.
  void SetNodeAddresses(std::map<Address, bool> addresses) { node_addresses_ = std::move(addresses); }

  const std::map<Address, bool>& node_addresses() const { return node_addresses_; }

  size_t frontends() const { return owners_.size(); }
  size_t backends() const { return backend_count_; }

 private:
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
  struct Found;

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

#endif  // SKIFF_PROXY_RECONCILE_H_
