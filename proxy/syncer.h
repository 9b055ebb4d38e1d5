// Holds the digests of all Services and EndpointSlices, knows which services have changed, and brings the maps up to
// date in one pass. No API and no kernel in here: changes come in by calls, maps are an interface. Loop thread only.
#ifndef SKIFF_PROXY_SYNCER_H_
#define SKIFF_PROXY_SYNCER_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/health.h"
#include "proxy/metrics.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {

class Syncer {
 public:
  Syncer(BpfMaps& maps, NodeInfo node, Clock& clock, Metrics& metrics, Health& health);

  // nullopt: gone, or not ours. True if something changed, so that a Sync is due.
  bool SetService(const std::string& service, std::optional<ServiceDigest> digest);
  // `trigger`: when the change that led to this slice happened (its annotation), for the latency metric.
  bool SetSlice(const std::string& slice, std::optional<SliceDigest> digest, std::optional<WallTime> trigger = {});
  bool SetZone(const std::string& zone);
  bool SetNodeAddresses(std::map<Address, bool> addresses);

  bool synced() const { return !all_dirty_; }  // the maps hold what is wanted, or will after the next pass
  bool dirty() const { return all_dirty_ || !dirty_.empty(); }
  // One pass. After an error everything is dirty: the next pass reads the maps back.
  StatusOr<ApplyResult> Sync();

  // Services with a health check node port: what their health check says.
  struct LocalHealth {
    uint16_t port = 0;
    int local_endpoints[2] = {0, 0};    // by family
    bool families[2] = {false, false};  // those that the service has
  };
  const std::map<std::string, LocalHealth>& local_health() const { return local_health_; }
  // Services that traffic from outside may be for.
  int external_services() const { return external_; }
  size_t services() const { return services_.size(); }
  size_t slices() const { return slices_.size(); }
  const Reconciler& reconciler() const { return reconciler_; }
  void SetBalancing(BalancingOptions options) { reconciler_.SetBalancing(options); }  // before the first Sync

 private:
  struct NoLocal {
    int16_t internal[2] = {0, 0}, external[2] = {0, 0};
  };
  struct Entry {
    std::optional<ServiceDigest> service;
    std::vector<std::pair<std::string, std::unique_ptr<SliceDigest>>> slices;
    NoLocal no_local;
    bool external = false;
  };
  struct Trigger {
    Family family;
    WallTime at;
  };

  void MarkDirty(const std::string& service);
  void LogHints(const std::string& service, const ModelPort& port) const;
  ServiceChange BuildChange(const std::string& service, Entry& entry);
  void RemoveIfEmpty(const std::string& service);

  Reconciler reconciler_;
  NodeInfo node_;
  Clock& clock_;
  Metrics& metrics_;
  Health& health_;
  WallTime started_;
  std::unordered_map<std::string, Entry> services_;
  std::unordered_map<std::string, std::string> slices_;  // slice -> service
  std::set<std::string> dirty_;
  bool all_dirty_ = true;
  std::vector<Trigger> triggers_;
  std::map<std::string, LocalHealth> local_health_;
  int external_ = 0;
  int no_local_[2][2] = {{0, 0}, {0, 0}};  // family, internal or external
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SYNCER_H_
