// What a CNI plugin prints: results in the version that was asked for, and errors. Specification 1.1.0, section 5.
#ifndef SKIFF_CNI_PLUGIN_RESULT_H_
#define SKIFF_CNI_PLUGIN_RESULT_H_

#include <string>
#include <vector>

#include "cni/plugin/request.h"
#include "cni/plugin/wire.h"

namespace skiff::cni {

std::string AddResult(const Request& request, const Wire& wire, const std::vector<Ip>& addresses);
std::string LoopbackResult(const Request& request);
std::string VersionResult(const std::string& asked);
std::string ErrorResult(const Status& status, const std::string& cni_version);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_RESULT_H_
