#include "kubelet/runtime/runtime_event.h"

#include "kubelet/runtime/labels.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet {
namespace {

std::string PodUid(const StringMap& labels) {
  auto it = labels.find(kPodUidLabel);
  return it == labels.end() ? "" : it->second;
}

}  // namespace

RuntimeEvent ReadEvent(const cri_v1::ContainerEventResponse& event) {
  RuntimeEvent out;
  out.id = event.container_id();
  if (event.has_pod_sandbox_status() && !event.pod_sandbox_status().id().empty()) {
    const auto& sandbox = event.pod_sandbox_status();
    out.pod_uid = PodUid(sandbox.labels());
    out.sandboxes[sandbox.id()] = sandbox.state();
  }
  for (const auto& c : event.containers_statuses()) {
    if (out.pod_uid.empty()) out.pod_uid = PodUid(c.labels());
    out.containers[c.id()] = c.state();
    if (c.id() == out.id && KilledForUnknownReason(c)) out.reason_may_follow = true;
  }
  out.stopped = event.container_event_type() == cri_v1::CONTAINER_STOPPED_EVENT;
  if (event.container_event_type() == cri_v1::CONTAINER_DELETED_EVENT) {
    out.removed.insert(out.id);
    out.sandboxes.erase(out.id);
    out.containers.erase(out.id);
  }
  return out;
}

void RuntimeEvent::Add(const RuntimeEvent& later) {
  for (const auto& [sandbox, state] : later.sandboxes) sandboxes[sandbox] = state;
  for (const auto& [container, state] : later.containers) containers[container] = state;
  for (const auto& gone : later.removed) {
    sandboxes.erase(gone);
    containers.erase(gone);
    removed.insert(gone);
  }
  stopped = stopped || later.stopped;
}

}  // namespace skiff::kubelet
