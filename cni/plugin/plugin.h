// Runs one CNI invocation: specification 1.1.0. Blocking.
#ifndef SKIFF_CNI_PLUGIN_PLUGIN_H_
#define SKIFF_CNI_PLUGIN_PLUGIN_H_

#include <functional>
#include <string>

namespace skiff::cni {

struct Outcome {
  int exit_code = 0;
  std::string out;  // for standard output
};

Outcome RunPlugin(const std::function<const char*(const char*)>& getenv, const std::string& input);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_PLUGIN_H_
