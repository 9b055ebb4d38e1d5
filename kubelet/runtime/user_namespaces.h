// Users of their own for pods (hostUsers: false): a range of the host's user and group ids a pod, on which its ids 0..
// are mapped. What a pod has stands in ROOT/pods/UID/userns, in upstream's form; those files are the only state, and go
// when the pod is over. Single-threaded, blocking on small files.
#ifndef SKIFF_KUBELET_RUNTIME_USER_NAMESPACES_H_
#define SKIFF_KUBELET_RUNTIME_USER_NAMESPACES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/async.h"
#include "base/status.h"
#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

struct IdRange {
  uint64_t first = 0, length = 0;
};

inline constexpr uint32_t kUserNamespaceUnit = 65536;

// Which ids pods may have: all but the first `ids_per_pod`, or what getsubids(1) says for the user "kubelet" where
// there is one. Errors if that cannot be cut into ranges for `max_pods` pods.
Task<StatusOr<IdRange>> KubeletIds(uint32_t ids_per_pod, int64_t max_pods);
// A line of getsubids: "0: kubelet 65536 7208960".
StatusOr<IdRange> ParseSubIds(std::string_view output);
Status CheckIds(const IdRange& ids, uint32_t ids_per_pod, int64_t max_pods);

// The first host id of the pod's range: what its file says, or a free one, which is written first. Errors in upstream's
// words for a file that is not usable, and when no range is free.
StatusOr<uint32_t> UserNamespaceOf(const std::string& root_dir, const std::string& uid, const IdRange& ids,
                                   uint32_t ids_per_pod);

// The CRI's option for a pod with that mapping.
::runtime::v1::UserNamespace MappedUsers(uint32_t first, uint32_t length);

// Whether the runtime's handler ("" is the default) can; an error for one that it does not know.
StatusOr<bool> HandlerMapsUsers(const ::runtime::v1::StatusResponse& runtime, std::string_view handler);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_USER_NAMESPACES_H_
