// What a kubelet's credential may touch: its own node and lease, the status of pods, and the secrets, config maps,
// claims, volumes and service accounts that pods bound to its node refer to. The relation is kept from the pods in the
// store, in step with every write. Loop thread only. Follows
// https://kubernetes.io/docs/reference/access-authn-authz/node/ .
#ifndef SKIFF_CONTROLPLANE_APISERVER_NODE_AUTHORIZER_H_
#define SKIFF_CONTROLPLANE_APISERVER_NODE_AUTHORIZER_H_

#include <map>
#include <memory>
#include <string>

#include "controlplane/apiserver/authz.h"

namespace skiff::controlplane {

class NodeAuthorizer {
 public:
  NodeAuthorizer(Store& store, const Kinds& kinds);

  Decision Authorize(const User& user, const Access& access) const;

 private:
  void Changed(const StoreEvent& event);
  void Count(const std::string& key, const ValuePtr& value, int by);
  static Decision Own(const std::string& node, const Access& access, std::string_view owner);
  template <typename T>
  std::shared_ptr<const T> Stored(std::string_view group, std::string_view plural, const std::string& name) const;
  Decision Related(const std::string& node, const Access& access, std::string_view what) const;

  Store& store_;
  const Kinds& kinds_;
  // node -> "secret/NS/NAME" -> how many of its pods refer to it
  std::map<std::string, std::map<std::string, int>> related_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_NODE_AUTHORIZER_H_
