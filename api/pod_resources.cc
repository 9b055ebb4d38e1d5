#include "api/pod_resources.h"

#include <map>

#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api {
namespace {

namespace core = k8s::io::api::core::v1;
using Totals = std::map<std::string, Quantity>;

// Adds what counts for the class: cpu and memory above zero. The number of names that did.
int AddCounted(const Amounts& from, Totals* to) {
  int counted = 0;
  for (const auto& [name, amount] : from) {
    if (name != "cpu" && name != "memory") continue;
    const Quantity quantity = Quantity::Of(amount);
    if (quantity.Sign() <= 0) continue;
    (*to)[name] += quantity;
    ++counted;
  }
  return counted;
}

}  // namespace

std::string_view QosClassOf(const core::PodSpec& spec) {
  Totals requests, limits;
  bool guaranteed = true;
  if (spec.has_resources()) {
    AddCounted(spec.resources().requests(), &requests);
    guaranteed = AddCounted(spec.resources().limits(), &limits) == 2;
  } else {
    for (const auto* containers : {&spec.containers(), &spec.initcontainers()})
      for (const core::Container& container : *containers) {
        AddCounted(container.resources().requests(), &requests);
        if (AddCounted(container.resources().limits(), &limits) != 2) guaranteed = false;
      }
  }
  if (requests.empty() && limits.empty()) return "BestEffort";
  return guaranteed && requests == limits ? "Guaranteed" : "Burstable";
}

const Amounts& LimitsOf(const core::Container& container) { return container.resources().limits(); }
const Amounts& RequestsOf(const core::Container& container) { return container.resources().requests(); }

Amounts AggregateContainers(const core::PodSpec& spec, const Amounts& (*of)(const core::Container&)) {
  const auto add = [](Amounts* total, const Amounts& more) {
    for (const auto& [name, amount] : more)
      (*total)[name] = (Quantity::Of((*total)[name]) + Quantity::Of(amount)).ToProto();
  };
  Amounts total, sidecars, peak;
  for (const core::Container& c : spec.containers()) add(&total, of(c));
  for (const core::Container& c : spec.initcontainers()) {
    Amounts now = sidecars;
    if (c.restartpolicy() == "Always") {
      add(&total, of(c));
      add(&sidecars, of(c));
      now = sidecars;
    } else {
      add(&now, of(c));
    }
    for (const auto& [name, amount] : now)
      if (!peak.contains(name) || Quantity::Of(peak[name]) < Quantity::Of(amount)) peak[name] = amount;
  }
  for (const auto& [name, amount] : peak)
    if (!total.contains(name) || Quantity::Of(total[name]) < Quantity::Of(amount)) total[name] = amount;
  return total;
}

}  // namespace skiff::api
