// The job controller: pods until enough have succeeded, or too many failed. Every pod carries a finalizer until its end
// was counted in the status, so that none is counted twice or not at all, whatever crashes in between. Follows
// upstream's pkg/controller/job; not there yet: completionMode Indexed, podFailurePolicy and successPolicy (such jobs
// are left alone and an event says so).
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/owned_pods.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

constexpr char kTracking[] = "batch.kubernetes.io/job-tracking";
constexpr std::chrono::seconds kFirstBackoff{10};
constexpr std::chrono::seconds kMostBackoff{600};

bool HasTracking(const core::Pod& pod) {
  const auto& list = pod.metadata().finalizers();
  return std::find(list.begin(), list.end(), kTracking) != list.end();
}

const batch::JobCondition* Find(const batch::JobStatus& status, std::string_view type) {
  for (const auto& condition : status.conditions()) {
    if (condition.type() == type && condition.status() == "True") return &condition;
  }
  return nullptr;
}

void Add(batch::JobStatus* status, const char* type, const std::string& reason, const std::string& message,
         WallTime now) {
  auto* condition = status->add_conditions();
  condition->set_type(type);
  condition->set_status("True");
  condition->set_reason(reason);
  condition->set_message(message);
  *condition->mutable_lastprobetime() = api::ToTime(now);
  *condition->mutable_lasttransitiontime() = api::ToTime(now);
}

class JobController final : public Controller {
 public:
  explicit JobController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "job-controller", ""),
        expectations_(context.clock()),
        queue_(context.executor(), context.clock(), "job-controller", 5,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->jobs->OnChange([this](const batch::Job& job) { queue_.Add(client::KeyOf(job)); });
    FollowOwnedPods(*context.informers, "Job", &expectations_, &queue_);
  }

  Task<void> Run() override { return RunQueue(context_.executor(), "job", &events_, &queue_); }

 private:
  using JobPtr = std::shared_ptr<const batch::Job>;

  Task<Status> RemoveTracking(PodPtr pod) {
    const nlohmann::json patch = {{"metadata",
                                   {{"uid", pod->metadata().uid()},
                                    {"$deleteFromPrimitiveList/finalizers", nlohmann::json::array({kTracking})}}}};
    const auto patched =
        co_await context_.rest->Patch<core::Pod>(pod->metadata().namespace_(), pod->metadata().name(), patch.dump());
    if (absl::IsNotFound(patched.status()) || client::IsConflict(patched.status())) co_return absl::OkStatus();
    co_return patched.status();
  }

  core::Pod NewPod(const batch::Job& job) const {
    core::Pod pod = PodFromTemplate(job.spec().template_(), job);
    pod.mutable_metadata()->add_finalizers(kTracking);
    auto& labels = *pod.mutable_metadata()->mutable_labels();
    for (const char* prefix : {"", "batch.kubernetes.io/"}) {
      labels[absl::StrCat(prefix, "controller-uid")] = job.metadata().uid();
      labels[absl::StrCat(prefix, "job-name")] = job.metadata().name();
    }
    return pod;
  }

  Task<void> MakeOne(JobPtr job, std::string key, Status* failed) {
    const Status status = co_await CreatePod(context_.rest, &events_, NewPod(*job), client::ReferenceTo(*job));
    if (status.ok()) co_return;
    expectations_.CreationObserved(key);
    if (!client::IsNamespaceTerminating(status)) *failed = status;
  }
  Task<void> RemoveOne(JobPtr job, std::string key, PodPtr pod, Status* failed) {
    const Status removed = co_await RemoveTracking(pod);
    const Status status = co_await DeletePod(context_.rest, &events_, pod, client::ReferenceTo(*job));
    if (status.ok() && removed.ok()) co_return;
    expectations_.DeletionObserved(key, pod->metadata().uid());
    if (!removed.ok()) *failed = removed;
    if (!status.ok() && !absl::IsNotFound(status)) *failed = status;
  }

  Task<Status> Change(JobPtr job, std::string key, int make, std::vector<PodPtr> doomed) {
    if (make > 0) expectations_.ExpectCreations(key, make);
    for (const PodPtr& pod : doomed) expectations_.ExpectDeletion(key, pod->metadata().uid());
    Status failed;
    TaskGroup group(context_.executor());
    for (int i = 0; i < make; ++i) group.Spawn("create job pod", MakeOne(job, key, &failed));
    for (const PodPtr& pod : doomed) group.Spawn("delete job pod", RemoveOne(job, key, pod, &failed));
    co_await group.Join();
    co_return failed;
  }

  Task<Status> Write(batch::Job* job, const batch::JobStatus& status) {
    if (api::Equal(job->status(), status)) co_return absl::OkStatus();
    *job->mutable_status() = status;
    auto written = co_await context_.rest->UpdateStatus(*job);
    CO_RETURN_IF_ERROR(written.status());
    *job = *std::move(written);
    co_return absl::OkStatus();
  }

  // How long new pods wait after failures: 10 s, doubled with each, at most 10 minutes.
  std::chrono::nanoseconds BackoffLeft(const std::vector<PodPtr>& pods, int failed) const {
    if (failed == 0) return std::chrono::nanoseconds(0);
    WallTime last{};
    for (const PodPtr& pod : pods) {
      if (pod->status().phase() != "Failed") continue;
      WallTime end = api::FromTime(pod->metadata().creationtimestamp());
      for (const auto& container : pod->status().containerstatuses()) {
        if (container.state().has_terminated()) {
          end = std::max(end, api::FromTime(container.state().terminated().finishedat()));
        }
      }
      last = std::max(last, end);
    }
    std::chrono::seconds wait = kFirstBackoff;
    for (int i = 1; i < failed && wait < kMostBackoff; ++i) wait *= 2;
    const auto left = last + std::min(wait, kMostBackoff) - context_.clock().Now();
    return std::max<std::chrono::nanoseconds>(left, std::chrono::nanoseconds(0));
  }

  Task<Status> Expire(JobPtr job, std::string key) {
    if (!job->spec().has_ttlsecondsafterfinished() || IsBeingDeleted(job->metadata())) co_return absl::OkStatus();
    const auto* end = Find(job->status(), "Complete");
    if (end == nullptr) end = Find(job->status(), "Failed");
    const auto left = api::FromTime(end->lasttransitiontime()) +
                      std::chrono::seconds(job->spec().ttlsecondsafterfinished()) - context_.clock().Now();
    if (left.count() > 0) {
      queue_.AddAfter(key, left);
      co_return absl::OkStatus();
    }
    meta::DeleteOptions options;
    options.set_propagationpolicy("Foreground");
    options.mutable_preconditions()->set_uid(job->metadata().uid());
    const Status deleted =
        co_await context_.rest->Delete<batch::Job>(job->metadata().namespace_(), job->metadata().name(), options);
    co_return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
  }

  Task<Status> Sync(std::string key) {
    const JobPtr cached = context_.informers->jobs->Get(key);
    if (cached == nullptr) {
      expectations_.Forget(key);
      co_return absl::OkStatus();
    }
    const std::vector<PodPtr> pods = context_.informers->pods->ByIndex("owner", cached->metadata().uid());
    if (Find(cached->status(), "Complete") != nullptr || Find(cached->status(), "Failed") != nullptr ||
        IsBeingDeleted(cached->metadata())) {
      // Whatever still waits to be counted is let go.
      for (const PodPtr& pod : pods) {
        if (HasTracking(*pod)) CO_RETURN_IF_ERROR(co_await RemoveTracking(pod));
      }
      if (IsBeingDeleted(cached->metadata())) co_return absl::OkStatus();
      co_return co_await Expire(cached, key);
    }
    if (cached->spec().completionmode() == "Indexed" || cached->spec().has_podfailurepolicy() ||
        cached->spec().has_successpolicy()) {
      events_.Record(*cached, client::kWarning, "NotSupported",
                     "Indexed jobs, podFailurePolicy and successPolicy are not supported");
      co_return absl::OkStatus();
    }
    const bool settled = expectations_.Satisfied(key);
    const WallTime now = context_.clock().Now();
    batch::Job job = *cached;
    batch::JobStatus status = job.status();
    auto* uncounted = status.mutable_uncountedterminatedpods();

    // 1. Ends that are new are noted, 2. their pods are let go, 3. and then they are counted.
    std::set<std::string> noted(uncounted->succeeded().begin(), uncounted->succeeded().end());
    noted.insert(uncounted->failed().begin(), uncounted->failed().end());
    int active = 0, ready = 0, terminating = 0;
    std::vector<PodPtr> running, let_go;
    for (const PodPtr& pod : pods) {
      if (IsPodActive(*pod)) {
        ++active;
        if (IsPodReady(*pod)) ++ready;
        running.push_back(pod);
        continue;
      }
      if (!IsPodTerminal(*pod)) ++terminating;
      if (!HasTracking(*pod)) continue;
      // A pod that is being deleted counts as failed only when it has ended; one without a node never will.
      if (!IsPodTerminal(*pod) && !pod->spec().nodename().empty()) continue;
      if (!noted.contains(pod->metadata().uid())) {
        (pod->status().phase() == "Succeeded" ? uncounted->add_succeeded(pod->metadata().uid())
                                              : uncounted->add_failed(pod->metadata().uid()));
      }
      let_go.push_back(pod);
    }
    const bool suspended = job.spec().suspend();
    if (!status.has_starttime() && !suspended) *status.mutable_starttime() = api::ToTime(now);
    const int succeeded = status.succeeded() + uncounted->succeeded_size();
    const int failed = status.failed() + uncounted->failed_size();
    const int limit = job.spec().has_backofflimit() ? job.spec().backofflimit() : 6;

    std::string reason, message;
    if (failed > limit) {
      reason = "BackoffLimitExceeded";
      message = "Job has reached the specified backoff limit";
    } else if (job.spec().has_activedeadlineseconds() && status.has_starttime() && !suspended) {
      const auto left =
          api::FromTime(status.starttime()) + std::chrono::seconds(job.spec().activedeadlineseconds()) - now;
      if (left.count() <= 0) {
        reason = "DeadlineExceeded";
        message = "Job was active longer than specified deadline";
      } else {
        queue_.AddAfter(key, left);
      }
    }

    Status managed;
    bool enough = false;
    if (!reason.empty()) {
      managed = co_await Change(cached, key, 0, running);
      if (managed.ok()) {
        terminating += active;
        active = ready = 0;
      }
    } else {
      const bool counted = job.spec().has_completions();
      const int parallelism = job.spec().has_parallelism() ? job.spec().parallelism() : 1;
      enough = counted ? succeeded >= job.spec().completions() : succeeded > 0 && active == 0;
      int wanted = suspended       ? 0
                   : counted       ? std::min(parallelism, std::max(0, job.spec().completions() - succeeded))
                   : succeeded > 0 ? std::min(active, parallelism)
                                   : parallelism;
      // With podReplacementPolicy Failed a pod is replaced only when it has ended.
      const int there = active + (job.spec().podreplacementpolicy() == "Failed" ? terminating : 0);
      if (settled && active > wanted) {
        SortForDeletion(&running, running, now);
        running.resize(active - wanted);
        managed = co_await Change(cached, key, 0, running);
        if (managed.ok()) active = wanted;
      } else if (settled && there < wanted) {
        const auto wait = BackoffLeft(pods, failed);
        if (wait.count() > 0) {
          queue_.AddAfter(key, wait);
        } else {
          managed = co_await Change(cached, key, wanted - there, {});
          if (managed.ok()) active += wanted - there;
        }
      }
    }
    status.set_active(active);
    status.set_ready(ready);
    status.set_terminating(terminating);
    SetSuspended(cached, suspended, now, &status);
    CO_RETURN_IF_ERROR(co_await Write(&job, status));

    for (const PodPtr& pod : let_go) CO_RETURN_IF_ERROR(co_await RemoveTracking(pod));
    status = job.status();
    status.set_succeeded(succeeded);
    status.set_failed(failed);
    status.mutable_uncountedterminatedpods()->clear_succeeded();
    status.mutable_uncountedterminatedpods()->clear_failed();
    if (managed.ok() && !reason.empty()) {
      if (Find(status, "FailureTarget") == nullptr) Add(&status, "FailureTarget", reason, message, now);
      if (terminating == 0) Add(&status, "Failed", reason, message, now);
    } else if (managed.ok() && enough && active == 0) {
      if (Find(status, "SuccessCriteriaMet") == nullptr) {
        Add(&status, "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods", now);
      }
      if (terminating == 0) {
        Add(&status, "Complete", "CompletionsReached", "Reached expected number of succeeded pods", now);
        *status.mutable_completiontime() = api::ToTime(now);
      }
    }
    const bool failed_now = Find(status, "Failed") != nullptr, completed = Find(status, "Complete") != nullptr;
    CO_RETURN_IF_ERROR(co_await Write(&job, status));
    if (completed) events_.Record(job, client::kNormal, "Completed", "Job completed");
    if (failed_now) events_.Record(job, client::kWarning, reason, message);
    co_return managed;
  }

  void SetSuspended(const JobPtr& job, bool suspended, WallTime now, batch::JobStatus* status) {
    batch::JobCondition* condition = nullptr;
    for (auto& candidate : *status->mutable_conditions()) {
      if (candidate.type() == "Suspended") condition = &candidate;
    }
    if (condition == nullptr && !suspended) return;
    const std::string value = suspended ? "True" : "False";
    if (condition != nullptr && condition->status() == value) return;
    if (condition == nullptr) condition = status->add_conditions();
    condition->set_type("Suspended");
    condition->set_status(value);
    condition->set_reason(suspended ? "JobSuspended" : "JobResumed");
    condition->set_message(suspended ? "Job suspended" : "Job resumed");
    *condition->mutable_lastprobetime() = api::ToTime(now);
    *condition->mutable_lasttransitiontime() = api::ToTime(now);
    if (suspended) {
      status->clear_starttime();
    } else {
      *status->mutable_starttime() = api::ToTime(now);
    }
    events_.Record(*job, client::kNormal, suspended ? "Suspended" : "Resumed",
                   suspended ? "Job suspended" : "Job resumed");
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  Expectations expectations_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeJobController(const ControllerContext& context) {
  return std::make_unique<JobController>(context);
}

}  // namespace skiff::controlplane
