#include "kubelet/pod/mirror_pods.h"

#include <algorithm>

#include "base/log.h"
#include "kubelet/pod/static_pods.h"

namespace skiff::kubelet {
namespace {

Task<void> NotifyAfter(Clock& clock, std::chrono::nanoseconds pause, Wakeup* wakeup) {
  if ((co_await clock.Sleep(pause)).ok()) wakeup->Notify();
}

}  // namespace

Task<bool> MirrorPods::Pass() {
  bool done = true;
  auto remove = [](const Status& s) { return s.ok() || absl::IsNotFound(s) || absl::IsAborted(s); };
  for (const PodPtr& pod : hooks_.static_pods()) {
    if (hooks_.waits && hooks_.waits(*pod)) continue;
    const std::string ns = pod->metadata().namespace_(), name = pod->metadata().name();
    PodPtr mirror = hooks_.in_api(ns, name);
    if (mirror != nullptr && IsMirrorOf(*mirror, *pod) && !mirror->metadata().has_deletiontimestamp()) continue;
    if (mirror != nullptr) {
      LOG_INFO("Trying to delete pod", {"pod", PodKey(*mirror)}, {"podUID", mirror->metadata().uid()});
      Status deleted = co_await api_.Delete(ns, name, mirror->metadata().uid());
      if (absl::IsCancelled(deleted)) co_return false;
      if (!remove(deleted)) {
        LOG_ERROR(deleted, "Failed deleting a mirror pod", {"pod", PodKey(*mirror)});
        done = false;
        continue;
      }
    }
    const std::string node_uid = hooks_.node_uid();
    if (node_uid.empty()) {
      VLOG(2, "No mirror pod yet, since the node is not registered", {"pod", PodKey(*pod)});
      done = false;
      continue;
    }
    LOG_INFO("Creating a mirror pod for static pod", {"pod", PodKey(*pod)});
    Status made = co_await api_.Create(MirrorOf(*pod, node_name_, node_uid));
    if (absl::IsCancelled(made)) co_return false;
    // One that exists is either ours, which the watch is about to tell, or goes at the next look.
    if (absl::IsAlreadyExists(made)) {
      done = false;
    } else if (!made.ok()) {
      LOG_ERROR(made, "Failed creating a mirror pod", {"pod", PodKey(*pod)});
      done = false;
    }
  }
  if (!hooks_.complete()) co_return done;
  for (const PodPtr& mirror : hooks_.mirrors()) {
    const std::string ns = mirror->metadata().namespace_(), name = mirror->metadata().name();
    auto pods = hooks_.static_pods();
    bool wanted = std::any_of(pods.begin(), pods.end(), [&](const PodPtr& p) {
      return p->metadata().name() == name && p->metadata().namespace_() == ns;
    });
    if (wanted || hooks_.ending(ns, name)) continue;
    VLOG(2, "Deleting a mirror pod", {"pod", PodKey(*mirror)}, {"podUID", mirror->metadata().uid()});
    Status deleted = co_await api_.Delete(ns, name, mirror->metadata().uid());
    if (absl::IsCancelled(deleted)) co_return false;
    if (!remove(deleted)) {
      LOG_ERROR(deleted, "Failed deleting a mirror pod", {"pod", PodKey(*mirror)});
      done = false;
    }
  }
  co_return done;
}

Task<void> MirrorPods::Run() {
  auto executor = co_await asio::this_coro::executor;
  std::chrono::seconds pause(1);
  for (;;) {
    const bool done = co_await Pass();
    if (co_await IsCancelled()) co_return;
    TaskGroup timer(executor);
    if (done) {
      pause = std::chrono::seconds(1);
    } else {
      timer.Spawn("mirror pods again", NotifyAfter(clock_, pause, &wakeup_));
      pause = std::min(2 * pause, std::chrono::seconds(16));
    }
    Status waited = co_await wakeup_.Wait();
    timer.Cancel();
    co_await timer.Join();
    if (absl::IsCancelled(waited)) co_return;
  }
}

}  // namespace skiff::kubelet
