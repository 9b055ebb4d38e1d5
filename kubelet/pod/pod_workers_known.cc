// What others ask of the pods: which there are, what they hold, how far each has come.
#include "kubelet/pod/pod_worker.h"
#include "kubelet/pod/resize.h"

namespace skiff::kubelet {

std::vector<PodPtr> PodWorkers::Pods() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_) {
    if (!w->unknown && !w->gone) out.push_back(statuses_.WithStatus(w->pod));
  }
  return out;
}

PodPtr PodWorkers::Find(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() || it->second->unknown ? nullptr : it->second->pod;
}

PodPtr PodWorkers::FindByName(const std::string& ns, const std::string& name) const {
  for (const auto& [uid, w] : workers_) {
    if (!w->unknown && !w->gone && w->pod->metadata().name() == name && w->pod->metadata().namespace_() == ns) {
      return statuses_.WithStatus(w->pod);
    }
  }
  return nullptr;
}

std::vector<PodPtr> PodWorkers::Active() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_) {
    // One that an earlier life admitted, or that is being ended, holds what it has before anybody has looked at it.
    const bool holds =
        w->admitted || w->terminate ||
        (allocations_ != nullptr && allocations_->Knows(uid) && !IsTerminalPhase(w->pod->status().phase()));
    // Over since an earlier life; what is left to do for it, such as a network that will not go, takes nothing.
    const bool over = w->looked && IsTerminalPhase(w->pod->status().phase()) && !cache_.Get(uid)->AnyRunning();
    if (holds && !over && !w->rejected && !w->stopped && !w->unknown) out.push_back(Allocated(w->pod));
  }
  return out;
}

std::vector<PodPtr> PodWorkers::HeldByOthers(const std::string& uid) const {
  std::vector<PodPtr> out = Active();
  std::erase_if(out, [&](const PodPtr& pod) { return pod->metadata().uid() == uid; });
  if (allocations_ == nullptr) return out;
  for (PodPtr& pod : out) {
    if (PodPtr actuated = allocations_->Actuated(*pod)) {
      pod = std::make_shared<const Pod>(HeldBy(*pod, *actuated, *cache_.Get(pod->metadata().uid())));
    }
  }
  return out;
}

bool PodWorkers::Released(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() || it->second->finished;
}

bool PodWorkers::Wanted(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && !it->second->unknown && !it->second->gone;
}

bool PodWorkers::MayRun(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && !it->second->stopped;
}

bool PodWorkers::ContentGone(const std::string& uid) const {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return true;
  const Worker& w = *it->second;
  // Not before the last container has ended: its status is made of what the runtime has.
  return w.stopped && (w.evicted || w.gone || w.pod->metadata().has_deletiontimestamp());
}

bool PodWorkers::Terminating(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && it->second->terminate;
}

std::map<std::array<std::string, 3>, int> PodWorkers::Working() const {
  std::map<std::array<std::string, 3>, int> out;
  for (const auto& [uid, w] : workers_) {
    const char* lifecycle = w->stopped ? "terminated" : w->terminate ? "terminating" : "sync";
    const char* config = w->unknown ? "runtime_only" : w->gone ? "orphan" : "desired";
    ++out[{lifecycle, config, w->unknown ? "unknown" : IsStatic(*w->pod) ? "true" : ""}];
  }
  return out;
}

std::set<std::string> PodWorkers::Known() const {
  std::set<std::string> out;
  for (const auto& [uid, w] : workers_) out.insert(uid);
  return out;
}

}  // namespace skiff::kubelet
