// Makes sure that a container's image is on the node and that its pod may use it: pull policies, credentials (of pull
// secrets, of the node, of provider plugins), records of who pulled what, back-off, rate limit, one pull at a time or
// as many as the configuration allows. Events, reasons and metrics are upstream's. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_
#define SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "client/events.h"
#include "client/rate_limit.h"
#include "cri/runtime.h"
#include "kubelet/pod/types.h"
#include "kubelet/runtime/backoff.h"
#include "kubelet/runtime/credential_plugins.h"
#include "kubelet/runtime/keyring.h"
#include "kubelet/runtime/pull_records.h"
#include "kubelet/runtime/start_queue.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

// gRPC's error as upstream's messages show it: "rpc error: code = NotFound desc = ...".
std::string GrpcErrorText(const Status& status);

struct ImagePullerOptions {
  int parallel = 1;      // 1: one after the other
  double qps = 0;        // registryPullQPS; 0: no limit
  int burst = 10;        // registryBurst
  std::string root_dir;  // for records of pulls and the node's docker configuration; "": neither
  PullVerification verification = PullVerification::kNeverVerifyPreloadedImages;
  std::vector<std::string> allowlist;
  CredentialPlugins* plugins = nullptr;  // outlives the puller; null: none
  metrics::Registry* metrics = nullptr;
};

class ImagePuller {
 public:
  ImagePuller(asio::any_io_executor executor, cri::Runtime& runtime, Clock& clock, client::EventSink& events,
              ObjectSource& objects, ImagePullerOptions options);

  // Once, before the first pod: makes records of what an earlier kubelet began to pull.
  Task<void> Recover();

  struct Result {
    std::string image_ref;                      // what CreateContainer gets
    std::optional<::runtime::v1::Image> image;  // .. as the runtime just described it, where it did
    std::string reason, message;  // set on failure: ErrImagePull, ImagePullBackOff, ErrImageNeverPull, ...
    std::chrono::nanoseconds retry_after{0};
  };
  // What the runtime said of an image before Ensure asks.
  struct Ahead {
    std::string image;
    std::optional<StatusOr<::runtime::v1::ImageStatusResponse>> answer;
    SteadyTime at;
  };
  // Asks while the pod's sandbox is made, so that Ensure need not. Only asks: it tells nothing and counts nothing.
  Task<void> Ask(PodPtr pod, core::Container container, std::shared_ptr<Ahead> out);
  // `about` is the container, for events. `ahead` may be null.
  Task<Result> Ensure(PodPtr pod, core::Container container, ::runtime::v1::PodSandboxConfig sandbox,
                      client::ObjectReference about, std::shared_ptr<Ahead> ahead = nullptr);
  void ForgetPod(const std::string& uid);
  // The image was removed by a call that began then: its record goes too, unless it was pulled again meanwhile.
  void ForgetImage(const std::string& image_ref, WallTime began);
  // All images that are not among these are gone.
  void ForgetOthers(const std::set<std::string>& names, WallTime began);

 private:
  Task<StatusOr<::runtime::v1::ImageStatusResponse>> Inspect(::runtime::v1::ImageSpec spec,
                                                             std::shared_ptr<Ahead> ahead);
  Task<std::vector<std::shared_ptr<const Secret>>> PullSecrets(PodPtr pod);
  Task<std::vector<Credential>> CredentialsFor(const std::string& image, PodPtr pod,
                                               const std::vector<std::shared_ptr<const Secret>>& secrets);
  // Whether the image that is there may be used as it is; fills *credentials where it had to look them up.
  Task<bool> MayUse(const std::string& image, const std::string& image_ref, PodPtr pod,
                    const std::vector<std::shared_ptr<const Secret>>& secrets,
                    std::optional<std::vector<Credential>>* credentials);
  Task<Result> Pull(PodPtr pod, const std::string& requested, ::runtime::v1::ImageSpec spec,
                    std::vector<Credential> credentials, ::runtime::v1::PodSandboxConfig sandbox,
                    client::ObjectReference about);
  void Count(const std::string& policy, const char* present, const char* required);

  cri::Runtime& runtime_;
  Clock& clock_;
  client::EventSink& events_;
  ObjectSource& objects_;
  ImagePullerOptions options_;
  std::shared_ptr<StartQueue> pulls_;
  client::TokenBucket rate_;
  std::unique_ptr<PullRecords> records_;
  Backoff backoff_;
  std::map<std::string, std::string, std::less<>> last_error_;  // by back-off key
  int64_t order_ = 0;
  metrics::Family<metrics::Counter>*requests_ = nullptr, *checks_ = nullptr;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_IMAGE_PULLER_H_
