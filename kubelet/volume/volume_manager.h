// The volumes of the node's pods: set up before containers start, refreshed while the pod lives, torn down after it.
// On disk as upstream: ROOT/pods/UID/volumes/kubernetes.io~TYPE/NAME, ROOT/pods/UID/volume-subpaths/VOLUME/CONTAINER/N.
// The directory tree and the mount table are the only state: a new process finds what an old one made.
// Loop only; disk and mount work goes to RunBlocking. Methods that return a Task keep the manager in use until they
// end.
#ifndef SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_H_
#define SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/volume/mounter.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

// Reports an event on the pod: type "Normal" or "Warning".
using PodEventFn =
    std::function<void(const Pod& pod, std::string_view type, std::string_view reason, std::string_view message)>;

struct VolumeOptions {
  std::string root_dir;  // --root-dir
  std::string node_name;
  // For what a pod leaves open: the size of memory-backed volumes and downward API limits. Bytes, millicores, bytes.
  std::function<int64_t()> allocatable_memory;
  std::function<int64_t()> allocatable_milli_cpu;
  std::function<int64_t()> allocatable_ephemeral_storage;
  std::function<bool(const Pod&)> recursive_read_only;              // the pod's runtime handler can
  std::function<bool(const NodeSelector&)> matches_node;            // without it: everything does
  std::chrono::nanoseconds sync_period = std::chrono::seconds(60);  // refresh of configMap, secret, token, downward API
};

// One entry for the CRI's container config.
struct ContainerMount {
  std::string volume;          // the volume's name
  std::string container_path;  // absolute
  std::string host_path;
  bool read_only = false;
  bool recursive_read_only = false;
  bool relabel = false;  // where the host has SELinux: the containers' label is given to the files
  enum class Propagation { kPrivate, kHostToContainer, kBidirectional } propagation = Propagation::kPrivate;
  // Image volumes only: host_path is empty and the runtime mounts this image (pulled by the caller before).
  std::string image;
  std::string image_sub_path;
};

class VolumeManager {
 public:
  VolumeManager(asio::any_io_executor executor, VolumeOptions options, ObjectSource& objects, Mounter& mounter,
                Clock& clock, PodEventFn events);
  ~VolumeManager();

  // Sets up what is not yet set up, again with growing pauses (0.5 s, doubling) while something fails; every failure is
  // a FailedMount event. OK when all is there; kCancelled when the caller was cancelled; kDeadlineExceeded after 2m3s
  // with upstream's words (`unmounted volumes=[cfg], unattached volumes=[], failed to process volumes=[]: ...`): the
  // caller logs that (no event) and calls again. Fast when all is there already.
  Task<Status> WaitForMounts(std::shared_ptr<const Pod> pod);

  // The pod's object changed (labels, annotations, spec); volumes made from it follow soon.
  void UpdatePod(std::shared_ptr<const Pod> pod);

  // The container's volumeMounts resolved to host paths, subPaths bound safely. `env` expands subPathExpr: a name that
  // is absent gives `missing value for NAME`. Call right before creating the container (init ones too).
  Task<StatusOr<std::vector<ContainerMount>>> ContainerMounts(std::shared_ptr<const Pod> pod, std::string container,
                                                              std::map<std::string, std::string> env);

  // Groups that the pod's mounted volumes want its processes to be in, beyond those that its spec names.
  std::vector<int64_t> ExtraGroups(const Pod& pod) const;

  // Takes everything of the pod down (all containers must be gone): subPath binds, tmpfs, volume directories. The pod's
  // directory ROOT/pods/UID is removed as well when `remove_directory`. Idempotent; an error means: call again later.
  Task<Status> TearDown(std::string uid, bool remove_directory);

  // TearDown (with directory) of every pod directory on disk whose uid is not in `keep`: leftovers of an earlier life.
  Task<Status> CleanOrphans(std::set<std::string> keep);

  // True while anything of the pod is still set up on disk.
  bool HasVolumes(const std::string& uid) const;

  // Refreshes content until cancelled: every sync_period with jitter, and when UpdatePod said so.
  Task<void> Run();

  // Names of what is mounted for a pod (volumes set up in this process's life or found at start), for stats.
  struct Mounted {
    std::string name, path, type;  // type "kubernetes.io/empty-dir"
    std::string claim;             // of a persistent volume; else ""
  };
  std::vector<Mounted> MountedVolumes(const std::string& uid) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Where the parts of a pod lie below the kubelet's root, as upstream has them.
std::string PodDir(const std::string& root, const std::string& uid);
std::string VolumeDir(const std::string& root, const std::string& uid, const std::string& plugin,
                      const std::string& volume);  // plugin "kubernetes.io/configmap"

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_H_
