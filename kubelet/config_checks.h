// What upstream's validation says of the settings that divide the node's resources. Pure.
#ifndef SKIFF_KUBELET_CONFIG_CHECKS_H_
#define SKIFF_KUBELET_CONFIG_CHECKS_H_

#include <string>
#include <vector>

#include "kubelet/config.h"

namespace skiff::kubelet {

// Adds upstream's sentences ("invalid configuration: imageGCLowThresholdPercent ..."), and a refusal of policies that
// this kubelet does not have.
void CheckResourceSettings(const Config& config, std::vector<std::string>* problems);

// The number of CPUs that a list such as "0-3,8" names. Error: what is wrong with it.
StatusOr<int> CountCpus(std::string_view list);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_CHECKS_H_
