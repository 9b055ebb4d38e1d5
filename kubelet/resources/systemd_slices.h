// Slices as systemd knows them, for the systemd cgroup driver: what is not a unit of systemd's it takes away again at
// its next reload. Behind a door: real over D-Bus, a fake in tests. Blocking, each call for at most its limit; any
// thread, one at a time. Upstream:
// kubernetes.io/docs/setup/production-environment/container-runtimes (cgroup drivers).
#ifndef SKIFF_KUBELET_RESOURCES_SYSTEMD_SLICES_H_
#define SKIFF_KUBELET_RESOURCES_SYSTEMD_SLICES_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kubelet/resources/dbus.h"
#include "kubelet/resources/pod_resources.h"

namespace skiff::kubelet {

class SystemdSlices {
 public:
  virtual ~SystemdSlices() = default;
  // Makes the slice; one that is there is no error.
  virtual Status Start(const std::string& slice, const DbusProperties& properties) = 0;
  virtual Status SetProperties(const std::string& slice, const DbusProperties& properties) = 0;
  // Gone is fine.
  virtual Status Stop(const std::string& slice) = 0;
};

struct SystemdOptions {
  std::string private_socket = "/run/systemd/private";
  std::string bus_socket = "/run/dbus/system_bus_socket";
  std::chrono::milliseconds limit{10'000};  // of one call, from connecting to the answer
};

// Over systemd's own socket, or else the system bus. Each call has a connection of its own: systemd sends what happens
// to all units down each that stands, and once enough of that waits unread it tells nobody anything.
std::unique_ptr<SystemdSlices> NewSystemdSlices(SystemdOptions options = {});

// What a new slice is made with, below its parent slice ("" at the root).
DbusProperties SlicePropertiesFor(const std::string& slice, const std::string& parent, bool v2);
// Limits as slice properties; what is not set is left out.
DbusProperties ResourceProperties(const CgroupResources& resources, bool v2);
// The slice above: "kubepods-burstable.slice" -> "kubepods.slice"; "" for one at the root.
std::string ParentSlice(const std::string& slice);

// Remembers what it was asked, for tests: "Start kubepods.slice CPUWeight=100".
class FakeSystemdSlices final : public SystemdSlices {
 public:
  Status Start(const std::string& slice, const DbusProperties& properties) override;
  Status SetProperties(const std::string& slice, const DbusProperties& properties) override;
  Status Stop(const std::string& slice) override;
  std::vector<std::string> calls;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_SYSTEMD_SLICES_H_
