#include "controlplane/apiserver/authz.h"

#include "controlplane/apiserver/node_authorizer.h"

namespace skiff::controlplane {
namespace {

namespace rbac = ::k8s::io::api::rbac::v1;

template <typename List>
bool Holds(const List& list, std::string_view word) {
  for (const std::string& entry : list)
    if (entry == word || entry == "*") return true;
  return false;
}

bool ResourceMatches(const rbac::PolicyRule& rule, const Access& access) {
  const std::string combined =
      access.subresource.empty() ? access.resource : absl::StrCat(access.resource, "/", access.subresource);
  for (const std::string& entry : rule.resources()) {
    if (entry == "*" || entry == combined) return true;
    if (!access.subresource.empty() && entry.starts_with("*/") && entry.substr(2) == access.subresource) return true;
  }
  return false;
}

bool PathMatches(const rbac::PolicyRule& rule, const std::string& path) {
  for (const std::string& entry : rule.nonresourceurls()) {
    if (entry == "*" || entry == path) return true;
    if (entry.ends_with("*") && path.starts_with(entry.substr(0, entry.size() - 1))) return true;
  }
  return false;
}

bool RuleAllows(const rbac::PolicyRule& rule, const Access& access) {
  if (!Holds(rule.verbs(), access.verb)) return false;
  if (!access.is_resource) return PathMatches(rule, access.path);
  if (!Holds(rule.apigroups(), access.group) || !ResourceMatches(rule, access)) return false;
  if (rule.resourcenames().empty()) return true;
  for (const std::string& name : rule.resourcenames())
    if (name == access.name) return true;
  return false;
}

// The subject's description when it means the user, else "".
std::string SubjectMatch(const rbac::Subject& subject, const User& user, std::string_view binding_ns) {
  if (subject.kind() == "User") return subject.name() == user.name ? absl::StrCat("User \"", subject.name(), "\"") : "";
  if (subject.kind() == "Group")
    return user.InGroup(subject.name()) ? absl::StrCat("Group \"", subject.name(), "\"") : "";
  if (subject.kind() == "ServiceAccount") {
    const std::string ns = subject.namespace_().empty() ? std::string(binding_ns) : subject.namespace_();
    if (!ns.empty() && user.name == absl::StrCat("system:serviceaccount:", ns, ":", subject.name()))
      return absl::StrCat("ServiceAccount \"", subject.name(), "/", ns, "\"");
  }
  return "";
}

}  // namespace

std::string Access::Describe() const {
  if (!is_resource) return absl::StrCat(verb, " path \"", path, "\"");
  std::string out = absl::StrCat(verb, " resource \"", resource, subresource.empty() ? "" : "/", subresource,
                                 "\" in API group \"", group, "\" ");
  if (ns.empty())
    out += "at the cluster scope";
  else
    absl::StrAppend(&out, "in the namespace \"", ns, "\"");
  return out;
}

template <typename T>
std::shared_ptr<const T> Authorizer::Cached(const Kind& kind, const std::string& key, const ValuePtr& value) const {
  CacheEntry& entry = cache_[key];
  if (entry.revision != value->mod_revision) {
    entry.message = nullptr;
    entry.revision = value->mod_revision;
    auto object = kind.Decode(key, *value);
    if (object.ok()) {
      auto typed = std::make_shared<T>();
      typed->Swap(object->As<T>());
      // Field ownership is of no use here.
      typed->clear_metadata();
      entry.message = std::move(typed);
    }
  }
  return std::static_pointer_cast<const T>(entry.message);
}

void Authorizer::VisitRules(const User& user, const std::string& ns,
                            const std::function<bool(const rbac::PolicyRule&, const std::string&)>& visit) const {
  const Kinds& kinds = objects_.kinds();
  const Store& store = objects_.store();
  const Kind& cluster_roles = *kinds.Find("rbac.authorization.k8s.io", "v1", "clusterroles");
  const Kind& roles = *kinds.Find("rbac.authorization.k8s.io", "v1", "roles");
  bool more = true;
  auto apply = [&](const auto& binding, const std::string& binding_kind, const std::string& binding_name,
                   const std::string& binding_ns) {
    std::string subject;
    for (const rbac::Subject& candidate : binding.subjects()) {
      subject = SubjectMatch(candidate, user, binding_ns);
      if (!subject.empty()) break;
    }
    if (subject.empty()) return;
    const auto& ref = binding.roleref();
    const std::string shown = binding_ns.empty() ? binding_name : absl::StrCat(binding_name, "/", binding_ns);
    const std::string source =
        absl::StrCat(binding_kind, " \"", shown, "\" of ", ref.kind(), " \"", ref.name(), "\" to ", subject);
    auto visit_all = [&](const auto& role) {
      for (const rbac::PolicyRule& rule : role.rules())
        if (more) more = visit(rule, source);
    };
    if (ref.kind() == "ClusterRole") {
      const std::string key = cluster_roles.Key("", ref.name());
      ValuePtr value = store.Peek(key);
      if (!value) return;
      if (auto role = Cached<rbac::ClusterRole>(cluster_roles, key, value)) visit_all(*role);
    } else if (ref.kind() == "Role") {
      const std::string key = roles.Key(binding_ns, ref.name());
      ValuePtr value = store.Peek(key);
      if (!value) return;
      if (auto role = Cached<rbac::Role>(roles, key, value)) visit_all(*role);
    }
  };
  const Kind& cluster_bindings = *kinds.Find("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
  store.PeekPrefix(cluster_bindings.prefix, [&](const std::string& key, const ValuePtr& value) {
    if (auto binding = Cached<rbac::ClusterRoleBinding>(cluster_bindings, key, value))
      apply(*binding, "ClusterRoleBinding", key.substr(cluster_bindings.prefix.size()), "");
    return more;
  });
  if (ns.empty() || !more) return;
  const Kind& bindings = *kinds.Find("rbac.authorization.k8s.io", "v1", "rolebindings");
  const std::string prefix = bindings.Prefix(ns);
  store.PeekPrefix(prefix, [&](const std::string& key, const ValuePtr& value) {
    if (auto binding = Cached<rbac::RoleBinding>(bindings, key, value))
      apply(*binding, "RoleBinding", key.substr(prefix.size()), ns);
    return more;
  });
}

Decision Authorizer::Authorize(const User& user, const Access& access) const {
  if (user.InGroup(kMasters) || modes_.always_allow) return {true, ""};
  std::string reason;
  if (modes_.node && nodes_) {
    Decision decision = nodes_->Authorize(user, access);
    if (decision.allowed) return decision;
    reason = decision.reason;
  }
  Decision decision;
  if (modes_.rbac) {
    VisitRules(user, access.is_resource ? access.ns : "", [&](const rbac::PolicyRule& rule, const std::string& source) {
      if (!RuleAllows(rule, access)) return true;
      decision = {true, absl::StrCat("RBAC: allowed by ", source)};
      return false;
    });
  }
  if (!decision.allowed) decision.reason = reason;
  return decision;
}

}  // namespace skiff::controlplane
