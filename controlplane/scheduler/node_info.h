// What the scheduler knows of nodes: what they offer, what the pods on them (and those just assigned) take. Kept up to
// date by differences, so that scheduling a pod costs one look at each node. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_SCHEDULER_NODE_INFO_H_
#define SKIFF_CONTROLPLANE_SCHEDULER_NODE_INFO_H_

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

struct Amounts {
  int64_t milli_cpu = 0, memory = 0, ephemeral_storage = 0;
  std::map<std::string, int64_t> scalar;  // extended resources, hugepages

  void Add(const Amounts& other, int sign);
};

struct HostPort {
  std::string protocol, ip;  // "" and "0.0.0.0" are every address
  int32_t port = 0;
  bool Conflicts(const HostPort& other) const;
};

// What a pod takes of a node: the greater of its containers together and its greatest init container, with sidecars,
// pod-level requests and overhead, as upstream counts it.
struct PodNeeds {
  Amounts request;
  int64_t scored_cpu = 0, scored_memory = 0;  // with 100m and 200 MB for containers that ask for nothing
  std::vector<HostPort> ports;
};
PodNeeds NeedsOf(const core::Pod& pod);

struct NodeInfo {
  NodePtr node;  // null while only pods are known
  Amounts allocatable, used;
  int64_t allowed_pods = 0;
  int64_t scored_cpu = 0, scored_memory = 0;
  struct Placed {
    PodPtr pod;
    PodNeeds needs;
  };
  std::map<std::string, Placed> pods;  // by uid
};

class ClusterState {
 public:
  void SetNode(const NodePtr& node);
  void RemoveNode(const std::string& name);
  // A pod with a node, from the cache or assumed; again for the same uid replaces.
  void Place(const PodPtr& pod, const std::string& node);
  void Remove(const std::string& uid);
  bool IsPlaced(const std::string& uid) const { return where_.contains(uid); }
  const std::map<std::string, NodeInfo>& nodes() const { return nodes_; }
  size_t node_count() const;

 private:
  std::map<std::string, NodeInfo> nodes_;
  std::map<std::string, std::string> where_;  // pod uid -> node
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_SCHEDULER_NODE_INFO_H_
