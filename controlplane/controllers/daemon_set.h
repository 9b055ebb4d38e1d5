// The computed part of the daemon set controller: pure.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_DAEMON_SET_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_DAEMON_SET_H_

#include <string>

#include "controlplane/controllers/informers.h"

namespace skiff::controlplane {

// The set's pod for a node: bound to it by affinity, with the tolerations that every daemon has.
core::Pod DaemonPod(const apps::DaemonSet& set, const std::string& node, const std::string& hash);

struct DaemonFit {
  bool start = false;  // a pod should be there
  bool stay = false;   // one that is there may go on
};
DaemonFit DaemonFits(const apps::DaemonSet& set, const core::Node& node);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_DAEMON_SET_H_
