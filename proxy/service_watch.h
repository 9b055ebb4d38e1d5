// Services and EndpointSlices as the API server has them, handed to the syncer as digests. The objects themselves are
// emptied as soon as they are digested, so that what informers keep of them is their identity. Loop thread only.
#ifndef SKIFF_PROXY_SERVICE_WATCH_H_
#define SKIFF_PROXY_SERVICE_WATCH_H_

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "client/rest.h"
#include "proxy/syncer.h"

namespace skiff::proxy {

class ServiceWatch {
 public:
  // `changed` is called after each change that a Sync is due for. `syncer` must outlive this. `external_ips`: those of
  // Services count (the feature AllowServiceExternalIPs).
  ServiceWatch(std::shared_ptr<client::Rest> rest, std::string node_name, bool external_ips, Syncer& syncer,
               std::function<void()> changed);
  ~ServiceWatch();

  void Start(TaskGroup& group);
  // Both first lists are in the syncer.
  Task<Status> WaitForSync();

 private:
  struct Informers;
  struct PendingSlice {
    std::optional<SliceDigest> digest;
    std::optional<WallTime> trigger;
  };

  void WatchServices(bool external_ips);
  void WatchSlices();
  void OnService(const std::string& key);
  void OnSlice(const std::string& key);

  const std::string node_name_;
  Syncer& syncer_;
  std::function<void()> changed_;
  std::set<std::string> sctp_named_;  // services whose SCTP ports the log has named
  // From a transform to the handler that follows it. A deletion may come between the two (the object was made anew
  // while nobody watched), so it leaves these alone.
  std::unordered_map<std::string, std::optional<ServiceDigest>> pending_services_;
  std::unordered_map<std::string, PendingSlice> pending_slices_;
  std::unique_ptr<Informers> informers_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SERVICE_WATCH_H_
