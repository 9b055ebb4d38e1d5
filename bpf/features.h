// What the data path wants of the kernel beyond what every kernel has, asked of the kernel itself and not of its
// version. Blocking (a few milliseconds for all).
#ifndef SKIFF_BPF_FEATURES_H_
#define SKIFF_BPF_FEATURES_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace skiff::bpf {

struct Feature {
  const char* name;
  const char* since;    // the upstream release of Linux that brought it; configurations and lockdown can still lack it
  const char* without;  // what does not work then
  bool required;        // the data path does not start without it
  bool (*probe)();      // whether the running kernel has it; errors of other kinds count as "has"
};

// In a fixed order.
const std::vector<Feature>& Features();
// Those of `features` whose probe says no.
std::vector<Feature> Missing(const std::vector<Feature>& features = Features());
// "bpf_set_retval (Linux 5.18), ..." of the required ones among them; "" if there are none.
std::string RequiredNames(const std::vector<Feature>& missing);
// An error of loading, with what the kernel lacks for it in front.
Status Explain(const Status& status, const std::vector<Feature>& missing);

}  // namespace skiff::bpf

#endif  // SKIFF_BPF_FEATURES_H_
