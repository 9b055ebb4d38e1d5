// Quotas: what a namespace may hold at most. What is used is counted from the store when a write asks, so that it is
// exact with one API server. Follows https://kubernetes.io/docs/concepts/policy/resource-quotas/ .
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "api/quantity.h"
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
using Usage = std::map<std::string, api::Quantity>;
using Resources = google::protobuf::Map<std::string, k8s::io::apimachinery::pkg::api::resource::Quantity>;

void AddAll(const Resources& from, Usage* to) {
  for (const auto& [name, quantity] : from) (*to)[name] += api::Quantity::Of(quantity);
}
void TakeLarger(const Resources& from, const Usage& beside, Usage* to) {
  for (const auto& [name, quantity] : from) {
    api::Quantity sum = api::Quantity::Of(quantity);
    if (const auto it = beside.find(name); it != beside.end()) sum += it->second;
    if (auto& kept = (*to)[name]; kept < sum) kept = sum;
  }
}

// What a pod asks for: its containers together, or its hungriest init container, with the sidecars started before it.
Usage Asked(const core::PodSpec& spec, bool limits) {
  Usage sum, sidecars, largest;
  auto of = [limits](const core::Container& container) -> const Resources& {
    return limits ? container.resources().limits() : container.resources().requests();
  };
  for (const core::Container& container : spec.containers()) AddAll(of(container), &sum);
  for (const core::Container& container : spec.initcontainers()) {
    TakeLarger(of(container), sidecars, &largest);
    if (container.restartpolicy() == "Always") {
      AddAll(of(container), &sidecars);
      AddAll(of(container), &sum);
    }
  }
  for (auto& [name, quantity] : largest)
    if (sum[name] < quantity) sum[name] = quantity;
  // What the pod says as a whole holds for it as a whole.
  for (const auto& [name, quantity] : limits ? spec.resources().limits() : spec.resources().requests())
    sum[name] = api::Quantity::Of(quantity);
  AddAll(spec.overhead(), &sum);
  return sum;
}

bool BestEffort(const core::PodSpec& spec) {
  for (const bool limits : {false, true})
    for (const auto& [name, quantity] : Asked(spec, limits))
      if ((name == "cpu" || name == "memory") && !quantity.IsZero()) return false;
  return true;
}

// What one object takes of every quota.
Usage UsageOf(const Kind& kind, const api::Object& object) {
  Usage out;
  const api::Resource& resource = *kind.resource;
  const std::string plural(resource.plural);
  out[resource.group.empty() ? absl::StrCat("count/", plural)
                             : absl::StrCat("count/", plural, ".", std::string(resource.group))] = api::Quantity(1);
  if (const auto* pod = object.As<core::Pod>()) {
    const bool ended = pod->status().phase() == "Succeeded" || pod->status().phase() == "Failed";
    if (ended) return out;
    out["pods"] = api::Quantity(1);
    for (const auto& [name, quantity] : Asked(pod->spec(), false)) {
      out["requests." + name] = quantity;
      if (name == "cpu" || name == "memory" || name == "ephemeral-storage") out[name] = quantity;
    }
    for (const auto& [name, quantity] : Asked(pod->spec(), true)) out["limits." + name] = quantity;
  } else if (const auto* service = object.As<core::Service>()) {
    out["services"] = api::Quantity(1);
    const std::string& type = service->spec().type();
    const bool ports =
        type == "NodePort" || (type == "LoadBalancer" && (!service->spec().has_allocateloadbalancernodeports() ||
                                                          service->spec().allocateloadbalancernodeports()));
    if (ports) out["services.nodeports"] = api::Quantity(service->spec().ports_size());
    if (type == "LoadBalancer") out["services.loadbalancers"] = api::Quantity(1);
  } else if (const auto* claim = object.As<core::PersistentVolumeClaim>()) {
    out["persistentvolumeclaims"] = api::Quantity(1);
    const auto& requests = claim->spec().resources().requests();
    if (const auto it = requests.find("storage"); it != requests.end()) {
      out["requests.storage"] = api::Quantity::Of(it->second);
      if (!claim->spec().storageclassname().empty()) {
        const std::string prefix = claim->spec().storageclassname() + ".storageclass.storage.k8s.io/";
        out[prefix + "requests.storage"] = out["requests.storage"];
        out[prefix + "persistentvolumeclaims"] = api::Quantity(1);
      }
    }
  } else if (resource.group.empty()) {
    out[plural] = api::Quantity(1);
  }
  return out;
}

bool InScope(const std::string& scope, const std::string& op,
             const google::protobuf::RepeatedPtrField<std::string>& values, const core::Pod& pod) {
  const bool terminating = pod.spec().has_activedeadlineseconds();
  if (scope == "Terminating") return terminating;
  if (scope == "NotTerminating") return !terminating;
  if (scope == "BestEffort") return BestEffort(pod.spec());
  if (scope == "NotBestEffort") return !BestEffort(pod.spec());
  if (scope == "PriorityClass") {
    const std::string& name = pod.spec().priorityclassname();
    const bool listed = std::find(values.begin(), values.end(), name) != values.end();
    if (op == "Exists") return !name.empty();
    if (op == "DoesNotExist") return name.empty();
    return op == "NotIn" ? !listed : listed;
  }
  if (scope == "CrossNamespacePodAffinity") {
    auto crosses = [](const auto& terms) {
      for (const auto& term : terms)
        if (term.namespaces_size() > 0 || term.has_namespaceselector()) return true;
      return false;
    };
    const auto& affinity = pod.spec().affinity();
    return crosses(affinity.podaffinity().requiredduringschedulingignoredduringexecution()) ||
           crosses(affinity.podantiaffinity().requiredduringschedulingignoredduringexecution());
  }
  return false;
}

// A quota with scopes looks at the pods within all of them, and at nothing else.
bool Covers(const core::ResourceQuotaSpec& spec, const api::Object& object) {
  if (spec.scopes_size() == 0 && spec.scopeselector().matchexpressions_size() == 0) return true;
  const auto* pod = object.As<core::Pod>();
  if (!pod) return false;
  static const auto* const none = new google::protobuf::RepeatedPtrField<std::string>;
  for (const std::string& scope : spec.scopes())
    if (!InScope(scope, "Exists", *none, *pod)) return false;
  for (const auto& expression : spec.scopeselector().matchexpressions())
    if (!InScope(expression.scopename(), expression.operator_(), expression.values(), *pod)) return false;
  return true;
}

std::string Shown(const Usage& usage, const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    const auto it = usage.find(name);
    absl::StrAppend(&out, out.empty() ? "" : ",", name, "=", it == usage.end() ? "0" : it->second.ToString());
  }
  return out;
}

// Of what a quota bounds, what the pod does not say; "cpu for: a; memory for: a,b".
std::string Unsaid(const core::PodSpec& spec, const Usage& hard) {
  std::map<std::string, std::vector<std::string>> missing;
  auto look = [&](const core::Container& container) {
    for (const auto& [name, limit] : hard) {
      const bool limits = absl::StartsWith(name, "limits.");
      std::string bare = limits ? name.substr(7) : absl::StartsWith(name, "requests.") ? name.substr(9) : name;
      if (bare != "cpu" && bare != "memory") continue;
      const auto& said = limits ? container.resources().limits() : container.resources().requests();
      const auto& whole = limits ? spec.resources().limits() : spec.resources().requests();
      if (!said.contains(bare) && !whole.contains(bare)) missing[name].push_back(container.name());
    }
  };
  for (const core::Container& container : spec.containers()) look(container);
  for (const core::Container& container : spec.initcontainers()) look(container);
  std::string out;
  for (const auto& [name, containers] : missing)
    absl::StrAppend(&out, out.empty() ? "" : "; ", name, " for: ", absl::StrJoin(containers, ","));
  return out;
}

}  // namespace

Status ResourceQuota(const Admission& admission, const Attributes& attributes) {
  const bool create = attributes.operation == Operation::kCreate;
  if (!attributes.object || attributes.ns.empty() || !attributes.kind.stored() || attributes.kind.custom)
    return absl::OkStatus();
  // Updates count where they can take more: a service's type, a claim's size, a resized pod.
  const bool counts =
      create ? attributes.subresource.empty()
             : (attributes.object->As<core::Service>() && attributes.subresource.empty()) ||
                   (attributes.object->As<core::PersistentVolumeClaim>() && attributes.subresource.empty()) ||
                   (attributes.object->As<core::Pod>() && attributes.subresource == "resize");
  if (!counts) return absl::OkStatus();
  const Kind& quotas = admission.kinds().Core("resourcequotas");
  Status refused;
  admission.store().PeekPrefix(quotas.Prefix(attributes.ns), [&](const std::string& key, const ValuePtr& value) {
    auto decoded = quotas.Decode(key, *value);
    if (!decoded.ok()) return true;
    const auto& quota = *decoded->As<core::ResourceQuota>();
    if (!Covers(quota.spec(), *attributes.object)) return true;
    Usage hard;
    AddAll(quota.spec().hard(), &hard);
    const api::About about = attributes.kind.About(attributes.name);
    if (const auto* pod = attributes.object->As<core::Pod>(); pod && create)
      if (const std::string unsaid = Unsaid(pod->spec(), hard); !unsaid.empty()) {
        refused = api::ForbiddenError(
            about, absl::StrCat("failed quota: ", quota.metadata().name(), ": must specify ", unsaid));
        return false;
      }
    Usage wanted = UsageOf(attributes.kind, *attributes.object);
    if (attributes.old)
      for (auto& [name, quantity] : UsageOf(attributes.kind, *attributes.old)) wanted[name] -= quantity;
    std::erase_if(wanted, [&](const auto& one) { return !hard.contains(one.first) || one.second.Sign() <= 0; });
    if (wanted.empty()) return true;
    Usage used;
    admission.store().PeekPrefix(attributes.kind.Prefix(attributes.ns),
                                 [&](const std::string& other_key, const ValuePtr& other_value) {
                                   auto other = attributes.kind.Decode(other_key, *other_value);
                                   if (other.ok() && Covers(quota.spec(), *other))
                                     for (auto& [name, quantity] : UsageOf(attributes.kind, *other))
                                       used[name] += quantity;
                                   return true;
                                 });
    std::vector<std::string> over;
    for (const auto& [name, quantity] : wanted)
      if (used[name] + quantity > hard[name]) over.push_back(name);
    if (over.empty()) return true;
    refused = api::ForbiddenError(
        about, absl::StrCat("exceeded quota: ", quota.metadata().name(), ", requested: ", Shown(wanted, over),
                            ", used: ", Shown(used, over), ", limited: ", Shown(hard, over)));
    return false;
  });
  return refused;
}

}  // namespace skiff::controlplane
