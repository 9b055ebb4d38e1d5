// The config maps, secrets and service account tokens that the node's pods refer to, for volumes and for environment
// variables. An interface with a real form (object_cache.h: cached reads through the API) and fakes in tests. Loop
// only.
#ifndef SKIFF_KUBELET_VOLUME_OBJECT_SOURCE_H_
#define SKIFF_KUBELET_VOLUME_OBJECT_SOURCE_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::kubelet {

using k8s::io::api::core::v1::ConfigMap;
using k8s::io::api::core::v1::NodeSelector;
using k8s::io::api::core::v1::PersistentVolume;
using k8s::io::api::core::v1::PersistentVolumeClaim;
using k8s::io::api::core::v1::Pod;
using k8s::io::api::core::v1::Secret;

struct TokenRequest {
  std::string ns, service_account, audience;  // audience "": the API server's own
  int64_t expiration_seconds = 3600;
  std::string pod_name, pod_uid;  // the token is bound to this pod
};

struct Token {
  std::string token;
  std::chrono::system_clock::time_point expires;  // as the API server's clock has it
};

class ObjectSource {
 public:
  virtual ~ObjectSource() = default;

  // Errors carry the API server's words (`configmap "x" not found` for kNotFound): they go into events as they are.
  virtual Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string ns, std::string name) = 0;
  virtual Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string ns, std::string name) = 0;
  // Cached until 80% of its life (or 24 hours) has passed; then a new one is asked for, and while that fails and the
  // old one still lives, the old one is given.
  virtual Task<StatusOr<Token>> GetToken(TokenRequest request) = 0;

  // Read each time: they are asked for once a pod.
  virtual Task<StatusOr<std::shared_ptr<const PersistentVolumeClaim>>> GetClaim(std::string ns, std::string name) {
    co_return NotFound("persistentvolumeclaims \"", name, "\" not found");
  }
  virtual Task<StatusOr<std::shared_ptr<const PersistentVolume>>> GetVolume(std::string name) {
    co_return NotFound("persistentvolumes \"", name, "\" not found");
  }

  // What a pod refers to may be cached (and followed) from RegisterPod until UnregisterPod of its uid. A registered pod
  // is registered again after its spec changed. Reads for pods that are not registered work, uncached.
  virtual void RegisterPod(const Pod& pod) = 0;
  virtual void UnregisterPod(const std::string& uid) = 0;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_OBJECT_SOURCE_H_
