// Runs one CNI invocation: specification 1.1.0. Blocking.
#ifndef SKIFF_CNI_PLUGIN_PLUGIN_H_
#define SKIFF_CNI_PLUGIN_PLUGIN_H_

#include <functional>
#include <string>

#include "cni/plugin/request.h"
#include "cni/plugin/wire.h"

namespace skiff::cni {

struct Outcome {
  int exit_code = 0;
  std::string out;  // for standard output
};

// kLoopback: the plugin named `loopback` that containerd runs beside every network, to bring up lo; the same program
// under that name, so that a node needs no other package's.
Outcome RunPlugin(const std::function<const char*(const char*)>& getenv, const std::string& input,
                  PluginType type = PluginType::kPod, Removal removal = Removal::kNow);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_PLUGIN_H_
