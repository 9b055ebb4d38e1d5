// The scale subresource: the replica count of any workload in one shape.
#ifndef SKIFF_CONTROLPLANE_APISERVER_SCALE_H_
#define SKIFF_CONTROLPLANE_APISERVER_SCALE_H_

#include "controlplane/apiserver/server_parts.h"

namespace skiff::controlplane {

Task<Status> ServeScale(ServerParts& parts, Call& call);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_SCALE_H_
