// Checks of single values of the configuration, shared by the file's and the flags' reading, in upstream's words. Pure,
// thread-safe.
#ifndef SKIFF_KUBELET_CONFIG_VALUE_CHECKS_H_
#define SKIFF_KUBELET_CONFIG_VALUE_CHECKS_H_

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::kubelet {

// How many CPUs a list names ("0-3,8").
StatusOr<int> CountCpus(std::string_view list);

// Whether some taints have this effect, and whether memory of this kind can be reserved on a NUMA node.
bool IsTaintEffect(std::string_view effect);
bool IsReservableMemory(std::string_view resource);

// The first gate that is unknown or locked to another value.
Status CheckFeatureGates(const std::map<std::string, bool>& gates);

// The labels that the kubelet gives its own node (--node-labels).
Status CheckNodeLabels(const std::map<std::string, std::string>& labels);

// The amounts of kubeReserved or systemReserved: known resources, not negative.
Status CheckReserved(const std::map<std::string, std::string>& amounts);
// Those of qosReserved: percentages of memory.
Status CheckQosReserved(const std::map<std::string, std::string>& percentages);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_VALUE_CHECKS_H_
