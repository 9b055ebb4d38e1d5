// What controllers ask about pods, and making them from a template. Pure functions but for PodControl.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_PODS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_PODS_H_

#include <string>
#include <vector>

#include "client/events.h"
#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

const core::PodCondition* FindPodCondition(const core::Pod& pod, std::string_view type);
bool IsPodReady(const core::Pod& pod);
// Ready for at least min_ready_seconds.
bool IsPodAvailable(const core::Pod& pod, int32_t min_ready_seconds, WallTime now);
bool IsPodTerminal(const core::Pod& pod);  // Succeeded or Failed
bool IsPodActive(const core::Pod& pod);    // neither terminal nor being deleted
bool IsBeingDeleted(const meta::ObjectMeta& metadata);

// How long until the first ready pod that is not yet available becomes so; 0 when there is none.
std::chrono::seconds NextAvailability(const std::vector<PodPtr>& pods, int32_t min_ready_seconds, WallTime now);

// Sorts the pods that should go first to the front: not scheduled, pending, not ready, cheap by
// controller.kubernetes.io/pod-deletion-cost, on nodes with many of `related`, recently ready, often restarted, young.
void SortForDeletion(std::vector<PodPtr>* pods, const std::vector<PodPtr>& related, WallTime now);

core::Pod PodFromTemplate(const core::PodTemplateSpec& template_spec, const google::protobuf::Message& owner);

// Upstream's hash over the template (api/go_dump.h) in the alphabet of generated names, as the labels
// pod-template-hash and controller-revision-hash have it. Existing sets are found by their template, not the hash.
std::string TemplateHash(const core::PodTemplateSpec& template_spec, int32_t collision_count, bool has_collisions);

// Creates and deletes pods for a controller and records upstream's events about it on the owner.
Task<Status> CreatePod(std::shared_ptr<client::Rest> rest, client::EventSink* events, core::Pod pod,
                       client::ObjectReference owner);
// kNotFound when it is gone already.
Task<Status> DeletePod(std::shared_ptr<client::Rest> rest, client::EventSink* events, PodPtr pod,
                       client::ObjectReference owner);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_PODS_H_
