// The daemon set controller: one pod on every node that may have one, placed by the scheduler through a node affinity,
// and rolling updates by deleting old pods within maxUnavailable. Follows upstream's pkg/controller/daemon; of its
// update strategies maxSurge is not there yet: such a set is updated with one unavailable pod at a time, and an event
// says so.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/int_or_string.h"
#include "api/selector.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/daemon_set.h"
#include "controlplane/controllers/deployment_math.h"
#include "controlplane/controllers/owned_pods.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/scheduler/filters.h"
#include "k8s/io/apimachinery/pkg/runtime/generated.pb.h"

namespace skiff::controlplane {
namespace {

constexpr char kRevisionHash[] = "controller-revision-hash";
constexpr char kGeneration[] = "pod-template-generation";
constexpr int kBurst = 250;

void AddToleration(core::PodSpec* spec, const char* key, const char* effect) {
  for (auto& toleration : *spec->mutable_tolerations()) {
    if (toleration.key() == key && toleration.effect() == effect && toleration.operator_() == "Exists") {
      toleration.clear_tolerationseconds();
      return;
    }
  }
  auto* toleration = spec->add_tolerations();
  toleration->set_key(key);
  toleration->set_operator_("Exists");
  toleration->set_effect(effect);
}

}  // namespace

core::Pod DaemonPod(const apps::DaemonSet& set, const std::string& node, const std::string& hash) {
  core::Pod pod = PodFromTemplate(set.spec().template_(), set);
  if (!hash.empty()) (*pod.mutable_metadata()->mutable_labels())[kRevisionHash] = hash;
  const auto generation = set.metadata().annotations().find("deprecated.daemonset.template.generation");
  if (generation != set.metadata().annotations().end()) {
    (*pod.mutable_metadata()->mutable_labels())[kGeneration] = generation->second;
  }
  auto* spec = pod.mutable_spec();
  AddToleration(spec, "node.kubernetes.io/not-ready", "NoExecute");
  AddToleration(spec, "node.kubernetes.io/unreachable", "NoExecute");
  AddToleration(spec, "node.kubernetes.io/disk-pressure", "NoSchedule");
  AddToleration(spec, "node.kubernetes.io/memory-pressure", "NoSchedule");
  AddToleration(spec, "node.kubernetes.io/pid-pressure", "NoSchedule");
  AddToleration(spec, "node.kubernetes.io/unschedulable", "NoSchedule");
  if (spec->hostnetwork()) AddToleration(spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
  auto* required =
      spec->mutable_affinity()->mutable_nodeaffinity()->mutable_requiredduringschedulingignoredduringexecution();
  required->clear_nodeselectorterms();
  auto* field = required->add_nodeselectorterms()->add_matchfields();
  field->set_key("metadata.name");
  field->set_operator_("In");
  field->add_values(node);
  return pod;
}

DaemonFit DaemonFits(const apps::DaemonSet& set, const core::Node& node) {
  const auto& spec = set.spec().template_().spec();
  if (!spec.nodename().empty() && spec.nodename() != node.metadata().name()) return {false, false};
  core::Pod pod;
  *pod.mutable_spec() = spec;
  if (!MatchesNodeAffinity(pod, node)) return {false, false};
  pod = DaemonPod(set, node.metadata().name(), "");
  bool start = true, stay = true;
  for (const auto& taint : node.spec().taints()) {
    if (taint.effect() == "PreferNoSchedule" || Tolerates(pod, taint)) continue;
    start = false;
    if (taint.effect() == "NoExecute") stay = false;
  }
  return {start, stay};
}

namespace {

std::string NodeOf(const core::Pod& pod) {
  if (!pod.spec().nodename().empty()) return pod.spec().nodename();
  for (const auto& term :
       pod.spec().affinity().nodeaffinity().requiredduringschedulingignoredduringexecution().nodeselectorterms()) {
    for (const auto& field : term.matchfields()) {
      if (field.key() == "metadata.name" && field.values_size() == 1) return field.values(0);
    }
  }
  return "";
}

class DaemonSetController final : public Controller {
 public:
  explicit DaemonSetController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "daemonset-controller", ""),
        expectations_(context.clock()),
        queue_(context.executor(), context.clock(), "daemonset-controller", 2,
               [this](std::string key) { return Sync(std::move(key)); }) {
    auto& informers = *context.informers;
    informers.daemon_sets->OnChange([this](const apps::DaemonSet& set) { queue_.Add(client::KeyOf(set)); });
    informers.nodes->AddHandler({
        .added = [this](const NodePtr&) { All(); },
        .updated =
            [this](const NodePtr& before, const NodePtr& node) {
              // Heartbeats do not matter.
              if (!api::Equal(before->spec(), node->spec()) || !SameLabels(*before, *node)) All();
            },
        .deleted = [this](const NodePtr&) { All(); },
    });
    FollowOwnedPods(informers, "DaemonSet", &expectations_, &queue_);
  }

  Task<void> Run() override { return RunQueue(context_.executor(), "daemon set", &events_, &queue_); }

 private:
  using SetPtr = std::shared_ptr<const apps::DaemonSet>;

  void All() {
    context_.informers->daemon_sets->ForEach([this](const auto& set) { queue_.Add(client::KeyOf(*set)); });
  }
  static bool SameLabels(const core::Node& a, const core::Node& b) {
    meta::ObjectMeta x, y;
    *x.mutable_labels() = a.metadata().labels();
    *y.mutable_labels() = b.metadata().labels();
    return api::Equal(x, y);
  }
  // The revision that the template is: made when missing, numbered past the others. Old ones beyond the limit go.
  Task<StatusOr<std::string>> EnsureRevision(SetPtr set, bool* fresh) {
    const std::string& ns = set->metadata().namespace_();
    const auto selector = api::LabelSelector::From(&set->spec().selector());
    if (!selector.ok()) co_return selector.status();
    auto list = co_await context_.rest->List<apps::ControllerRevision>(ns, {.label_selector = selector->ToString()});
    if (!list.ok()) co_return list.status();
    nlohmann::json spec = {{"template", api::ToJsonValue(set->spec().template_())}};
    spec["template"]["$patch"] = "replace";
    const nlohmann::json data = {{"spec", spec}};
    int64_t most = 0;
    std::shared_ptr<apps::ControllerRevision> current;
    std::vector<std::shared_ptr<apps::ControllerRevision>> old;
    for (const auto& revision : list->items) {
      const auto* owner = client::ControllerOf(revision->metadata());
      if (owner == nullptr || owner->uid() != set->metadata().uid()) continue;
      most = std::max(most, revision->revision());
      if (nlohmann::json::parse(revision->data().raw(), nullptr, false) == data) {
        current = revision;
      } else {
        old.push_back(revision);
      }
    }
    const std::string hash =
        TemplateHash(set->spec().template_(), set->status().collisioncount(), set->status().has_collisioncount());
    if (current == nullptr) {
      apps::ControllerRevision revision;
      revision.mutable_metadata()->set_namespace_(ns);
      revision.mutable_metadata()->set_name(absl::StrCat(set->metadata().name(), "-", hash));
      *revision.mutable_metadata()->mutable_labels() = set->spec().template_().metadata().labels();
      (*revision.mutable_metadata()->mutable_labels())[kRevisionHash] = hash;
      *revision.mutable_metadata()->mutable_annotations() = set->metadata().annotations();
      revision.mutable_metadata()->mutable_annotations()->erase("kubectl.kubernetes.io/last-applied-configuration");
      *revision.mutable_metadata()->add_ownerreferences() = client::ControllerReference(*set);
      revision.mutable_data()->set_raw(DumpJson(data));
      revision.set_revision(most + 1);
      auto created = co_await context_.rest->Create(std::move(revision));
      if (!created.ok()) co_return created.status();
      *fresh = true;
      co_return hash;
    }
    if (current->revision() < most) {
      apps::ControllerRevision newer = *current;
      newer.set_revision(most + 1);
      auto updated = co_await context_.rest->Update(std::move(newer));
      if (!updated.ok()) co_return updated.status();
    }
    const auto label = current->metadata().labels().find(kRevisionHash);
    const std::string found = label == current->metadata().labels().end() ? hash : label->second;
    const int limit = set->spec().has_revisionhistorylimit() ? set->spec().revisionhistorylimit() : 10;
    if (static_cast<int>(old.size()) > limit) {
      std::set<std::string> live;
      for (const PodPtr& pod : context_.informers->pods->ByIndex("owner", set->metadata().uid())) {
        const auto used = pod->metadata().labels().find(kRevisionHash);
        if (used != pod->metadata().labels().end()) live.insert(used->second);
      }
      std::sort(old.begin(), old.end(), [](const auto& a, const auto& b) { return a->revision() < b->revision(); });
      for (int surplus = static_cast<int>(old.size()) - limit, i = 0; i < surplus; ++i) {
        const auto used = old[i]->metadata().labels().find(kRevisionHash);
        if (used != old[i]->metadata().labels().end() && live.contains(used->second)) continue;
        const Status gone = co_await context_.rest->Delete<apps::ControllerRevision>(ns, old[i]->metadata().name());
        if (!gone.ok() && !absl::IsNotFound(gone)) co_return gone;
      }
    }
    co_return found;
  }

  Task<void> MakeOne(SetPtr set, std::string key, std::string node, std::string hash, Status* failed) {
    const Status status =
        co_await CreatePod(context_.rest, &events_, DaemonPod(*set, node, hash), client::ReferenceTo(*set));
    if (status.ok()) co_return;
    expectations_.CreationObserved(key);
    if (!client::IsNamespaceTerminating(status)) *failed = status;
  }
  Task<void> RemoveOne(SetPtr set, std::string key, PodPtr pod, Status* failed) {
    const Status status = co_await DeletePod(context_.rest, &events_, pod, client::ReferenceTo(*set));
    if (status.ok()) co_return;
    expectations_.DeletionObserved(key, pod->metadata().uid());
    if (!absl::IsNotFound(status)) *failed = status;
  }

  Task<Status> Change(SetPtr set, std::string key, std::vector<std::string> nodes, std::vector<PodPtr> pods,
                      std::string hash) {
    if (nodes.size() > kBurst) nodes.resize(kBurst);
    if (pods.size() > kBurst) pods.resize(kBurst);
    if (nodes.empty() && pods.empty()) co_return absl::OkStatus();
    expectations_.ExpectCreations(key, static_cast<int>(nodes.size()));
    for (const PodPtr& pod : pods) expectations_.ExpectDeletion(key, pod->metadata().uid());
    Status failed;
    TaskGroup group(context_.executor());
    for (const std::string& node : nodes) group.Spawn("create daemon pod", MakeOne(set, key, node, hash, &failed));
    for (const PodPtr& pod : pods) group.Spawn("delete daemon pod", RemoveOne(set, key, pod, &failed));
    co_await group.Join();
    co_return failed;
  }

  std::map<std::string, std::vector<PodPtr>> PodsByNode(const apps::DaemonSet& set) const {
    std::map<std::string, std::vector<PodPtr>> out;
    for (const PodPtr& pod : context_.informers->pods->ByIndex("owner", set.metadata().uid())) {
      const std::string node = NodeOf(*pod);
      if (!node.empty()) out[node].push_back(pod);
    }
    for (auto& [node, pods] : out) {
      std::sort(pods.begin(), pods.end(), [](const PodPtr& a, const PodPtr& b) {
        return std::pair(a->metadata().creationtimestamp().seconds(), a->metadata().name()) <
               std::pair(b->metadata().creationtimestamp().seconds(), b->metadata().name());
      });
    }
    return out;
  }

  static bool IsCurrent(const core::Pod& pod, const std::string& hash) {
    const auto label = pod.metadata().labels().find(kRevisionHash);
    return label != pod.metadata().labels().end() && label->second == hash;
  }

  Task<Status> Manage(SetPtr set, std::string key, std::string hash) {
    const auto by_node = PodsByNode(*set);
    std::vector<std::string> nodes;
    std::vector<PodPtr> doomed;
    for (const NodePtr& node : context_.informers->nodes->List()) {
      const std::string& name = node->metadata().name();
      const DaemonFit fit = DaemonFits(*set, *node);
      const auto found = by_node.find(name);
      if (found == by_node.end()) {
        if (fit.start) nodes.push_back(name);
        continue;
      }
      bool one = false;
      for (const PodPtr& pod : found->second) {
        if (IsBeingDeleted(pod->metadata())) continue;
        if (!fit.stay) {
          doomed.push_back(pod);
        } else if (IsPodTerminal(*pod)) {
          const bool bad = pod->status().phase() == "Failed";
          // A node that keeps refusing the pod is not asked without pause.
          auto& backoff = failed_[absl::StrCat(set->metadata().uid(), "/", name)];
          const SteadyTime now = context_.clock().Steady();
          if (bad && now < backoff.second) {
            queue_.AddAfter(key, backoff.second - now);
            one = true;
            continue;
          }
          if (bad) {
            backoff.first = std::min(backoff.first.count() == 0 ? std::chrono::seconds(1) : backoff.first * 2,
                                     std::chrono::seconds(900));
            backoff.second = now + backoff.first;
          }
          events_.Record(*set, bad ? client::kWarning : client::kNormal, bad ? "FailedDaemonPod" : "SucceededDaemonPod",
                         absl::StrCat("Found ", bad ? "failed" : "succeeded", " daemon pod ", client::KeyOf(*pod),
                                      " on node ", name, ", will try to ", bad ? "kill it" : "delete it"));
          doomed.push_back(pod);
        } else if (one) {
          doomed.push_back(pod);  // more than one
        } else {
          one = true;
        }
      }
    }
    for (const auto& [name, pods] : by_node) {
      if (context_.informers->nodes->Get(name) != nullptr) continue;
      for (const PodPtr& pod : pods) {
        if (pod->spec().nodename().empty() && !IsBeingDeleted(pod->metadata())) doomed.push_back(pod);
      }
    }
    co_return co_await Change(set, key, std::move(nodes), std::move(doomed), hash);
  }

  Task<Status> RollOut(SetPtr set, std::string key, std::string hash) {
    int desired = 0;
    for (const NodePtr& node : context_.informers->nodes->List()) desired += DaemonFits(*set, *node).start;
    const auto& rolling = set->spec().updatestrategy().rollingupdate();
    int most =
        rolling.has_maxunavailable() ? api::ScaledIntOrPercent(rolling.maxunavailable(), desired, true).value_or(1) : 1;
    if (rolling.has_maxsurge() && api::ScaledIntOrPercent(rolling.maxsurge(), desired, true).value_or(0) > 0) {
      events_.Record(*set, client::kWarning, "MaxSurgeNotSupported",
                     "maxSurge is not supported; pods are replaced one at a time");
    }
    most = std::max(most, 1);
    int unavailable = 0;
    std::vector<PodPtr> replaced, candidates;
    const WallTime now = context_.clock().Now();
    for (const auto& [node, pods] : PodsByNode(*set)) {
      PodPtr live;
      int count = 0;
      for (const PodPtr& pod : pods) {
        if (IsBeingDeleted(pod->metadata())) continue;
        live = pod;
        ++count;
      }
      if (count != 1) {
        ++unavailable;
        continue;
      }
      const bool available = IsPodAvailable(*live, set->spec().minreadyseconds(), now);
      if (IsCurrent(*live, hash)) {
        if (!available) ++unavailable;
      } else if (!available) {
        replaced.push_back(live);
        ++unavailable;
      } else {
        candidates.push_back(live);
      }
    }
    for (const PodPtr& pod : candidates) {
      if (unavailable >= most) break;
      replaced.push_back(pod);
      ++unavailable;
    }
    co_return co_await Change(set, key, {}, std::move(replaced), hash);
  }

  Task<Status> WriteStatus(SetPtr set, std::string key, std::string hash, bool observed) {
    apps::DaemonSetStatus status = set->status();
    int desired = 0, current = 0, misplaced = 0, ready = 0, updated = 0, available = 0;
    const auto by_node = PodsByNode(*set);
    const WallTime now = context_.clock().Now();
    for (const NodePtr& node : context_.informers->nodes->List()) {
      const bool start = DaemonFits(*set, *node).start;
      const auto found = by_node.find(node->metadata().name());
      if (start) ++desired;
      if (found == by_node.end()) continue;
      if (!start) {
        ++misplaced;
        continue;
      }
      ++current;
      const core::Pod& pod = *found->second.front();
      if (IsPodReady(pod)) ++ready;
      if (IsPodAvailable(pod, set->spec().minreadyseconds(), now)) ++available;
      if (IsCurrent(pod, hash)) ++updated;
    }
    status.set_desirednumberscheduled(desired);
    status.set_currentnumberscheduled(current);
    status.set_numbermisscheduled(misplaced);
    status.set_numberready(ready);
    status.set_updatednumberscheduled(updated);
    status.set_numberavailable(available);
    status.set_numberunavailable(desired - available);
    if (observed) status.set_observedgeneration(set->metadata().generation());
    if (set->spec().minreadyseconds() > 0 && ready != available) {
      queue_.AddAfter(key, std::chrono::seconds(set->spec().minreadyseconds()));
    }
    if (api::Equal(status, set->status())) co_return absl::OkStatus();
    apps::DaemonSet changed = *set;
    *changed.mutable_status() = std::move(status);
    co_return (co_await context_.rest->UpdateStatus(std::move(changed))).status();
  }

  Task<Status> Sync(std::string key) {
    const SetPtr set = context_.informers->daemon_sets->Get(key);
    if (set == nullptr) {
      expectations_.Forget(key);
      co_return absl::OkStatus();
    }
    if (set->spec().selector().matchlabels().empty() && set->spec().selector().matchexpressions().empty()) {
      events_.Record(*set, client::kWarning, "SelectingAll",
                     "This daemon set is selecting all pods. A non-empty selector is required.");
      co_return absl::OkStatus();
    }
    if (IsBeingDeleted(set->metadata())) co_return absl::OkStatus();
    bool fresh = false;
    const auto hash = co_await EnsureRevision(set, &fresh);
    if (!hash.ok()) {
      co_return client::IsNamespaceTerminating(hash.status()) ? absl::OkStatus() : hash.status();
    }
    if (!expectations_.Satisfied(key)) co_return co_await WriteStatus(set, key, *hash, false);
    Status failed = co_await Manage(set, key, *hash);
    if (failed.ok() && set->spec().updatestrategy().type() != "OnDelete" && expectations_.Satisfied(key)) {
      failed = co_await RollOut(set, key, *hash);
    }
    const Status written = co_await WriteStatus(set, key, *hash, true);
    co_return failed.ok() ? written : failed;
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  Expectations expectations_;
  std::map<std::string, std::pair<std::chrono::seconds, SteadyTime>> failed_;  // back-off of failing pods a node
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeDaemonSetController(const ControllerContext& context) {
  return std::make_unique<DaemonSetController>(context);
}

}  // namespace skiff::controlplane
