// The command line's flags with their values, as /flagz shows them: every flag of upstream's kubelet, those that were
// given with what they were given. Pure; any thread. Upstream: k8s.io/component-base/zpages/flagz.
#ifndef SKIFF_KUBELET_SERVER_FLAGZ_H_
#define SKIFF_KUBELET_SERVER_FLAGZ_H_

#include <string>
#include <vector>

namespace skiff::kubelet {

// The whole page for a program started with `arguments` (without its own name). The command line was accepted before,
// so that what is not a flag of the kubelet is left out.
std::string FlagzPage(const std::vector<std::string>& arguments);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_FLAGZ_H_
