// What a configuration must be, beyond its types, in upstream's words (pkg/kubelet/apis/config/validation), and what
// this kubelet does not do. Thread-safe.
#ifndef SKIFF_KUBELET_CONFIG_CHECKS_H_
#define SKIFF_KUBELET_CONFIG_CHECKS_H_

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kubelet/config.h"

namespace skiff::kubelet {

// A taint of the document as Go prints it: "{key value NoSchedule <nil>}".
std::string TaintText(const nlohmann::json& taint);

// What is wrong with the "logging" section, each as "logging.format: Invalid value: ...".
std::vector<std::string> LoggingProblems(const nlohmann::json& document, const Config& config);

// What is wrong with everything else, in the order in which upstream says it.
std::vector<std::string> ConfigProblems(const nlohmann::json& document, const Config& config, bool cgroup_v2);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_CHECKS_H_
