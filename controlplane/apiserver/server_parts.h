// What the request handlers share. Owned by the ApiServer, lives as long as it.
#ifndef SKIFF_CONTROLPLANE_APISERVER_SERVER_PARTS_H_
#define SKIFF_CONTROLPLANE_APISERVER_SERVER_PARTS_H_

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "controlplane/apiserver/authn.h"
#include "controlplane/apiserver/authz.h"
#include "controlplane/apiserver/negotiation.h"
#include "controlplane/apiserver/registry.h"

namespace skiff::controlplane {

class KubeletConnections;

struct ServerParts {
  asio::io_context& loop;
  Clock& clock;
  Store& store;
  Kinds& kinds;
  Admission& admission;
  Registry& registry;
  ServiceAccountTokens& tokens;
  Authenticator& authenticator;
  Authorizer& authorizer;
  KubeletConnections& kubelets;
  metrics::Registry& metrics;
  std::string advertised;  // "10.0.0.1:6443"
  const bool& ready;
  bool controllers_inside = false;  // the scheduler and the controllers run in this process
};

// One resource request in the hands of its handler.
struct Call {
  http::Exchange& exchange;
  Context& context;
  const Kind& kind;
  const api::Subresource* subresource;  // null for the main resource
  Output output;

  const http::Request& request() const { return exchange.request(); }
  const RequestInfo& info() const { return context.info; }
};

// The handlers. Each answers, or returns the error to answer with.
Task<Status> ServeGet(ServerParts& parts, Call& call);
Task<Status> ServeList(ServerParts& parts, Call& call);
Task<Status> ServeWatch(ServerParts& parts, Call& call);
Task<Status> ServeCreate(ServerParts& parts, Call& call);
Task<Status> ServeUpdate(ServerParts& parts, Call& call);
Task<Status> ServePatch(ServerParts& parts, Call& call);
Task<Status> ServeDelete(ServerParts& parts, Call& call);
Task<Status> ServeDeleteCollection(ServerParts& parts, Call& call);
// Subresources and reviews with their own bodies: nothing if it is none of them.
Task<std::optional<Status>> ServeSpecial(ServerParts& parts, Call& call);
Task<Status> ServeEviction(ServerParts& parts, Call& call);
Task<Status> ServeComponentStatuses(ServerParts& parts, Call& call);
// A Status of success: what subresources answer that give back no object.
Task<Status> AnswerSuccess(Call& call, int code);
// log, exec, attach, portforward, proxy.
Task<Status> ServeStream(ServerParts& parts, Call& call);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_SERVER_PARTS_H_
