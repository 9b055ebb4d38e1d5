// Nobody grants what they do not hold: writers of roles must hold every rule in them, writers of bindings every rule of
// the role they bind, unless they may "escalate" or "bind" it.
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/authz.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace rbac = ::k8s::io::api::rbac::v1;

constexpr char kGroup[] = "rbac.authorization.k8s.io";

template <typename List>
std::string Quoted(const List& words) {
  std::string out = "[";
  for (const std::string& word : words) absl::StrAppend(&out, out.size() > 1 ? " " : "", "\"", word, "\"");
  return out + "]";
}

std::string Shown(const rbac::PolicyRule& rule) {
  std::string out = "{";
  auto add = [&](const char* name, const auto& words) {
    if (words.empty()) return;
    std::string joined = "[";
    for (const std::string& word : words) absl::StrAppend(&joined, joined.size() > 1 ? ", " : "", "\"", word, "\"");
    absl::StrAppend(&out, out.size() > 1 ? ", " : "", name, ":", joined, "]");
  };
  add("APIGroups", rule.apigroups());
  add("Resources", rule.resources());
  add("ResourceNames", rule.resourcenames());
  add("NonResourceURLs", rule.nonresourceurls());
  add("Verbs", rule.verbs());
  return out + "}";
}

// Whether the user holds all that a rule grants. A wildcard is only covered by a wildcard.
bool Holds(const Authorizer& authorizer, const User& user, const std::string& ns, const rbac::PolicyRule& rule) {
  for (const std::string& verb : rule.verbs()) {
    for (const std::string& path : rule.nonresourceurls()) {
      Access access;
      access.verb = verb;
      access.is_resource = false;
      access.path = path;
      if (!authorizer.Authorize(user, access).allowed) return false;
    }
    for (const std::string& group : rule.apigroups()) {
      for (const std::string& resource : rule.resources()) {
        std::vector<std::string> names(rule.resourcenames().begin(), rule.resourcenames().end());
        if (names.empty()) names.emplace_back();
        for (const std::string& name : names) {
          Access access;
          access.verb = verb;
          access.group = group;
          const size_t slash = resource.find('/');
          access.resource = resource.substr(0, slash);
          if (slash != std::string::npos) access.subresource = resource.substr(slash + 1);
          access.ns = ns;
          access.name = name;
          if (!authorizer.Authorize(user, access).allowed) return false;
        }
      }
    }
  }
  return true;
}

template <typename Rules>
Status CheckRules(const Admission& admission, const Context& context, const Attributes& attributes,
                  const Rules& rules) {
  std::string missing;
  for (const rbac::PolicyRule& rule : rules)
    if (!Holds(*admission.authorizer(), context.user, std::string(attributes.ns), rule))
      absl::StrAppend(&missing, missing.empty() ? "" : "\n", Shown(rule));
  if (missing.empty()) return absl::OkStatus();
  return api::ForbiddenError(attributes.kind.About(attributes.name),
                             absl::StrCat("user \"", context.user.name, "\" (groups=", Quoted(context.user.groups),
                                          ") is attempting to grant RBAC permissions not currently held:\n", missing));
}

bool MayAnyway(const Admission& admission, const Context& context, const char* verb, std::string_view resource,
               std::string_view ns, std::string_view name) {
  Access access;
  access.verb = verb;
  access.group = kGroup;
  access.version = "v1";
  access.resource = std::string(resource);
  access.ns = std::string(ns);
  access.name = std::string(name);
  return admission.authorizer()->Authorize(context.user, access).allowed;
}

template <typename T>
Status CheckRole(const Admission& admission, const Context& context, const Attributes& attributes) {
  const T* role = attributes.object->As<T>();
  if (MayAnyway(admission, context, "escalate", attributes.kind.resource->plural, attributes.ns, attributes.name))
    return absl::OkStatus();
  if (attributes.old) {
    const T* old = attributes.old->As<T>();
    T left, right;
    *left.mutable_rules() = role->rules();
    *right.mutable_rules() = old->rules();
    if (api::Equal(left, right)) return absl::OkStatus();
  }
  return CheckRules(admission, context, attributes, role->rules());
}

template <typename T>
Status CheckBinding(const Admission& admission, const Context& context, const Attributes& attributes) {
  const auto& ref = attributes.object->As<T>()->roleref();
  const bool cluster = ref.kind() == "ClusterRole";
  if (MayAnyway(admission, context, "bind", cluster ? "clusterroles" : "roles", attributes.ns, ref.name()))
    return absl::OkStatus();
  if (cluster) {
    auto role = admission.Find<rbac::ClusterRole>("clusterroles", "", ref.name(), kGroup);
    if (!role) return api::NotFoundError({kGroup, "clusterroles", ref.name()});
    return CheckRules(admission, context, attributes, role->rules());
  }
  auto role = admission.Find<rbac::Role>("roles", attributes.ns, ref.name(), kGroup);
  if (!role) return api::NotFoundError({kGroup, "roles", ref.name()});
  return CheckRules(admission, context, attributes, role->rules());
}

}  // namespace

Status RbacEscalation(const Admission& admission, const Context& context, const Attributes& attributes) {
  if (context.internal || !admission.authorizer() || !attributes.object || attributes.kind.resource->group != kGroup)
    return absl::OkStatus();
  const std::string_view plural = attributes.kind.resource->plural;
  if (plural == "roles") return CheckRole<rbac::Role>(admission, context, attributes);
  if (plural == "clusterroles") return CheckRole<rbac::ClusterRole>(admission, context, attributes);
  if (plural == "rolebindings") return CheckBinding<rbac::RoleBinding>(admission, context, attributes);
  if (plural == "clusterrolebindings") return CheckBinding<rbac::ClusterRoleBinding>(admission, context, attributes);
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
