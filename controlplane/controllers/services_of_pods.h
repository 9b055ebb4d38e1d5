// Calls back with the keys of the services that a change of a pod, service or node may concern. For the controllers
// that keep endpoints.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_SERVICES_OF_PODS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_SERVICES_OF_PODS_H_

#include <functional>
#include <string>
#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

void WatchServices(Informers& informers, std::function<void(const std::string& key)> enqueue);
// The pods that a service's selector matches, in name order.
std::vector<PodPtr> PodsOfService(const Informers& informers, const core::Service& service);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_SERVICES_OF_PODS_H_
