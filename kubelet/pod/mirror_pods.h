// The API server's images of static pods: made once the node is registered, made again when somebody deletes them or
// when the manifest has changed, deleted when the static pod has ended for good. Level-triggered: Notify says "look
// again". Loop only. Upstream: kubernetes.io/docs/reference/glossary/?all=true#term-mirror-pod.
#ifndef SKIFF_KUBELET_POD_MIRROR_PODS_H_
#define SKIFF_KUBELET_POD_MIRROR_PODS_H_

#include <functional>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

class MirrorApi {
 public:
  virtual ~MirrorApi() = default;
  virtual Task<Status> Create(Pod pod) = 0;  // kAlreadyExists
  // At once (grace 0), only if the uid still fits. kNotFound, kAborted (another uid).
  virtual Task<Status> Delete(std::string ns, std::string name, std::string uid) = 0;
};

struct MirrorHooks {
  std::function<std::vector<PodPtr>()> static_pods;  // that should run now
  std::function<std::vector<PodPtr>()> mirrors;      // as the API server has them
  std::function<PodPtr(const std::string& ns, const std::string& name)> in_api;
  // The uid of the Node object; "" while there is none to own a mirror pod, or it is being deleted.
  std::function<std::string()> node_uid;
  // A static pod of that name has not ended yet.
  std::function<bool(const std::string& ns, const std::string& name)> ending;
  // The pod waits for another of its name to end, whose mirror is still to be seen. May be empty.
  std::function<bool(const Pod& pod)> waits;
  // All sources have been seen, so that a mirror pod without a static pod is left over.
  std::function<bool()> complete;
};

class MirrorPods {
 public:
  MirrorPods(asio::any_io_executor executor, std::string node_name, MirrorApi& api, Clock& clock, MirrorHooks hooks)
      : node_name_(std::move(node_name)), api_(api), clock_(clock), hooks_(std::move(hooks)), wakeup_(executor) {}

  void Notify() { wakeup_.Notify(); }
  Task<void> Run();  // until cancelled
  // One look at everything. False if something has to be tried again.
  Task<bool> Pass();

 private:
  std::string node_name_;
  MirrorApi& api_;
  Clock& clock_;
  MirrorHooks hooks_;
  Wakeup wakeup_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_MIRROR_PODS_H_
