// Makes sure that a container's image is on the node: pull policies, pull secrets, back-off, one pull at a time or as
// many as the configuration allows. Events and reasons are upstream's. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_
#define SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "client/events.h"
#include "cri/runtime.h"
#include "kubelet/pod/types.h"
#include "kubelet/runtime/backoff.h"
#include "kubelet/runtime/start_queue.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

// `name` as the runtime wants it: with a tag or digest. Error: what upstream says of a name that does not parse.
StatusOr<std::string> NormalizeImage(const std::string& name);

// Registry credentials of a pod's pull secrets (kubernetes.io/dockerconfigjson and dockercfg) for an image, most
// specific registry first. Unusable secrets are skipped.
std::vector<::runtime::v1::AuthConfig> CredentialsFor(const std::string& image,
                                                      const std::vector<std::shared_ptr<const Secret>>& secrets);

// gRPC's error as upstream's messages show it: "rpc error: code = NotFound desc = ...".
std::string GrpcErrorText(const Status& status);

class ImagePuller {
 public:
  ImagePuller(asio::any_io_executor executor, cri::Runtime& runtime, Clock& clock, client::EventSink& events,
              ObjectSource& objects, int parallel);

  struct Result {
    std::string image_ref;        // what CreateContainer gets
    std::string reason, message;  // set on failure: ErrImagePull, ImagePullBackOff, ErrImageNeverPull, ...
    std::chrono::nanoseconds retry_after{0};
  };
  // `about` is the container, for events.
  Task<Result> Ensure(PodPtr pod, core::Container container, ::runtime::v1::PodSandboxConfig sandbox,
                      client::ObjectReference about);
  void ForgetPod(const std::string& uid);

 private:
  Task<std::vector<std::shared_ptr<const Secret>>> PullSecrets(PodPtr pod);

  cri::Runtime& runtime_;
  Clock& clock_;
  client::EventSink& events_;
  ObjectSource& objects_;
  std::shared_ptr<StartQueue> pulls_;
  Backoff backoff_;
  std::map<std::string, std::string, std::less<>> last_error_;  // by back-off key
  int64_t order_ = 0;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_
