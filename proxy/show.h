// `kube-proxy show`: the services as the kernel has them, for people. Reads the pinned maps; needs no running proxy.
#ifndef SKIFF_PROXY_SHOW_H_
#define SKIFF_PROXY_SHOW_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "proxy/bpf_maps.h"

namespace skiff::proxy {

// One line a frontend: the service port's number, address, for whom ("all", "inside", "outside"), affinity, endpoints.
// "refused" is a service without endpoints, "dropped" one whose policy is Local and whose endpoints are elsewhere,
// "passed" one that is left to the network. Then the node's addresses for NodePorts.
StatusOr<std::string> ShowServices(BpfMaps& maps);

// What each service port did since it came, by the kernel's counters: connections that got an endpoint, and those that
// were refused or dropped for want of one. Those that did nothing are left out.
StatusOr<std::string> ShowServiceCounts(BpfMaps& maps);

// A client that keeps its endpoint (session affinity), and since when it has not connected.
struct AffinityEntry {
  skiff_affinity_key key;
  skiff_affinity value;
};
// One line each: service port, client (an address, or the network namespace of a pod or of the node), endpoint, age.
// `now`: CLOCK_MONOTONIC nanoseconds.
std::string ShowAffinity(const std::vector<AffinityEntry>& entries, BpfMaps& maps, uint64_t now);

struct FlowEntry {
  skiff_flow_key key;
  skiff_flow value;
};
// Connections of the packet path, one line each: protocol, client, service, endpoint, the node's own address and port
// where it stands in for the client, and for how long nothing passed. Connections of sockets are the kernel's own:
// ss(8) shows them, with the endpoint as their peer.
std::string ShowConnections(const std::vector<FlowEntry>& entries, uint64_t now);

// `what`: "services", "affinity", "connections", "counters"; all but affinity and connections if empty. With what the
// kernel programs counted, and the connection table's fill. `bpf_dir` as --bpf-dir. kInvalidArgument for other words.
StatusOr<std::string> Show(const std::string& bpf_dir, const std::vector<std::string>& what = {});

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SHOW_H_
