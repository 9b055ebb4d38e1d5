// Where pods' cgroups are and what they are called, for both drivers. Pure; any thread.
//
//   cgroupfs: ROOT/kubepods[/burstable|/besteffort]/podUID
//   systemd:  ROOT.slice/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_WITH_UNDERSCORES.slice
#ifndef SKIFF_KUBELET_RESOURCES_CGROUP_NAMES_H_
#define SKIFF_KUBELET_RESOURCES_CGROUP_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

namespace skiff::kubelet {

class CgroupNames {
 public:
  // `root` is --cgroup-root ("" or "/": the hierarchy's root).
  CgroupNames(std::string_view root, bool systemd);

  // Path below the hierarchy's root, without leading slash ("lab/kubepods/burstable/podUID").
  std::string Kubepods() const;
  std::string Qos(std::string_view qos_class) const;  // Guaranteed pods are right below kubepods
  std::string Pod(std::string_view qos_class, std::string_view uid) const;
  // The path of a cgroup that the configuration names (systemReservedCgroup): a path, or a slice with systemd.
  std::string Reserved(std::string_view name) const;
  // What the runtime gets as cgroup_parent: an absolute path (cgroupfs) or the slice's name (systemd).
  std::string ForRuntime(std::string_view qos_class, std::string_view uid) const;
  // The uid of a directory name below a QoS cgroup, or "" if it is no pod's.
  std::string UidOf(std::string_view directory) const;
  bool systemd() const { return systemd_; }

 private:
  std::string Path(const std::vector<std::string>& parts) const;
  std::vector<std::string> Parts(std::string_view qos_class) const;
  std::vector<std::string> root_;
  bool systemd_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_CGROUP_NAMES_H_
