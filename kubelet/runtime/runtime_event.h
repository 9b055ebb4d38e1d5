// What an event of the runtime says, in short: enough to tell whether it is news. Its own copy of the statuses is not
// taken for the pod's state: the runtime reads it before it stamps the time, it covers one sandbox of the pod, and it
// may come late or twice. Plain values; any thread.
#ifndef SKIFF_KUBELET_RUNTIME_RUNTIME_EVENT_H_
#define SKIFF_KUBELET_RUNTIME_RUNTIME_EVENT_H_

#include <map>
#include <set>
#include <string>

#include "runtime/v1/api.pb.h"

namespace skiff::kubelet {

struct RuntimeEvent {
  std::string pod_uid;                               // "": the event does not say
  std::string id;                                    // the container or sandbox that it is about
  std::map<std::string, int> sandboxes, containers;  // id -> state, as the CRI counts them
  std::set<std::string> removed;                     // ids
  bool stopped = false;                              // somebody has to act on it
  bool reason_may_follow = false;                    // killed, and the runtime has not said yet by whom
  void Add(const RuntimeEvent& later);               // both together; `later` wins
};

RuntimeEvent ReadEvent(const ::runtime::v1::ContainerEventResponse& event);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_RUNTIME_EVENT_H_
