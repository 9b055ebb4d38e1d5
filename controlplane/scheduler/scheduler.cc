#include "controlplane/scheduler/scheduler.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "base/vital.h"
#include "client/events.h"
#include "client/object.h"
#include "controlplane/controllers/informers.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/scheduler/filters.h"
#include "controlplane/scheduler/node_info.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/reference.pb.h"

namespace skiff::controlplane {
namespace {

using std::chrono::seconds;

constexpr seconds kFirstBackoff{1};
constexpr seconds kMostBackoff{10};
constexpr seconds kClaimsAgain{5};              // claims are not watched: few pods wait for one
constexpr std::chrono::minutes kFlushAfter{5};  // what could not be placed is tried again even if nothing changed

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

class Scheduler {
 public:
  Scheduler(std::shared_ptr<client::Rest> rest, SchedulerOptions options, std::shared_ptr<Informers> informers)
      : rest_(std::move(rest)),
        options_(std::move(options)),
        informers_(std::move(informers)),
        events_(rest_, options_.scheduler_name, HostName()),
        wakeup_(rest_->executor()),
        group_(rest_->executor()) {
    informers_->nodes->AddHandler({
        .added =
            [this](const NodePtr& node) {
              state_.SetNode(node);
              Reconsider();
            },
        .updated =
            [this](const NodePtr& before, const NodePtr& node) {
              state_.SetNode(node);
              if (Matters(*before, *node)) Reconsider();
            },
        .deleted = [this](const NodePtr& node) { state_.RemoveNode(node->metadata().name()); },
    });
    informers_->pods->AddHandler({
        .added = [this](const PodPtr& pod) { PodSeen(pod); },
        .updated =
            [this](const PodPtr& before, const PodPtr& pod) {
              // A pod that ended, or shrank, leaves room.
              if (!IsPodTerminal(*before) && IsPodTerminal(*pod)) Reconsider();
              PodSeen(pod);
            },
        .deleted =
            [this](const PodPtr& pod) {
              Forget(client::KeyOf(*pod));
              const bool placed = state_.IsPlaced(pod->metadata().uid());
              state_.Remove(pod->metadata().uid());
              if (placed) Reconsider();
            },
    });
  }

  Task<void> Run() {
    SpawnVital(group_, "scheduler events", events_.Run());
    while (true) {
      const SteadyTime now = rest_->clock().Steady();
      // The oldest of the most important first.
      auto best = waiting_.end();
      std::optional<SteadyTime> next;
      for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
        if (it->second.binding) continue;
        if (it->second.not_before > now) {
          if (!next || it->second.not_before < *next) next = it->second.not_before;
        } else if (best == waiting_.end() || Before(it->second, best->second)) {
          best = it;
        }
      }
      if (best != waiting_.end()) {
        Schedule(best->first, best->second);
        // Others on the loop get their turn between two pods.
        co_await asio::post(co_await asio::this_coro::executor, kAwait);
        if (co_await IsCancelled()) break;
        continue;
      }
      const Status woken = next ? co_await wakeup_.WaitFor(std::max<std::chrono::nanoseconds>(
                                      *next - rest_->clock().Steady(), std::chrono::milliseconds(1)))
                                : co_await wakeup_.Wait();
      if (!woken.ok() && !absl::IsDeadlineExceeded(woken)) break;
    }
    group_.Cancel();
    co_await group_.Join();
  }

 private:
  struct Waiting {
    PodPtr pod;
    SteadyTime not_before{};  // in its back-off, or unschedulable until something changes
    SteadyTime backoff_until{};
    int attempts = 0;
    bool unschedulable = false;
    bool binding = false;  // or its claims are being looked up
    bool claims_ready = false;
    std::string problem;  // with its claims, as last told
  };

  static bool Before(const Waiting& a, const Waiting& b) {
    if (a.pod->spec().priority() != b.pod->spec().priority())
      return a.pod->spec().priority() > b.pod->spec().priority();
    return std::pair(a.pod->metadata().creationtimestamp().seconds(), a.pod->metadata().uid()) <
           std::pair(b.pod->metadata().creationtimestamp().seconds(), b.pod->metadata().uid());
  }

  // Changes of a node that may make room; heartbeats do not.
  static bool Matters(const core::Node& before, const core::Node& now) {
    if (before.spec().unschedulable() != now.spec().unschedulable() ||
        before.spec().taints_size() != now.spec().taints_size()) {
      return true;
    }
    if (!api::Equal(before.spec(), now.spec())) return true;
    core::NodeStatus a, b;
    *a.mutable_allocatable() = before.status().allocatable();
    *b.mutable_allocatable() = now.status().allocatable();
    if (!api::Equal(a, b)) return true;
    meta::ObjectMeta a_meta, b_meta;
    *a_meta.mutable_labels() = before.metadata().labels();
    *b_meta.mutable_labels() = now.metadata().labels();
    return !api::Equal(a_meta, b_meta);
  }

  // Something changed: every unschedulable pod may try again after its back-off.
  void Reconsider() {
    for (auto& [key, waiting] : waiting_) {
      if (!waiting.unschedulable) continue;
      waiting.unschedulable = false;
      waiting.not_before = waiting.backoff_until;
    }
    wakeup_.Notify();
  }

  void Forget(const std::string& key) { waiting_.erase(key); }

  void PodSeen(const PodPtr& pod) {
    const std::string key = client::KeyOf(*pod);
    if (!pod->spec().nodename().empty()) {
      Forget(key);
      if (IsPodTerminal(*pod)) {
        state_.Remove(pod->metadata().uid());
      } else {
        const bool news = !state_.IsPlaced(pod->metadata().uid());
        state_.Place(pod, pod->spec().nodename());
        // Pods with affinity wait for others to arrive.
        if (news) ReconsiderAffine();
      }
      return;
    }
    if (pod->spec().schedulername() != options_.scheduler_name || IsPodTerminal(*pod) ||
        IsBeingDeleted(pod->metadata())) {
      Forget(key);
      return;
    }
    if (!pod->spec().schedulinggates().empty()) {
      Forget(key);
      return;
    }
    Waiting& waiting = waiting_[key];
    const bool news = waiting.pod == nullptr || waiting.pod->metadata().uid() != pod->metadata().uid();
    const bool changed = !news && !api::Equal(waiting.pod->spec(), pod->spec());
    if (news) waiting = Waiting{};
    waiting.pod = pod;
    if (changed && waiting.unschedulable) {
      waiting.unschedulable = false;
      waiting.not_before = waiting.backoff_until;
    }
    wakeup_.Notify();
  }

  void ReconsiderAffine() {
    bool any = false;
    for (auto& [key, waiting] : waiting_) {
      if (!waiting.unschedulable || !waiting.pod->spec().affinity().has_podaffinity()) continue;
      waiting.unschedulable = false;
      waiting.not_before = waiting.backoff_until;
      any = true;
    }
    if (any) wakeup_.Notify();
  }

  void BackOff(Waiting& waiting) {
    std::chrono::nanoseconds wait = kFirstBackoff;
    for (int i = 0; i < waiting.attempts && wait < kMostBackoff; ++i) wait *= 2;
    ++waiting.attempts;
    waiting.backoff_until = rest_->clock().Steady() + std::min<std::chrono::nanoseconds>(wait, kMostBackoff);
  }

  void Schedule(const std::string& key, Waiting& waiting) {
    const core::Pod& pod = *waiting.pod;
    if (!waiting.claims_ready && std::any_of(pod.spec().volumes().begin(), pod.spec().volumes().end(),
                                             [&](const auto& v) { return !ClaimName(pod, v).empty(); })) {
      waiting.binding = true;
      group_.Spawn("claims", LookAtClaims(key, waiting.pod));
      return;
    }
    waiting.claims_ready = false;
    const PodNeeds needs = NeedsOf(pod);
    std::vector<Verdict> verdicts;
    std::vector<std::pair<const std::string*, const NodeInfo*>> feasible;
    for (const auto& [name, info] : state_.nodes()) {
      if (info.node == nullptr) continue;
      Verdict verdict = Filter(pod, needs, info, state_);
      if (verdict.fits()) {
        feasible.emplace_back(&name, &info);
      } else {
        verdicts.push_back(std::move(verdict));
      }
    }
    if (feasible.empty()) {
      Fail(key, waiting, "Unschedulable", WhyUnschedulable(pod, state_.node_count(), verdicts));
      waiting.unschedulable = true;
      waiting.not_before = rest_->clock().Steady() + kFlushAfter;
      return;
    }
    const std::string node = *Choose(pod, needs, feasible);
    state_.Place(waiting.pod, node);  // assumed; the cache confirms it, or Bind takes it back
    waiting.binding = true;
    group_.Spawn("bind", Bind(key, waiting.pod, node));
  }

  Task<void> LookAtClaims(std::string key, PodPtr pod) {
    std::string problem;
    for (const auto& volume : pod->spec().volumes()) {
      const std::string name = ClaimName(*pod, volume);
      if (name.empty()) continue;
      const auto claim = co_await rest_->Get<core::PersistentVolumeClaim>(pod->metadata().namespace_(), name);
      if (co_await IsCancelled()) co_return;
      if (!claim.ok() && !absl::IsNotFound(claim.status())) {
        problem = std::string(claim.status().message());
      } else {
        problem = ClaimProblem(*pod, volume, claim.ok() ? &*claim : nullptr);
      }
      if (!problem.empty()) break;
    }
    const auto found = waiting_.find(key);
    if (found == waiting_.end() || found->second.pod->metadata().uid() != pod->metadata().uid()) co_return;
    Waiting& waiting = found->second;
    waiting.binding = false;
    if (problem.empty()) {
      waiting.claims_ready = true;
    } else {
      if (problem != waiting.problem) {
        Fail(key, waiting, "Unschedulable", WhyClaimBlocks(state_.node_count(), problem));
      }
      waiting.not_before = rest_->clock().Steady() + kClaimsAgain;
    }
    waiting.problem = std::move(problem);
    wakeup_.Notify();
  }

  const std::string* Choose(const core::Pod& pod, const PodNeeds& needs,
                            const std::vector<std::pair<const std::string*, const NodeInfo*>>& feasible) {
    if (feasible.size() == 1) return feasible[0].first;
    const auto* owner = client::ControllerOf(pod.metadata());
    std::vector<int> same(feasible.size(), 0);
    int most_same = 0;
    for (size_t i = 0; owner != nullptr && i < feasible.size(); ++i) {
      for (const auto& [uid, placed] : feasible[i].second->pods) {
        const auto* other = client::ControllerOf(placed.pod->metadata());
        if (other != nullptr && other->uid() == owner->uid() && !IsBeingDeleted(placed.pod->metadata())) ++same[i];
      }
      most_same = std::max(most_same, same[i]);
    }
    std::vector<const std::string*> best;
    int64_t best_score = -1;
    for (size_t i = 0; i < feasible.size(); ++i) {
      const int64_t score = Score(pod, needs, *feasible[i].second, same[i], most_same);
      if (score > best_score) best.clear();
      if (score >= best_score) {
        best_score = score;
        best.push_back(feasible[i].first);
      }
    }
    return best[next_tie_++ % best.size()];  // in turn among equals
  }

  Task<void> Bind(std::string key, PodPtr pod, std::string node) {
    core::Binding binding;
    binding.mutable_metadata()->set_name(pod->metadata().name());
    binding.mutable_metadata()->set_namespace_(pod->metadata().namespace_());
    binding.mutable_metadata()->set_uid(pod->metadata().uid());
    binding.mutable_target()->set_kind("Node");
    binding.mutable_target()->set_name(node);
    const auto bound = co_await rest_->CreateSub<core::Pod, core::Binding, meta::Status>(
        pod->metadata().namespace_(), pod->metadata().name(), "binding", std::move(binding));
    if (bound.ok()) {
      VLOG(2, "Successfully bound pod to node", {"pod", key}, {"node", node});
      events_.Record(client::ReferenceTo(*pod), client::kNormal, "Scheduled", "Binding",
                     absl::StrCat("Successfully assigned ", key, " to ", node));
      const auto found = waiting_.find(key);
      if (found != waiting_.end() && found->second.pod->metadata().uid() == pod->metadata().uid())
        waiting_.erase(found);
      co_return;
    }
    if (co_await IsCancelled()) co_return;
    // The assumption is taken back, unless the cache says meanwhile that the pod is there.
    const PodPtr cached = informers_->pods->Get(key);
    const bool there =
        cached != nullptr && cached->metadata().uid() == pod->metadata().uid() && !cached->spec().nodename().empty();
    if (!there) {
      state_.Remove(pod->metadata().uid());
      Reconsider();
    }
    const auto found = waiting_.find(key);
    if (found == waiting_.end() || found->second.pod->metadata().uid() != pod->metadata().uid()) co_return;
    found->second.binding = false;
    if (absl::IsNotFound(bound.status())) {
      waiting_.erase(found);
      co_return;
    }
    LOG_ERROR(bound.status(), "Error scheduling pod; retrying", {"pod", key});
    Fail(key, found->second, "SchedulerError",
         absl::StrCat("binding rejected: running Bind plugin \"DefaultBinder\": ", bound.status().message()));
    found->second.not_before = found->second.backoff_until;
    wakeup_.Notify();
  }

  void Fail(const std::string& key, Waiting& waiting, const char* reason, std::string message) {
    BackOff(waiting);
    VLOG(2, "Unable to schedule pod; waiting", {"pod", key}, {"err", message});
    events_.Record(client::ReferenceTo(*waiting.pod), client::kWarning, "FailedScheduling", "Scheduling", message);
    const auto* condition = FindPodCondition(*waiting.pod, "PodScheduled");
    if (condition != nullptr && condition->status() == "False" && condition->reason() == reason &&
        condition->message() == message) {
      return;
    }
    const bool was_false = condition != nullptr && condition->status() == "False";
    nlohmann::json changed = {{"type", "PodScheduled"},   {"status", "False"},
                              {"reason", reason},         {"message", message},
                              {"lastProbeTime", nullptr}, {"observedGeneration", waiting.pod->metadata().generation()}};
    changed["lastTransitionTime"] =
        was_false ? api::FormatTime(condition->lasttransitiontime()) : api::FormatTime(rest_->clock().Now());
    const nlohmann::json patch = {{"metadata", {{"uid", waiting.pod->metadata().uid()}}},
                                  {"status", {{"conditions", {changed}}}}};
    std::string text = DumpJson(patch);
    group_.Spawn("pod condition", WriteCondition(waiting.pod, std::move(text)));
  }

  Task<void> WriteCondition(PodPtr pod, std::string patch) {
    const auto written =
        co_await rest_->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(), std::move(patch),
                                         {.type = client::PatchType::kStrategicMerge, .subresource = "status"});
    if (!written.ok() && !absl::IsNotFound(written.status()) && !absl::IsCancelled(written.status())) {
      LOG_ERROR(written.status(), "Error updating pod", {"pod", client::KeyOf(*pod)});
    }
  }

  const std::shared_ptr<client::Rest> rest_;
  const SchedulerOptions options_;
  const std::shared_ptr<Informers> informers_;
  client::SeriesRecorder events_;
  ClusterState state_;
  std::map<std::string, Waiting> waiting_;
  Wakeup wakeup_;
  TaskGroup group_;
  size_t next_tie_ = 0;
};

Task<void> RunAll(std::shared_ptr<Informers> informers) {
  TaskGroup group(co_await asio::this_coro::executor);
  for (const auto& informer : informers->all()) SpawnVital(group, "informer", informer->Run());
  co_await group.Join();
}

}  // namespace

Task<Status> RunScheduler(std::shared_ptr<client::Rest> rest, SchedulerOptions options,
                          std::shared_ptr<Informers> informers) {
  const bool own = informers == nullptr;
  if (own) informers = std::make_shared<Informers>(rest, false);
  Scheduler scheduler(rest, std::move(options), informers);
  TaskGroup group(rest->executor());
  if (own) group.Spawn("informers", RunAll(informers));
  Status synced = co_await informers->pods->WaitForSync();
  if (synced.ok()) synced = co_await informers->nodes->WaitForSync();
  if (synced.ok()) {
    co_await scheduler.Run();
  }
  group.Cancel();
  co_await group.Join();
  co_return absl::OkStatus();
}

}  // namespace skiff::controlplane
