// The node lifecycle controller: a node whose lease and status were not renewed for the grace period becomes Unknown,
// conditions become taints, pods of a node that fell silent are marked not ready, and NoExecute taints evict
// pods after the time they tolerate. Follows upstream's pkg/controller/nodelifecycle and tainteviction; nodes are not
// grouped into zones: when no node at all is ready, nothing is evicted, as upstream does in a full disruption.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/node_health.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

constexpr std::chrono::seconds kStartupGrace{60};  // for a node that never posted a status

std::string ReadyOf(const core::Node& node) {
  const auto* condition = FindNodeCondition(node, "Ready");
  return condition == nullptr ? "" : condition->status();
}

class NodeLifecycleController final : public Controller {
 public:
  explicit NodeLifecycleController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "node-controller", ""),
        eviction_events_(context.rest, "taint-eviction-controller", ""),
        nodes_(context.executor(), context.clock(), "node-lifecycle-controller", 8,
               [this](std::string key) { return SyncNode(std::move(key)); }),
        evictions_(context.executor(), context.clock(), "taint-eviction-controller", 8,
                   [this](std::string key) { return SyncPod(std::move(key)); }) {
    auto& informers = *context.informers;
    informers.nodes->AddHandler({
        .added =
            [this](const NodePtr& node) {
              NodeSeen(node, nullptr);
              NodeEvent(*node, "RegisteredNode",
                        absl::StrCat("Registered Node ", node->metadata().name(), " in Controller"));
            },
        .updated = [this](const NodePtr& before, const NodePtr& node) { NodeSeen(node, before); },
        .deleted =
            [this](const NodePtr& node) {
              health_.erase(node->metadata().name());
              NodeEvent(*node, "RemovingNode",
                        absl::StrCat("Removing Node ", node->metadata().name(), " from Controller"));
            },
    });
    informers.node_leases->OnChange([this](const coordination::Lease& lease) {
      const auto found = health_.find(lease.metadata().name());
      if (found == health_.end()) return;
      const int64_t renewed = lease.spec().renewtime().seconds() * 1000000 + lease.spec().renewtime().nanos() / 1000;
      if (renewed <= found->second.lease) return;
      found->second.lease = renewed;
      found->second.heard = context_.clock().Steady();
    });
    informers.pods->AddHandler({
        .added = [this](const PodPtr& pod) { PodSeen(*pod); },
        .updated = [this](const PodPtr&, const PodPtr& pod) { PodSeen(*pod); },
        .deleted = [this](const PodPtr& pod) { evicting_since_.erase(pod->metadata().uid()); },
    });
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    group.Spawn("node events", events_.Run());
    group.Spawn("taint eviction events", eviction_events_.Run());
    group.Spawn("node lifecycle", nodes_.Run());
    group.Spawn("taint eviction", evictions_.Run());
    group.Spawn("node monitor", Monitor());
    co_await group.Join();
  }

 private:
  struct Health {
    SteadyTime heard;        // the last sign of life, by our clock
    int64_t heartbeat = 0;   // of the Ready condition
    int64_t lease = 0;       // renewTime, microseconds
    std::string last_ready;  // to see transitions
    bool mark_pods = false;  // pods must be marked not ready
  };

  void NodeEvent(const core::Node& node, const char* reason, std::string message) {
    auto reference = client::ReferenceTo(node);
    reference.clear_resourceversion();
    events_.Record(reference, client::kNormal, reason, std::move(message));
  }

  void NodeSeen(const NodePtr& node, const NodePtr& before) {
    const std::string& name = node->metadata().name();
    const bool known = health_.contains(name);
    Health& health = health_[name];
    const auto* ready = FindNodeCondition(*node, "Ready");
    const int64_t heartbeat = ready == nullptr ? 0 : ready->lastheartbeattime().seconds();
    if (!known || heartbeat != health.heartbeat) health.heard = context_.clock().Steady();
    health.heartbeat = heartbeat;
    const std::string status = ReadyOf(*node);
    // Only of a silent node: one that says itself that it is not ready still speaks for its pods.
    if (known && health.last_ready == "True" && status == "Unknown") {
      health.mark_pods = true;
      NodeEvent(*node, "NodeNotReady", absl::StrCat("Node ", name, " status is now: NodeNotReady"));
    }
    if (status == "True") health.mark_pods = false;
    const bool flipped = (health.last_ready == "True") != (status == "True");
    health.last_ready = status;
    nodes_.Add(name);
    // Whether anything is evicted at all depends on whether some node is well.
    if (flipped) {
      context_.informers->nodes->ForEach([this](const NodePtr& other) { nodes_.Add(other->metadata().name()); });
    }
    const bool tainted_before = before != nullptr && HasNoExecute(*before);
    if (HasNoExecute(*node) || tainted_before) {
      for (const PodPtr& pod : context_.informers->pods->ByIndex("node", name)) evictions_.Add(client::KeyOf(*pod));
    }
  }

  static bool HasNoExecute(const core::Node& node) {
    return std::any_of(node.spec().taints().begin(), node.spec().taints().end(),
                       [](const auto& taint) { return taint.effect() == "NoExecute"; });
  }

  void PodSeen(const core::Pod& pod) {
    if (pod.spec().nodename().empty()) return;
    const NodePtr node = context_.informers->nodes->Get(pod.spec().nodename());
    if (node == nullptr) return;
    if (HasNoExecute(*node)) evictions_.Add(client::KeyOf(pod));
    // A pod that turned ready on a node that is not: the kubelet's last word came late.
    const auto found = health_.find(node->metadata().name());
    if (found != health_.end() && found->second.mark_pods && IsPodReady(pod)) nodes_.Add(node->metadata().name());
  }

  Task<void> Monitor() {
    while ((co_await context_.clock().Sleep(context_.options.node_monitor_period)).ok()) {
      const SteadyTime now = context_.clock().Steady();
      // While the API server is away nobody can be heard: that is not the nodes' silence.
      const bool deaf =
          !context_.informers->nodes->last_error().ok() || !context_.informers->node_leases->last_error().ok();
      for (auto& [name, health] : health_) {
        if (deaf) health.heard = now;
        const NodePtr node = context_.informers->nodes->Get(name);
        if (node == nullptr) continue;
        const bool posted = FindNodeCondition(*node, "Ready") != nullptr;
        const auto grace = posted ? context_.options.node_monitor_grace_period : kStartupGrace;
        if (now - health.heard > grace && ReadyOf(*node) != "Unknown") nodes_.Add(name);
      }
    }
  }

  bool Silent(const core::Node& node) const {
    const auto found = health_.find(node.metadata().name());
    if (found == health_.end()) return false;
    const bool posted = FindNodeCondition(node, "Ready") != nullptr;
    const auto grace = posted ? context_.options.node_monitor_grace_period : kStartupGrace;
    return context_.clock().Steady() - found->second.heard > grace;
  }

  // Ready and the pressure conditions become Unknown.
  Task<Status> MarkUnknown(NodePtr node) {
    nlohmann::json conditions = nlohmann::json::array();
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      const auto* current = FindNodeCondition(*node, type);
      if (current != nullptr && current->status() == "Unknown") continue;
      nlohmann::json condition = {
          {"type", type}, {"status", "Unknown"}, {"lastTransitionTime", api::FormatTime(context_.clock().Now())}};
      if (current == nullptr) {
        condition["reason"] = "NodeStatusNeverUpdated";
        condition["message"] = "Kubelet never posted node status.";
        condition["lastHeartbeatTime"] = api::FormatTime(node->metadata().creationtimestamp());
      } else {
        condition["reason"] = "NodeStatusUnknown";
        condition["message"] = "Kubelet stopped posting node status.";
      }
      conditions.push_back(std::move(condition));
    }
    if (conditions.empty()) co_return absl::OkStatus();
    LOG_INFO("Node hasn't been updated", {"node", node->metadata().name()});
    const nlohmann::json patch = {{"metadata", {{"resourceVersion", node->metadata().resourceversion()}}},
                                  {"status", {{"conditions", conditions}}}};
    co_return (
        co_await context_.rest->Patch<core::Node>("", node->metadata().name(), patch.dump(), {.subresource = "status"}))
        .status();
  }

  bool AnyNodeReady() const {
    bool any = false;
    context_.informers->nodes->ForEach([&](const NodePtr& node) { any = any || ReadyOf(*node) == "True"; });
    return any;
  }

  Task<Status> SyncNode(std::string key) {
    const NodePtr node = context_.informers->nodes->Get(key);
    if (node == nullptr) co_return absl::OkStatus();
    if (Silent(*node) && ReadyOf(*node) != "Unknown") {
      const Status marked = co_await MarkUnknown(node);
      // The change comes back through the cache and brings the taints.
      co_return absl::IsNotFound(marked) ? absl::OkStatus() : marked;
    }
    const auto taints = WantedTaints(*node, AnyNodeReady(), context_.clock().Now());
    if (!SameTaints(*node, taints)) {
      nlohmann::json list = nlohmann::json::array();
      for (const core::Taint& taint : taints) list.push_back(api::ToJsonValue(taint));
      const nlohmann::json patch = {{"metadata", {{"resourceVersion", node->metadata().resourceversion()}}},
                                    {"spec", {{"taints", list.empty() ? nlohmann::json() : list}}}};
      const auto patched =
          co_await context_.rest->Patch<core::Node>("", key, patch.dump(), {.type = client::PatchType::kMerge});
      if (absl::IsNotFound(patched.status())) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(patched.status());
    }
    const auto found = health_.find(key);
    if (found != health_.end() && found->second.mark_pods) {
      for (const PodPtr& pod : context_.informers->pods->ByIndex("node", key)) {
        CO_RETURN_IF_ERROR(co_await MarkNotReady(pod));
      }
    }
    co_return absl::OkStatus();
  }

  Task<Status> MarkNotReady(PodPtr pod) {
    const auto* ready = FindPodCondition(*pod, "Ready");
    if (ready == nullptr || ready->status() == "False") co_return absl::OkStatus();
    const nlohmann::json patch = {{"metadata", {{"uid", pod->metadata().uid()}}},
                                  {"status",
                                   {{"conditions",
                                     {{{"type", "Ready"},
                                       {"status", "False"},
                                       {"lastTransitionTime", api::FormatTime(context_.clock().Now())}}}}}}};
    const auto patched = co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(),
                                                                  patch.dump(), {.subresource = "status"});
    if (absl::IsNotFound(patched.status())) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(patched.status());
    events_.Record(*pod, client::kWarning, "NodeNotReady", "Node is not ready");
    co_return absl::OkStatus();
  }

  Task<Status> SyncPod(std::string key) {
    const PodPtr pod = context_.informers->pods->Get(key);
    if (pod == nullptr || IsBeingDeleted(pod->metadata()) || pod->spec().nodename().empty()) co_return absl::OkStatus();
    const NodePtr node = context_.informers->nodes->Get(pod->spec().nodename());
    if (node == nullptr) co_return absl::OkStatus();
    const WallTime now = context_.clock().Now();
    // Kept from one look to the next: a deadline that began anew with each would never come.
    // By the steady clock: a wall clock that is set changes no toleration of a taint without a time.
    const SteadyTime steady = context_.clock().Steady();
    const SteadyTime since = evicting_since_.try_emplace(pod->metadata().uid(), steady).first->second;
    const auto at = EvictionTime(*pod, *node, now, now - (steady - since));
    if (!at) {
      evicting_since_.erase(pod->metadata().uid());
      co_return absl::OkStatus();
    }
    if (*at > now) {
      evictions_.AddAfter(key, *at - now);
      co_return absl::OkStatus();
    }
    LOG_INFO("Deleting pod", {"controller", "taint-eviction-controller"}, {"pod", key});
    client::ObjectReference reference;
    reference.set_apiversion("v1");
    reference.set_kind("Pod");
    reference.set_namespace_(pod->metadata().namespace_());
    reference.set_name(pod->metadata().name());
    eviction_events_.Record(reference, client::kNormal, "TaintManagerEviction",
                            absl::StrCat("Marking for deletion Pod ", key));
    const nlohmann::json patch = {{"metadata", {{"uid", pod->metadata().uid()}}},
                                  {"status",
                                   {{"conditions",
                                     {{{"type", "DisruptionTarget"},
                                       {"status", "True"},
                                       {"reason", "DeletionByTaintManager"},
                                       {"message", "Taint manager: deleting due to NoExecute taint"},
                                       {"observedGeneration", pod->metadata().generation()},
                                       {"lastTransitionTime", api::FormatTime(now)}}}}}}};
    const auto patched = co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(),
                                                                  patch.dump(), {.subresource = "status"});
    if (absl::IsNotFound(patched.status())) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(patched.status());
    meta::DeleteOptions options;
    options.mutable_preconditions()->set_uid(pod->metadata().uid());
    const Status deleted =
        co_await context_.rest->Delete<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(), options);
    co_return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
  }

  const ControllerContext context_;
  client::EventRecorder events_, eviction_events_;
  std::map<std::string, Health> health_;
  std::map<std::string, SteadyTime> evicting_since_;  // by pod uid: when a NoExecute taint was first seen to concern it
  WorkQueue nodes_, evictions_;
};

}  // namespace

std::unique_ptr<Controller> MakeNodeLifecycleController(const ControllerContext& context) {
  return std::make_unique<NodeLifecycleController>(context);
}

}  // namespace skiff::controlplane
