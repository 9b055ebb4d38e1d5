// Which pods a critical pod pushes off the node. Upstream: pkg/kubelet/preemption.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kubelet/pod/admission.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {
namespace {

using Lacks = std::vector<Lack>;
using Pods = std::vector<PodPtr>;

int64_t Held(const Pod& pod, const std::string& resource) {
  if (resource == "pods") return 1;
  api::Quantity q = Get(PodRequests(pod), resource);
  return resource == "cpu" ? q.MilliValue() : q.Value();
}

bool Preemptable(const Pod& preemptor, const Pod& pod) {
  if (IsCritical(preemptor) && !IsCritical(pod)) return true;
  return preemptor.spec().has_priority() && pod.spec().has_priority() &&
         preemptor.spec().priority() > pod.spec().priority();
}

// What is still lacking once `pods` are gone.
Lacks Without(const Lacks& lacks, std::initializer_list<const Pods*> groups) {
  Lacks out;
  for (Lack lack : lacks) {
    for (const Pods* pods : groups) {
      for (const PodPtr& pod : *pods) lack.amount -= Held(*pod, lack.resource);
    }
    if (lack.amount > 0) out.push_back(lack);
  }
  return out;
}

// How far a pod's end would be from enough, each resource weighing the same.
double Distance(const Lacks& lacks, const Pod& pod) {
  double distance = 0;
  for (const Lack& lack : lacks) {
    const double left = static_cast<double>(lack.amount - Held(pod, lack.resource));
    if (left > 0) distance += (left / static_cast<double>(lack.amount)) * (left / static_cast<double>(lack.amount));
  }
  return distance;
}

bool Smaller(const Pod& a, const Pod& b) {
  for (const char* resource : {"memory", "cpu"}) {
    const int64_t x = Held(a, resource), y = Held(b, resource);
    if (x != y) return x < y;
  }
  return true;
}

std::string Text(const Lacks& lacks) {
  std::string out = "[";
  for (const Lack& lack : lacks) absl::StrAppend(&out, "(res: ", lack.resource, ", q: ", lack.amount, "), ");
  return out + "]";
}

StatusOr<Pods> Nearest(Pods pods, Lacks lacks) {
  Pods out;
  while (!lacks.empty()) {
    if (pods.empty()) return NotFound("no set of running pods found to reclaim resources: ", Text(lacks));
    size_t best = 0;
    double least = static_cast<double>(lacks.size()) + 1;
    for (size_t i = 0; i < pods.size(); ++i) {
      const double distance = Distance(lacks, *pods[i]);
      if (distance < least || (distance == least && Smaller(*pods[i], *pods[best]))) {
        least = distance;
        best = i;
      }
    }
    const Pods chosen = {pods[best]};
    lacks = Without(lacks, {&chosen});
    out.push_back(pods[best]);
    pods[best] = pods.back();
    pods.pop_back();
  }
  return out;
}

}  // namespace

StatusOr<std::vector<PodPtr>> PodsToPreempt(const Pod& pod, const std::vector<PodPtr>& others,
                                            std::vector<Lack> lacks) {
  Pods best_effort, burstable, guaranteed;
  for (const PodPtr& other : others) {
    if (!Preemptable(pod, *other)) continue;
    std::string_view qos = QosClass(*other);
    (qos == "BestEffort" ? best_effort : qos == "Burstable" ? burstable : guaranteed).push_back(other);
  }
  if (Lacks left = Without(lacks, {&best_effort, &burstable, &guaranteed}); !left.empty()) {
    return NotFound("no set of running pods found to reclaim resources: ", Text(left));
  }
  // The better classes only for what the lower ones cannot give.
  ASSIGN_OR_RETURN(Pods from_guaranteed, Nearest(guaranteed, Without(lacks, {&best_effort, &burstable})));
  ASSIGN_OR_RETURN(Pods from_burstable, Nearest(burstable, Without(lacks, {&best_effort, &from_guaranteed})));
  ASSIGN_OR_RETURN(Pods out, Nearest(best_effort, Without(lacks, {&from_burstable, &from_guaranteed})));
  out.insert(out.end(), from_burstable.begin(), from_burstable.end());
  out.insert(out.end(), from_guaranteed.begin(), from_guaranteed.end());
  return out;
}

}  // namespace skiff::kubelet
