// Who may do what: members of system:masters everything, nodes what their pods need, all others what roles bound to
// them grant. Decides at once from the store as it is now. Loop thread only. Follows
// https://kubernetes.io/docs/reference/access-authn-authz/{authorization,rbac,node}/ .
#ifndef SKIFF_CONTROLPLANE_APISERVER_AUTHZ_H_
#define SKIFF_CONTROLPLANE_APISERVER_AUTHZ_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/user.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"

namespace skiff::controlplane {

struct Access {
  std::string verb;
  bool is_resource = true;
  std::string group, version, resource, subresource, ns, name;
  std::string path;            // where it is no resource
  std::string field_selector;  // of a list or watch

  std::string Describe() const;  // `get resource "pods" in API group "" in the namespace "x"`
};

struct Decision {
  bool allowed = false;
  std::string reason;
};

class NodeAuthorizer;

class Authorizer {
 public:
  struct Modes {
    bool node = true, rbac = true, always_allow = false;
  };
  Authorizer(const Admission& objects, const NodeAuthorizer* nodes, Modes modes)
      : objects_(objects), nodes_(nodes), modes_(modes) {}

  Decision Authorize(const User& user, const Access& access) const;
  // Every rule that holds for the user in a namespace ("" for the cluster only), for SelfSubjectRulesReview.
  void VisitRules(const User& user, const std::string& ns,
                  const std::function<bool(const k8s::io::api::rbac::v1::PolicyRule& rule, const std::string& source)>&
                      visit) const;

 private:
  // Decoded roles and bindings, kept while the stored ones do not change.
  template <typename T>
  std::shared_ptr<const T> Cached(const Kind& kind, const std::string& key, const ValuePtr& value) const;

  const Admission& objects_;
  const NodeAuthorizer* nodes_;
  const Modes modes_;
  struct CacheEntry {
    int64_t revision = 0;
    std::shared_ptr<const google::protobuf::Message> message;
  };
  mutable std::map<std::string, CacheEntry, std::less<>> cache_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_AUTHZ_H_
