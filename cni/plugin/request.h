// One CNI invocation: the environment and the network configuration on standard input, checked. Specification 1.1.0,
// sections 1 to 3. Plain values.
#ifndef SKIFF_CNI_PLUGIN_REQUEST_H_
#define SKIFF_CNI_PLUGIN_REQUEST_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "cni/plugin/ip.h"
#include "cni/plugin/port_mapping.h"

namespace skiff::cni {

// Versions that we speak, oldest first; the last is the one that VERSION answers in.
inline constexpr const char* kVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

enum class Verb { kAdd, kDel, kCheck, kVersion, kGc, kStatus };

// The plugin's own configuration, inside a conflist:
//   {"type": "skiff-cni", "ranges": ["10.244.1.0/24"], "stateDir": "/var/lib/cni/skiff", "mtu": 1450}
struct Config {
  std::string cni_version, name;
  std::vector<Prefix> ranges;  // one address is given from each; at most one a family
  std::string state_dir = "/var/lib/cni/skiff";
  uint32_t mtu = 1500;
};

struct Attachment {
  std::string container_id, interface;
  auto operator<=>(const Attachment&) const = default;
};

// prevResult of CHECK: the addresses that ADD answered.
struct Request {
  Verb verb = Verb::kVersion;
  Attachment attachment;
  std::string netns;  // path; may be empty for DEL
  Config config;
  std::optional<std::vector<Prefix>> previous;  // the addresses of prevResult
  std::vector<Attachment> valid_attachments;    // for GC
  std::vector<PortMapping> ports;               // runtimeConfig.portMappings
};

enum class PluginType { kPod, kLoopback };  // kLoopback has no configuration of its own

// `getenv` returns nullptr for what is not set. Errors carry CNI's code and name the variable or field.
StatusOr<Request> ParseRequest(const std::function<const char*(const char*)>& getenv, std::string_view input,
                               PluginType type = PluginType::kPod);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_REQUEST_H_
