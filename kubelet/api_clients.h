// The kubelet's clients of the API server, as upstream has them: what it does in general, heartbeats, and events have a
// rate limit each, so that a burst of one kind does not hold up the others.
#ifndef SKIFF_KUBELET_API_CLIENTS_H_
#define SKIFF_KUBELET_API_CLIENTS_H_

#include <memory>

#include "client/rest.h"
#include "kubelet/config.h"

namespace skiff::kubelet {

struct ApiClients {
  std::shared_ptr<client::Rest> general, heartbeats, events;
};

// kubeAPIQPS and kubeAPIBurst; no limit, but a time-out within the lease; eventRecordQPS and eventBurst. As in Go's
// client a rate of 0 is 5 and a burst of 0 is 10; a negative rate is none.
StatusOr<ApiClients> MakeApiClients(asio::any_io_executor executor, const client::Config& api, const Config& config);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_API_CLIENTS_H_
