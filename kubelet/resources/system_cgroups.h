// The cgroups of what runs on the node and is no pod: where the kubelet itself is, and, where the configuration names
// cgroups for it (kubeletCgroups) or for the node's other processes (systemCgroups), that they are in these. Their
// figures are the system containers of /stats/summary. Blocking reads and writes, small; loop only.
#ifndef SKIFF_KUBELET_RESOURCES_SYSTEM_CGROUPS_H_
#define SKIFF_KUBELET_RESOURCES_SYSTEM_CGROUPS_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/status.h"
#include "kubelet/resources/cgroups.h"

namespace skiff::kubelet {

// The cgroup that /proc/PID/cgroup tells of: on v1 the one that cpu and memory have together (what systemd keeps, where
// there is systemd). Error: there is none such.
StatusOr<std::string> ParseProcessCgroup(std::string_view text, bool v2);

class SystemCgroups {
 public:
  struct Options {
    std::string kubelet, system;  // configured ones; "": processes are left where they are
    int64_t oom_score_adj = 0;    // the kubelet's
    pid_t pid = 0;                // the kubelet's
    std::string proc = "/proc";
  };
  // Error: what is configured cannot be.
  static StatusOr<SystemCgroups> Make(Options options, Cgroups& cgroups);

  // Moves what is elsewhere and looks where the kubelet is. Call it every `period`. An error leaves things for the next
  // call.
  Status Ensure();
  std::chrono::minutes period() const;

  // Absolute paths; "" where there is none, or not yet.
  const std::string& kubelet() const { return kubelet_; }
  const std::string& system() const { return options_.system; }

 private:
  SystemCgroups(Options options, Cgroups& cgroups, Dir proc)
      : options_(std::move(options)), cgroups_(&cgroups), proc_(std::move(proc)), kubelet_(options_.kubelet) {}
  Status EnsureKubelet();
  Status EnsureSystem();
  StatusOr<bool> InHostPidNamespace() const;
  bool IsKernelThread(pid_t pid) const;

  Options options_;
  Cgroups* cgroups_;
  Dir proc_;
  std::string kubelet_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_SYSTEM_CGROUPS_H_
