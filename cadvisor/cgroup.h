// The machine's control groups, v1 or v2, read relative to a held descriptor. A cgroup is named by its path below the
// hierarchies' roots: "/" is the machine, "/kubepods/burstable/pod.." a pod; the same in every v1 hierarchy, which is
// how kubelets and container runtimes lay them out. Kernel formats: Documentation/admin-guide/cgroup-v1 and
// cgroup-v2.rst.
#ifndef SKIFF_CADVISOR_CGROUP_H_
#define SKIFF_CADVISOR_CGROUP_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

class Cgroup;  // one cgroup's open directories

class CgroupTree {
 public:
  enum class Version { kV1, kV2 };

  // Looks below `sys`/fs/cgroup: v2 where its root says so (cgroup.controllers), else v1 with one directory or symlink
  // a controller. Hybrid hosts (v1 with an empty v2 tree at unified/) are v1. kNotFound where nothing is mounted.
  static StatusOr<CgroupTree> Detect(const Dir& sys);

  Version version() const { return version_; }
  bool Has(std::string_view controller) const;  // v1 names; "cpu" and "memory" on v2 as its root offers them
  bool has_psi() const { return has_psi_; }     // of the v2 root: pressure files exist

  // All errors name file and value. kNotFound when no hierarchy has the cgroup; single missing files only leave their
  // figures 0, as kernels differ in what they offer.
  StatusOr<CgroupStats> ReadStats(const std::string& path) const;
  StatusOr<CgroupSpec> ReadSpec(const std::string& path) const;
  // The two figures that decide evictions and node usage, at a tenth of the cost of ReadStats: CPU usage and memory
  // (usage, working set, inactive and active file, rss, page faults).
  StatusOr<CgroupStats> ReadCpuAndMemory(const std::string& path) const;

  bool Exists(const std::string& path) const;
  // `path` and all below it, sorted; the union of the v1 hierarchies that count (cpu, cpuacct, memory).
  StatusOr<std::vector<std::string>> List(const std::string& path) const;
  // Processes in the cgroup itself (not below). Those of other PID namespaces read as 0 and are left out.
  StatusOr<std::vector<pid_t>> Pids(const std::string& path) const;

 private:
  CgroupTree() = default;
  StatusOr<Cgroup> OpenCgroup(const std::string& path) const;

  Version version_ = Version::kV1;
  bool has_psi_ = false;
  std::map<std::string, std::shared_ptr<Dir>, std::less<>> roots_;  // by controller; v2: only ""
  std::vector<std::string> v2_controllers_;
};

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_CGROUP_H_
