// The cgroups of pods and QoS classes, on v1 (one hierarchy a controller) and v2. Behind a door: the mount point is
// given, so that tests have a tree of their own. Small file writes, and with the systemd driver calls to systemd, which
// may take as long as SystemdOptions::limit each: what changes pods' cgroups while the loop runs is a Task, which waits
// for systemd on the pool, one change after the other in the order of asking; without systemd it does not wait at all.
// Loop only.
#ifndef SKIFF_KUBELET_RESOURCES_CGROUPS_H_
#define SKIFF_KUBELET_RESOURCES_CGROUPS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/async_lock.h"
#include "base/status.h"
#include "kubelet/resources/cgroup_names.h"
#include "kubelet/resources/pod_cgroup_limits.h"
#include "kubelet/resources/pod_resources.h"
#include "kubelet/resources/systemd_slices.h"

namespace skiff::kubelet {

class Cgroups {
 public:
  struct Options {
    std::string mount = "/sys/fs/cgroup";
    CgroupNames names{"", false};
    bool enabled = true;  // --cgroups-per-qos; off: pods go below the root, nothing is made
    bool cfs_quota = true;
    int64_t period_micros = 100000;
    int64_t pids_limit = -1;
    std::vector<std::string> page_sizes;  // of huge pages that the kernel has: "2MB"
    SystemdSlices* slices = nullptr;      // with the systemd driver
  };
  // Finds out the version by looking at the mount.
  explicit Cgroups(Options options);

  bool v2() const { return v2_; }
  // kubepods, if it is made here limited to what pods may have in total, and the two class cgroups.
  Status MakeRoots(const CgroupResources& top);
  // The same limits for kubepods as an earlier kubelet left it. May fail until pods use less: v1 refuses a memory limit
  // below what is in use.
  Task<Status> LimitPods(CgroupResources top);
  // Limits a cgroup that an operator made for the system or for Kubernetes. Error: it is not there.
  Status LimitReserved(const std::string& name, const CgroupResources& resources);
  // Into a cgroup that is made where it is not there; in every v1 hierarchy. "/system/kubelet", whatever the driver.
  Status MoveProcess(std::string_view cgroup, pid_t pid);
  // Those in no cgroup but the root.
  StatusOr<std::vector<pid_t>> RootProcesses() const;
  Task<Status> MakePod(Pod pod);  // makes or brings up to date
  // In every hierarchy that MakePod makes it in: of one that failed halfway nothing was limited. One that is about to
  // be removed is not there any more.
  bool PodExists(const Pod& pod) const;
  // Where its memory is accounted, which is where its containers are, whatever else is missing.
  bool PodHasMemoryCgroup(const Pod& pod) const;
  PodCgroupLimits ReadPod(const Pod& pod) const;
  std::optional<PodMemory> ReadPodMemory(const Pod& pod) const;  // nullopt: pods have none
  // Removes a pod's cgroups of whatever class; kills what is left in them first. Idempotent.
  Task<Status> RemovePod(std::string uid);
  std::set<std::string> PodsOnDisk() const;
  // The share of the Burstable class: the sum of its pods' requests.
  Task<Status> SetBurstableMilliCpu(int64_t milli);
  const CgroupNames& names() const { return options_.names; }
  bool enabled() const { return options_.enabled; }

 private:
  std::vector<std::string> Hierarchies() const;  // all that may hold a pod's directory
  std::string HierarchyFor(std::string_view controller) const;
  Status Make(const std::string& path, const CgroupResources& resources);
  Status MakeDirectories(const std::string& path);
  Status Apply(const std::string& path, const CgroupResources& resources);
  // Once it has begun it goes on to its end, and its caller waits for that, cancelled or not. `operation`: for the
  // metric, "" to leave it out.
  Task<Status> InTurn(const char* operation, std::function<Status()> change);
  Status Erase(const std::string& uid);
  Status ApplyHugePages(const std::string& path, const HugePageLimits& limits);
  Status Remove(const std::string& directory);

  Options options_;
  bool v2_ = false;
  std::vector<std::string> v1_;  // "cpu,cpuacct", "memory", ...
  std::shared_ptr<AsyncLock> turn_ = std::make_shared<AsyncLock>();
  std::multiset<std::string> removing_;  // uids
};

// The sizes of huge pages that the kernel has, as it calls them. `directory` is /sys/kernel/mm/hugepages.
std::vector<std::string> HugePageSizes(const std::string& directory = "/sys/kernel/mm/hugepages");

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_CGROUPS_H_
