// Requests and limits, of containers and of whole pods.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "api/pod_resources.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr std::string_view kMeasured[] = {
    "cpu",          "memory",          "ephemeral-storage",          "storage",
    "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.storage",
    "limits.cpu",   "limits.memory",   "limits.ephemeral-storage"};
constexpr std::string_view kCounted[] = {"pods",
                                         "resourcequotas",
                                         "services",
                                         "secrets",
                                         "replicationcontrollers",
                                         "configmaps",
                                         "services.nodeports",
                                         "persistentvolumeclaims",
                                         "services.loadbalancers"};

template <size_t N>
bool In(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool HasPrefix(const std::string& name) { return name.find('/') != std::string::npos; }
// Kubernetes' own: without a prefix, or with one that holds kubernetes.io.
bool Native(const std::string& name) { return !HasPrefix(name) || name.find("kubernetes.io/") != std::string::npos; }
// A device plugin's or a person's. A quota puts "requests." before the name, which must stay one.
bool Extended(const std::string& name) {
  return !Native(name) && !name.starts_with("requests.") && IsQualifiedName("requests." + name).empty();
}
bool Integral(const std::string& name) { return In(kCounted, name) || Extended(name); }
bool Overcommitable(const std::string& name) { return Native(name) && !name.starts_with("hugepages-"); }

bool ValidateAmountName(const std::string& name, const Path& path, FieldErrors* errors) {
  const Complaints bad = IsQualifiedName(name);
  InvalidAll(path, name, bad, errors);
  if (!bad.empty()) return false;
  if (HasPrefix(name) || In(kMeasured, name) || In(kCounted, name) || name.starts_with("hugepages-") ||
      name.starts_with("requests.hugepages-"))
    return true;
  errors->Invalid(path, name, "must be a standard resource type or fully qualified");
  return false;
}

void ValidateContainerAmountName(const std::string& name, const Path& path, FieldErrors* errors) {
  ValidateAmountName(name, path, errors);
  if (HasPrefix(name)) {
    if (!Native(name) && !Extended(name)) errors->Invalid(path, name, "doesn't follow extended resource name standard");
  } else if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && !name.starts_with("hugepages-")) {
    errors->Invalid(path, name, "must be a standard resource for containers");
  }
}

void ValidatePodAmountName(const std::string& name, const Path& path, FieldErrors* errors) {
  if (!ValidateAmountName(name, path, errors)) return;
  if (name == "cpu" || name == "memory" || name.starts_with("hugepages-")) return;
  errors->NotSupported(path, name, {"cpu", "hugepages-", "memory"});
}

void ValidateAmount(const std::string& name, const Quantity::Proto& amount, const Path& path, FieldErrors* errors) {
  const Quantity value = Quantity::Of(amount);
  if (value.Sign() < 0) errors->Invalid(path, amount.string(), "must be greater than or equal to 0");
  if (Integral(name) && value.MilliValue() % 1000 != 0) errors->Invalid(path, amount.string(), "must be an integer");
}

using NameRule = void (*)(const std::string& name, const Path& path, FieldErrors* errors);

void ValidateResources(const core::ResourceRequirements& resources, NameRule rule, const Path& path,
                       FieldErrors* errors) {
  const Amounts &limits = resources.limits(), &requests = resources.requests();
  const Path limit_path = path.Child("limits"), request_path = path.Child("requests");
  bool cpu_or_memory = false, huge = false;
  const auto note = [&](const std::string& name) {
    cpu_or_memory |= name == "cpu" || name == "memory";
    huge |= name.starts_with("hugepages-");
  };
  for (const std::string& name : SortedKeys(limits)) {
    const Path at = limit_path.Key(name);
    rule(name, at, errors);
    ValidateAmount(name, limits.at(name), at, errors);
    note(name);
  }
  for (const std::string& name : SortedKeys(requests)) {
    const Path at = request_path.Key(name);
    rule(name, at, errors);
    ValidateAmount(name, requests.at(name), at, errors);
    note(name);
    const auto limit = limits.find(name);
    if (limit != limits.end()) {
      const Quantity asked = Quantity::Of(requests.at(name)), most = Quantity::Of(limit->second);
      if (asked != most && !Overcommitable(name))
        errors->Invalid(request_path, requests.at(name).string(),
                        absl::StrCat("must be equal to ", name, " limit of ", limit->second.string()));
      else if (asked > most)
        errors->Invalid(request_path, requests.at(name).string(),
                        absl::StrCat("must be less than or equal to ", name, " limit of ", limit->second.string()));
    } else if (!Overcommitable(name)) {
      errors->Required(limit_path, "Limit must be set for non overcommitable resources");
    }
  }
  if (huge && !cpu_or_memory) errors->Forbidden(path, "HugePages require cpu or memory");
}

}  // namespace

void ValidateContainerResources(const core::ResourceRequirements& resources, const Path& path, FieldErrors* errors) {
  ValidateResources(resources, &ValidateContainerAmountName, path, errors);
}

void ValidatePodLevelResources(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  if (!spec.has_resources()) return;
  const Path at = path.Child("resources");
  if (spec.os().name() == "windows") return errors->Forbidden(at, "may not be set for a windows pod");
  const core::ResourceRequirements& own = spec.resources();
  if (!own.claims().empty()) errors->Forbidden(at.Child("claims"), "claims may not be set for Resources at pod-level");
  ValidateResources(own, &ValidatePodAmountName, at, errors);

  const Path requests = at.Child("requests"), limits = at.Child("limits"), containers = at.Child("containers");
  const Amounts asked = AggregateContainers(spec, &RequestsOf), limited = AggregateContainers(spec, &LimitsOf);
  for (const std::string& name : SortedKeys(asked)) {
    const auto of_pod = own.requests().find(name);
    if (of_pod == own.requests().end() || Quantity::Of(asked.at(name)) <= Quantity::Of(of_pod->second)) continue;
    errors->Invalid(
        requests.Key(name), of_pod->second.string(),
        absl::StrCat("must be greater than or equal to aggregate container requests of ", asked.at(name).string()));
  }
  // Huge pages cannot be overcommitted: the containers' limits all count.
  for (const std::string& name : SortedKeys(limited)) {
    const auto of_pod = own.limits().find(name);
    if (!name.starts_with("hugepages-") || of_pod == own.limits().end() ||
        Quantity::Of(limited.at(name)) <= Quantity::Of(of_pod->second))
      continue;
    errors->Invalid(
        limits.Key(name), of_pod->second.string(),
        absl::StrCat("must be greater than or equal to aggregate container limits of ", limited.at(name).string()));
  }
  for (int i = 0; i < spec.containers_size(); ++i) {
    const Amounts& limit = spec.containers(i).resources().limits();
    const Path container = containers.Index(i);
    for (const std::string& name : SortedKeys(limit)) {
      const auto of_pod = own.limits().find(name);
      if (of_pod == own.limits().end() || Quantity::Of(limit.at(name)) <= Quantity::Of(of_pod->second)) continue;
      const Path key = container.Key(name);
      errors->Invalid(key.Child("limits"), limit.at(name).string(),
                      absl::StrCat("must be less than or equal to pod limits of ", of_pod->second.string()));
    }
  }
}

}  // namespace skiff::api::internal
