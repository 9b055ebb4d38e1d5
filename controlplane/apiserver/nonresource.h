// Paths that are no resources: health, version, metrics, keys, the index.
#ifndef SKIFF_CONTROLPLANE_APISERVER_NONRESOURCE_H_
#define SKIFF_CONTROLPLANE_APISERVER_NONRESOURCE_H_

#include "controlplane/apiserver/discovery.h"
#include "controlplane/apiserver/openapi.h"
#include "controlplane/apiserver/server_parts.h"

namespace skiff::controlplane {

Task<Status> ServeNonResource(ServerParts& parts, const Discovery& discovery, const OpenApi& openapi,
                              http::Exchange& exchange, Context& context);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_NONRESOURCE_H_
