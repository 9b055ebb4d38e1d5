// The computed part of the replica set controller, for its tests.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_REPLICA_SET_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_REPLICA_SET_H_

#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

// `manage` is what making or deleting pods ended with.
apps::ReplicaSetStatus ReplicaSetStatusOf(const apps::ReplicaSet& set, const std::vector<PodPtr>& active,
                                          int terminating, const Status& manage, WallTime now);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_REPLICA_SET_H_
