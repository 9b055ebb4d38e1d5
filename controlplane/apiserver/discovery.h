// What the server has: /api, /apis and below, one by one and aggregated; made from the scheme's table.
// Follows https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api . Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_DISCOVERY_H_
#define SKIFF_CONTROLPLANE_APISERVER_DISCOVERY_H_

#include <optional>
#include <string>

#include "base/http_server.h"
#include "controlplane/apiserver/context.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/negotiation.h"

namespace skiff::controlplane {

class Discovery {
 public:
  Discovery(const Kinds& kinds, std::string address) : kinds_(kinds), address_(std::move(address)) {}

  // Whether a path is one of discovery's.
  bool Owns(const std::string& path) const;
  // The group of /apis/GROUP/... exists.
  bool HasGroup(std::string_view group) const;
  Task<Status> Serve(http::Exchange& exchange, Context& context) const;
  std::vector<std::string> GroupVersions() const;  // "apps/v1", "v1"

 private:
  struct Group {
    std::string name;
    std::vector<std::string> versions;  // the preferred first
  };
  std::vector<Group> Groups() const;
  std::string GroupJson(const Group& group, bool standalone) const;
  std::string ResourcesJson(const std::string& group, const std::string& version) const;
  std::string AggregatedJson(bool core) const;
  std::string AggregatedProtobuf(bool core) const;

  const Kinds& kinds_;
  const std::string address_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_DISCOVERY_H_
