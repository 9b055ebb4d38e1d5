// From desired services to the difference in the maps. Keeps what it has written, so that one changed service costs a
// few writes whatever the number of services. The order of writes keeps every moment consistent: new backends, then new
// slots, then frontends (each switched at once), then removals. Loop thread only.
//
// The first Apply, and the one after an error, must be full: it reads the maps back, takes over the numbers of
// everything that is still wanted, and removes the rest, so that a crash at any write is made good.
#ifndef SKIFF_PROXY_RECONCILE_H_
#define SKIFF_PROXY_RECONCILE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/bpf_maps.h"
#include "proxy/model.h"

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

struct ApplyResult {
  size_t frontends_written = 0, frontends_deleted = 0, slots_written = 0, backends_written = 0, backends_removed = 0;
  bool udp_backend_removed = false;    // sockets connected to it must be moved
  std::vector<std::string> try_again;  // services that waited for an address or port that is free now
  Status left_out;                     // a map is full: all but this is written, and the next change tries again
};

class Reconciler {
 public:
  explicit Reconciler(BpfMaps& maps);
  ~Reconciler();

  bool needs_full() const;
  StatusOr<ApplyResult> Apply(const std::vector<ServiceChange>& changes);
  // `all` is everything that there is.
  StatusOr<ApplyResult> ApplyAll(const std::vector<ServiceChange>& all);

  // Before the first Apply.
  void SetBalancing(BalancingOptions options);

  // The addresses on which NodePorts answer; true: only for sockets in the node's own network namespace. Takes effect
  // with the next Apply.
  void SetNodeAddresses(std::map<Address, bool> addresses);

  const std::map<Address, bool>& node_addresses() const;

  size_t frontends() const;
  size_t backends() const;
  size_t slots() const;  // that are not free, those that rest until the next Apply among them

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_RECONCILE_H_
