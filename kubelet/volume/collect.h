// Gathers what a written volume (configMap, secret, downwardAPI, projected) consists of, from the objects that it
// names. Loop only.
#ifndef SKIFF_KUBELET_VOLUME_COLLECT_H_
#define SKIFF_KUBELET_VOLUME_COLLECT_H_

#include <memory>

#include "base/async.h"
#include "kubelet/volume/object_source.h"
#include "kubelet/volume/payload.h"
#include "kubelet/volume/volume_kind.h"

namespace skiff::kubelet {

// `volume` is one of the pod's and of a written kind. Errors are the API server's, and upstream's for what is missing.
Task<StatusOr<Payload>> CollectPayload(ObjectSource& objects, std::shared_ptr<const Pod> pod,
                                       k8s::io::api::core::v1::Volume volume, VolumeKind kind, Allocatable allocatable);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_COLLECT_H_
