// What every controller is given and gives. A controller registers its handlers when it is made, before the informers
// run; Run begins when the caches are full and ends when it is cancelled.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLER_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLER_H_

#include <memory>
#include <string>

#include "client/events.h"
#include "controlplane/controllers/controllers.h"
#include "controlplane/controllers/informers.h"
#include "controlplane/controllers/work_queue.h"

namespace skiff::controlplane {

struct ControllerContext {
  std::shared_ptr<client::Rest> rest;
  std::shared_ptr<Informers> informers;
  ControllerOptions options;
  Clock& clock() const { return rest->clock(); }
  asio::any_io_executor executor() const { return rest->executor(); }
};

class Controller {
 public:
  virtual ~Controller() = default;
  virtual Task<void> Run() = 0;
};

std::unique_ptr<Controller> MakeNamespaceController(const ControllerContext& context);
std::unique_ptr<Controller> MakeServiceAccountController(const ControllerContext& context);
std::unique_ptr<Controller> MakeRootCaController(const ControllerContext& context);
std::unique_ptr<Controller> MakeReplicaSetController(const ControllerContext& context);
std::unique_ptr<Controller> MakeDeploymentController(const ControllerContext& context);
std::unique_ptr<Controller> MakeEndpointSliceController(const ControllerContext& context);
std::unique_ptr<Controller> MakeEndpointsController(const ControllerContext& context);
std::unique_ptr<Controller> MakeNodeIpamController(const ControllerContext& context);
std::unique_ptr<Controller> MakeNodeLifecycleController(const ControllerContext& context);
std::unique_ptr<Controller> MakeGarbageCollector(const ControllerContext& context);
std::unique_ptr<Controller> MakePodGcController(const ControllerContext& context);
std::unique_ptr<Controller> MakeDaemonSetController(const ControllerContext& context);
std::unique_ptr<Controller> MakeJobController(const ControllerContext& context);
std::unique_ptr<Controller> MakeDisruptionController(const ControllerContext& context);
std::unique_ptr<Controller> MakeClaimProtectionController(const ControllerContext& context);
std::unique_ptr<Controller> MakeVolumeProtectionController(const ControllerContext& context);
std::unique_ptr<Controller> MakeAttributesClassProtectionController(const ControllerContext& context);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_CONTROLLER_H_
