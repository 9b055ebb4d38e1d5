// A node's heartbeat: the Lease kube-node-lease/NODE, made when missing and renewed every quarter of its duration
// (40 s -> every 10 s), as upstream's lease controller does: up to 5 tries in a row on errors, the last seen lease is
// used as the base of the next update, a conflict reads it again. Loop thread only.
#ifndef SKIFF_CLIENT_LEASE_H_
#define SKIFF_CLIENT_LEASE_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "client/rest.h"

namespace skiff::client {

struct NodeLeaseOptions {
  std::string node_name;
  std::string ns = "kube-node-lease";
  std::chrono::seconds duration{40};
  // The node's uid for the owner reference, "" while it is not known (the lease is then made without one and gets it
  // at a later renewal).
  std::function<std::string()> node_uid;
  // Called once when 5 tries in a row have failed (the kubelet closes its connections then). May be empty.
  std::function<void()> on_repeated_failure;
};

// A client for heartbeats (the lease, the node's status), as upstream's kubelet has one: the program's other requests
// do not hold them up, and one that gets no answer ends while there is time for another, on another connection, before
// the lease runs out.
Config ForHeartbeats(Config config, std::chrono::nanoseconds status_update_frequency,
                     std::chrono::nanoseconds lease_duration);

// Until cancelled.
Task<void> RunNodeLease(std::shared_ptr<Rest> rest, NodeLeaseOptions options);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_LEASE_H_
