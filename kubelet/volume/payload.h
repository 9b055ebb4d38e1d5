// What goes into configMap, secret, downwardAPI and projected volumes, from objects already at hand. Pure functions.
#ifndef SKIFF_KUBELET_VOLUME_PAYLOAD_H_
#define SKIFF_KUBELET_VOLUME_PAYLOAD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/volume/atomic_writer.h"

namespace skiff::kubelet {

using ItemList = google::protobuf::RepeatedPtrField<k8s::io::api::core::v1::KeyToPath>;
using DownwardItems = google::protobuf::RepeatedPtrField<k8s::io::api::core::v1::DownwardAPIVolumeFile>;

// `items` empty: every key. A key that an item names and the object lacks is an error unless `optional`:
// "configmap references non-existent config key: x", "references non-existent secret key: x".
Status AddConfigMap(const k8s::io::api::core::v1::ConfigMap& object, const ItemList& items, mode_t default_mode,
                    bool optional, Payload* out);
Status AddSecret(const k8s::io::api::core::v1::Secret& object, const ItemList& items, mode_t default_mode,
                 bool optional, Payload* out);

// What stands for a limit that a container does not set.
struct Allocatable {
  int64_t milli_cpu = 0, memory = 0, ephemeral_storage = 0;
};
Status AddDownwardApi(const k8s::io::api::core::v1::Pod& pod, const DownwardItems& items, mode_t default_mode,
                      const Allocatable& allocatable, Payload* out);

// One field of a pod as text ("metadata.labels['app']", "metadata.annotations", "metadata.uid"). Error:
// "unsupported fieldPath: x".
StatusOr<std::string> PodFieldAsString(const k8s::io::api::core::v1::Pod& pod, const std::string& field_path);

// One resource of a container as text, rounded up to the divisor ("limits.cpu", "requests.memory"). Errors:
// "container x not found", "unsupported container resource : x".
StatusOr<std::string> ContainerResourceAsString(const k8s::io::api::core::v1::Pod& pod,
                                                const k8s::io::api::core::v1::ResourceFieldSelector& selector,
                                                const std::string& container, const Allocatable& allocatable);

// The uid that all containers of the pod run as, if they name one and the same: it owns service account tokens.
std::optional<int64_t> VolumeUserOf(const k8s::io::api::core::v1::Pod& pod);

// The size of a memory-backed volume: the smallest of the node's allocatable memory, the pod's memory limit (if all
// containers have one) and `size_limit` (0: none).
int64_t TmpfsSize(const k8s::io::api::core::v1::Pod& pod, int64_t allocatable_memory, int64_t size_limit);

// Several errors as one, as upstream joins them: "a", or "[a, b]" without repeats. OK for none.
Status Aggregate(const std::vector<std::string>& errors);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_PAYLOAD_H_
