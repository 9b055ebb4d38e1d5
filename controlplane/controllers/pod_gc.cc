// The pod garbage collector: every 20 s it removes pods of nodes that are gone (after 40 s of doubt), pods that were
// deleted before they had a node, pods stuck on nodes out of service, and the oldest ended pods beyond a threshold.
#include <algorithm>

#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

constexpr std::chrono::seconds kPeriod{20};
constexpr std::chrono::seconds kQuarantine{40};

class PodGcController final : public Controller {
 public:
  explicit PodGcController(const ControllerContext& context) : context_(context) {}

  Task<void> Run() override {
    while ((co_await context_.clock().Sleep(kPeriod)).ok()) co_await Collect();
  }

 private:
  Task<void> Collect() {
    const auto& informers = *context_.informers;
    std::vector<PodPtr> ended, doomed;
    std::map<std::string, std::vector<PodPtr>> homeless;
    informers.pods->ForEach([&](const PodPtr& pod) {
      const std::string& name = pod->spec().nodename();
      if (IsPodTerminal(*pod)) ended.push_back(pod);
      if (name.empty()) {
        if (IsBeingDeleted(pod->metadata())) doomed.push_back(pod);
        return;
      }
      const NodePtr node = informers.nodes->Get(name);
      if (node == nullptr) {
        homeless[name].push_back(pod);
      } else if (IsBeingDeleted(pod->metadata()) && OutOfService(*node)) {
        doomed.push_back(pod);
      }
    });
    for (const PodPtr& pod : doomed) co_await Remove(pod, "");

    const SteadyTime now = context_.clock().Steady();
    std::erase_if(missing_since_, [&](const auto& entry) { return !homeless.contains(entry.first); });
    for (const auto& [node, pods] : homeless) {
      const auto since = missing_since_.emplace(node, now).first->second;
      if (now - since < kQuarantine) continue;
      const auto live = co_await context_.rest->Get<core::Node>("", node);
      if (!absl::IsNotFound(live.status())) continue;
      for (const PodPtr& pod : pods) {
        VLOG(2, "Found orphaned Pod assigned to the Node, deleting", {"pod", client::KeyOf(*pod)}, {"node", node});
        co_await Remove(pod, "PodGC: node no longer exists");
      }
    }

    const int surplus = static_cast<int>(ended.size()) - context_.options.terminated_pod_gc_threshold;
    if (context_.options.terminated_pod_gc_threshold <= 0 || surplus <= 0) co_return;
    LOG_INFO("Garbage collecting pods", {"numPods", surplus});
    std::sort(ended.begin(), ended.end(), [](const PodPtr& a, const PodPtr& b) {
      return a->metadata().creationtimestamp().seconds() < b->metadata().creationtimestamp().seconds();
    });
    for (int i = 0; i < surplus; ++i) co_await Remove(ended[i], "");
  }

  static bool OutOfService(const core::Node& node) {
    for (const auto& condition : node.status().conditions()) {
      if (condition.type() == "Ready" && condition.status() == "True") return false;
    }
    return std::any_of(node.spec().taints().begin(), node.spec().taints().end(),
                       [](const auto& taint) { return taint.key() == "node.kubernetes.io/out-of-service"; });
  }

  // Marks the pod failed where it had not ended, says why, and deletes it without grace.
  Task<void> Remove(PodPtr pod, std::string disruption) {
    nlohmann::json status = nlohmann::json::object();
    if (!IsPodTerminal(*pod)) status["phase"] = "Failed";
    if (!disruption.empty()) {
      status["conditions"] = {{{"type", "DisruptionTarget"},
                               {"status", "True"},
                               {"reason", "DeletionByPodGC"},
                               {"message", disruption},
                               {"observedGeneration", pod->metadata().generation()},
                               {"lastTransitionTime", api::FormatTime(context_.clock().Now())}}};
    }
    if (!status.empty()) {
      const nlohmann::json patch = {{"metadata", {{"uid", pod->metadata().uid()}}}, {"status", status}};
      const auto patched = co_await context_.rest->Patch<core::Pod>(
          pod->metadata().namespace_(), pod->metadata().name(), patch.dump(), {.subresource = "status"});
      if (absl::IsNotFound(patched.status())) co_return;
      if (!patched.ok()) {
        LOG_ERROR(patched.status(), "Failed to mark pod", {"pod", client::KeyOf(*pod)});
        co_return;
      }
    }
    meta::DeleteOptions options;
    options.set_graceperiodseconds(0);
    options.mutable_preconditions()->set_uid(pod->metadata().uid());
    const Status deleted =
        co_await context_.rest->Delete<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(), options);
    if (!deleted.ok() && !absl::IsNotFound(deleted)) {
      LOG_ERROR(deleted, "Failed to delete pod", {"pod", client::KeyOf(*pod)});
    }
  }

  const ControllerContext context_;
  std::map<std::string, SteadyTime> missing_since_;
};

}  // namespace

std::unique_ptr<Controller> MakePodGcController(const ControllerContext& context) {
  return std::make_unique<PodGcController>(context);
}

}  // namespace skiff::controlplane
