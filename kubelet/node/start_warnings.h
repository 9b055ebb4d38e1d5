// What an operator should know of this machine before pods run on it. Pure.
#ifndef SKIFF_KUBELET_NODE_START_WARNINGS_H_
#define SKIFF_KUBELET_NODE_START_WARNINGS_H_

#include <string>
#include <utility>
#include <vector>

namespace skiff::kubelet {

struct StartFacts {
  bool cgroup_v2 = true;
  bool swap = false;         // is on
  bool tmpfs_noswap = true;  // the kernel keeps a tmpfs out of it
};

// Reason and message of each event on the Node.
std::vector<std::pair<std::string, std::string>> StartWarnings(const StartFacts& facts);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_START_WARNINGS_H_
