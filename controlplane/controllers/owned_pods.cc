#include "controlplane/controllers/owned_pods.h"

#include "client/object.h"

namespace skiff::controlplane {

std::string OwnerKey(const core::Pod& pod, std::string_view kind) {
  const auto* owner = client::ControllerOf(pod.metadata());
  if (owner == nullptr || owner->kind() != kind) return "";
  return client::MakeKey(pod.metadata().namespace_(), owner->name());
}

void FollowOwnedPods(Informers& informers, std::string kind, Expectations* expectations, WorkQueue* queue,
                     std::function<void(const core::Pod&)> orphan) {
  const auto without_owner = [orphan](const core::Pod& pod) {
    if (orphan) orphan(pod);
  };
  informers.pods->AddHandler({
      .added =
          [=](const PodPtr& pod) {
            const std::string key = OwnerKey(*pod, kind);
            if (key.empty()) return without_owner(*pod);
            // A pod that is first seen on its way out was not created just now.
            if (IsBeingDeleted(pod->metadata())) {
              expectations->DeletionObserved(key, pod->metadata().uid());
            } else {
              expectations->CreationObserved(key);
            }
            queue->Add(key);
          },
      .updated =
          [=](const PodPtr& before, const PodPtr& pod) {
            const std::string old_key = OwnerKey(*before, kind), key = OwnerKey(*pod, kind);
            if (!old_key.empty() && old_key != key) queue->Add(old_key);
            if (key.empty()) return without_owner(*pod);
            if (IsBeingDeleted(pod->metadata())) expectations->DeletionObserved(key, pod->metadata().uid());
            queue->Add(key);
          },
      .deleted =
          [=](const PodPtr& pod) {
            const std::string key = OwnerKey(*pod, kind);
            if (key.empty()) return;
            expectations->DeletionObserved(key, pod->metadata().uid());
            queue->Add(key);
          },
  });
}

Task<void> RunQueue(asio::any_io_executor executor, std::string what, client::EventRecorder* events, WorkQueue* queue) {
  TaskGroup group(executor);
  group.Spawn(what + " events", events->Run());
  group.Spawn(what + "s", queue->Run());
  co_await group.Join();
}

}  // namespace skiff::controlplane
