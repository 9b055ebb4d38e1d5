// `kube-proxy show`: the services as the kernel has them, for people. Reads the pinned maps; needs no running proxy.
#ifndef SKIFF_PROXY_SHOW_H_
#define SKIFF_PROXY_SHOW_H_

#include <string>

#include "base/status.h"
#include "proxy/bpf_maps.h"

namespace skiff::proxy {

// One line a frontend: the service port's number, address, for whom ("all", "inside", "outside"), affinity, endpoints.
// "refused" is a service without endpoints, "passed" one that is left to the network. Then the node's addresses for
// NodePorts.
StatusOr<std::string> ShowServices(BpfMaps& maps);

// The same with what the kernel programs counted, and the connection table's fill. `bpf_dir` as --bpf-dir.
StatusOr<std::string> Show(const std::string& bpf_dir);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_SHOW_H_
