// Puts one volume's directory in place: emptyDir on disk or tmpfs, and the written ones (configMap, secret,
// downwardAPI, projected) on top of it; and takes a pod's volumes down. Blocking; any thread; one caller a pod.
#ifndef SKIFF_KUBELET_VOLUME_VOLUME_SETUP_H_
#define SKIFF_KUBELET_VOLUME_VOLUME_SETUP_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "k8s/io/api/core/v1/pod.pb.h"
#include "kubelet/volume/atomic_writer.h"
#include "kubelet/volume/mounter.h"

namespace skiff::kubelet {

struct DirectorySetup {
  std::string pod_dir;  // ROOT/pods/UID
  std::string dir;      // the volume's directory
  std::string
      ready_name;       // below POD/plugins/kubernetes.io~empty-dir: the volume's name, "wrapped_" before written ones
  bool memory = false;  // tmpfs
  int64_t size = 0;     // of the tmpfs, bytes; 0: the kernel's default
  std::string huge_pages;  // "pagesize=2Mi": of huge pages instead; "" for none
  std::optional<gid_t> fs_group;
};

// emptyDir: makes the directory (mode 0777) and, for memory, mounts a tmpfs. Idempotent; an existing one is left alone.
Status SetUpDirectory(const DirectorySetup& setup, Mounter& mounter);

// A written volume: the directory, mount points for mounts nested in it, and the payload. True: something was written.
StatusOr<bool> SetUpWritten(const DirectorySetup& setup, const std::vector<std::string>& nested, const Payload& payload,
                            Mounter& mounter, std::chrono::system_clock::time_point now);

// Where other volumes of the pod are mounted inside this one, relative to it: directories that must exist there.
std::vector<std::string> NestedMountPoints(const k8s::io::api::core::v1::Pod& pod, const std::string& volume);

// Unmounts and removes all volumes of the pod directory; with `everything` the pod directory too. Nothing below a mount
// that cannot be undone is ever removed.
Status TearDownPod(const std::string& pod_dir, bool everything, Mounter& mounter);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_VOLUME_SETUP_H_
