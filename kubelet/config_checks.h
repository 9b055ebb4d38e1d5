// What a configuration must be, beyond its types, in upstream's words (pkg/kubelet/apis/config/validation), and what
// this kubelet does not do. Thread-safe.
#ifndef SKIFF_KUBELET_CONFIG_CHECKS_H_
#define SKIFF_KUBELET_CONFIG_CHECKS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kubelet/config.h"

namespace skiff::kubelet {

// How many CPUs a list names ("0-3,8").
StatusOr<int> CountCpus(std::string_view list);

// Whether some taints have this effect, and whether memory of this kind can be reserved on a NUMA node.
bool IsTaintEffect(std::string_view effect);
bool IsReservableMemory(std::string_view resource);

// A taint of the document as Go prints it: "{key value NoSchedule <nil>}".
std::string TaintText(const nlohmann::json& taint);

// The first gate that is unknown or locked to another value.
Status CheckFeatureGates(const std::map<std::string, bool>& gates);

// The labels that the kubelet gives its own node (--node-labels).
Status CheckNodeLabels(const std::map<std::string, std::string>& labels);

// What is wrong with the "logging" section, each as "logging.format: Invalid value: ...".
std::vector<std::string> LoggingProblems(const nlohmann::json& document, const Config& config);

// What is wrong with everything else, in the order in which upstream says it.
std::vector<std::string> ConfigProblems(const nlohmann::json& document, const Config& config, bool cgroup_v2);

// The amounts of kubeReserved or systemReserved: known resources, not negative.
Status CheckReserved(const std::map<std::string, std::string>& amounts);
// Those of qosReserved: percentages of memory.
Status CheckQosReserved(const std::map<std::string, std::string>& percentages);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_CHECKS_H_
