// The computed part of the endpoints controller: pure.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINTS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINTS_H_

#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

// Ports that lead to the same addresses share a subset.
google::protobuf::RepeatedPtrField<core::EndpointSubset> ComputeSubsets(const core::Service& service,
                                                                        const std::vector<PodPtr>& pods);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_ENDPOINTS_H_
