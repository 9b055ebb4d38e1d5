// What exists in every cluster from its first second: system namespaces, roles and bindings, priority classes, the
// kubernetes service with its endpoints, the API's own registrations.
#ifndef SKIFF_CONTROLPLANE_APISERVER_BOOTSTRAP_H_
#define SKIFF_CONTROLPLANE_APISERVER_BOOTSTRAP_H_

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/apiserver/registry.h"

namespace skiff::controlplane {

struct BootstrapFacts {
  std::string service_address;    // of default/kubernetes
  std::string advertise_address;  // its endpoint
  int port = 6443;
  std::string service_range;
  std::string client_ca_pem;
  std::vector<std::string> group_versions;  // "apps/v1", ...
};

// Creates what is missing and brings the server's own endpoint up to date; what exists is otherwise left alone.
Task<Status> Bootstrap(Registry& registry, const BootstrapFacts& facts, WallTime now);

extern const std::string_view kBootstrapPolicy[];
extern const size_t kBootstrapPolicySize;

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_BOOTSTRAP_H_
