#include "kubelet/config_value_checks.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/go_text.h"
#include "kubelet/feature_gates.h"

namespace skiff::kubelet {
namespace {

bool IsKubernetesNamespace(std::string_view space, std::initializer_list<std::string_view> domains) {
  return std::any_of(domains.begin(), domains.end(), [space](std::string_view domain) {
    return space == domain || absl::EndsWith(space, absl::StrCat(".", domain));
  });
}

}  // namespace

StatusOr<int> CountCpus(std::string_view list) {
  std::set<int> cpus;
  for (std::string_view part : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    const std::pair<std::string_view, std::string_view> ends = absl::StrSplit(part, absl::MaxSplits('-', 1));
    const bool range = part.find('-') != std::string_view::npos;
    int first = 0, last = 0;
    for (auto [text, value] : {std::pair{ends.first, &first}, {range ? ends.second : ends.first, &last}}) {
      if (!absl::SimpleAtoi(text, value) || *value < 0) {
        return InvalidArgument("strconv.Atoi: parsing ", GoQuote(text), ": invalid syntax");
      }
    }
    if (last < first) return InvalidArgument("invalid range ", GoQuote(part), " (", last, " < ", first, ")");
    if (last - first > 65535) return InvalidArgument("range ", GoQuote(part), " is too large");
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
  }
  return static_cast<int>(cpus.size());
}

bool IsTaintEffect(std::string_view effect) {
  return effect == "NoSchedule" || effect == "PreferNoSchedule" || effect == "NoExecute";
}

bool IsReservableMemory(std::string_view resource) {
  return resource == "memory" || absl::StartsWith(resource, "hugepages-");
}

Status CheckFeatureGates(const std::map<std::string, bool>& gates) {
  for (const auto& [name, value] : gates) RETURN_IF_ERROR(CheckFeatureGate(name, value));
  return absl::OkStatus();
}

Status CheckNodeLabels(const std::map<std::string, std::string>& labels) {
  static constexpr std::string_view kAllowed[] = {
      "beta.kubernetes.io/arch",
      "beta.kubernetes.io/instance-type",
      "beta.kubernetes.io/os",
      "failure-domain.beta.kubernetes.io/region",
      "failure-domain.beta.kubernetes.io/zone",
      "kubernetes.io/arch",
      "kubernetes.io/hostname",
      "kubernetes.io/os",
      "node.kubernetes.io/instance-type",
      "topology.kubernetes.io/region",
      "topology.kubernetes.io/zone",
  };
  std::vector<std::string> unknown;
  std::map<std::string, std::vector<std::string>> invalid;
  for (const auto& [key, value] : labels) {
    const size_t slash = key.find('/');
    const std::string space = slash == std::string::npos ? "" : key.substr(0, slash);
    if (IsKubernetesNamespace(space, {"kubernetes.io", "k8s.io"}) &&
        !IsKubernetesNamespace(space, {"kubelet.kubernetes.io", "node.kubernetes.io"}) &&
        std::find(std::begin(kAllowed), std::end(kAllowed), key) == std::end(kAllowed)) {
      unknown.push_back(key);
    }
    for (const auto& [what, bad] :
         {std::pair{key, api::IsQualifiedName(key)}, std::pair{value, api::IsValidLabelValue(value)}}) {
      if (!bad.empty()) invalid[what].insert(invalid[what].end(), bad.begin(), bad.end());
    }
  }
  if (!unknown.empty()) {
    return InvalidArgument("unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [",
                           absl::StrJoin(unknown, " "),
                           "]\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
                           "(kubelet.kubernetes.io, node.kubernetes.io) or be in the specifically allowed set (",
                           absl::StrJoin(kAllowed, ", "), ")");
  }
  std::vector<std::string> texts;
  for (const auto& [what, bad] : invalid) texts.push_back(absl::StrCat("'", what, "' - ", absl::StrJoin(bad, ", ")));
  if (!texts.empty()) return InvalidArgument("invalid node labels: ", absl::StrJoin(texts, "; "));
  return absl::OkStatus();
}

Status CheckReserved(const std::map<std::string, std::string>& amounts) {
  for (const auto& [name, text] : amounts) {
    if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && name != "pid") {
      return InvalidArgument("cannot reserve ", GoQuote(name), " resource");
    }
    const auto quantity = api::Quantity::Parse(text);
    if (!quantity.ok()) {
      return InvalidArgument("failed to parse quantity ", GoQuote(text), " for ", GoQuote(name),
                             " resource: ", quantity.status().message());
    }
    if (quantity->Sign() < 0) {
      return InvalidArgument("resource quantity for ", GoQuote(name), " cannot be negative: ", text);
    }
  }
  return absl::OkStatus();
}

Status CheckQosReserved(const std::map<std::string, std::string>& percentages) {
  for (const auto& [name, text] : percentages) {
    if (name != "memory") return InvalidArgument("cannot reserve ", GoQuote(name), " resource");
    const std::string what = absl::StrCat("failed to parse percentage ", GoQuote(text), " for \"memory\" resource: ");
    const size_t end = text.find_last_not_of('%');
    int64_t percent = 0;
    if (!absl::EndsWith(text, "%")) return InvalidArgument(what, "percentage expected, got '", text, "'");
    if (end == std::string::npos || !absl::SimpleAtoi(text.substr(0, end + 1), &percent)) {
      return InvalidArgument(what, "invalid number in percentage '", text, "'");
    }
    if (percent < 0 || percent > 100) return InvalidArgument(what, "percentage must be between 0 and 100");
  }
  return absl::OkStatus();
}

}  // namespace skiff::kubelet
