// What the controllers that keep pods have in common: they follow the pods that are theirs, remember what they did and
// have not seen yet, and run their queue beside their events. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_OWNED_PODS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_OWNED_PODS_H_

#include <functional>
#include <string>

#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/expectations.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {

// The key of the pod's controller, where that is of this kind ("ReplicaSet"); "" where not.
std::string OwnerKey(const core::Pod& pod, std::string_view kind);

// Puts the owners of pods that come, change and go into the queue, and tells the expectations. `orphan`, where given,
// is called for pods without such an owner. All must outlive the informers.
void FollowOwnedPods(Informers& informers, std::string kind, Expectations* expectations, WorkQueue* queue,
                     std::function<void(const core::Pod&)> orphan = nullptr);

// Runs a controller's events and queue until cancelled. `what`: "replica set".
Task<void> RunQueue(asio::any_io_executor executor, std::string what, client::EventRecorder* events, WorkQueue* queue);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_OWNED_PODS_H_
