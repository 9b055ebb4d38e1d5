#include "kubelet/volume/volume_setup.h"
#include "kubelet/state/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/files.h"
#include "base/log.h"
#include "base/paths.h"
#include "kubelet/volume/ownership.h"
#include "kubelet/volume/subpath.h"

namespace skiff::kubelet {
namespace {

Status MakeVolumeDir(const std::string& dir) {
  RETURN_IF_ERROR(MakeDirs(dir, 0755));
  // mkdir is subject to the umask; every user of the pod may use the volume.
  if (chmod(dir.c_str(), 0777) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", dir));
  return absl::OkStatus();
}

std::string ReadyDir(const DirectorySetup& setup) {
  return absl::StrCat(setup.pod_dir, "/plugins/kubernetes.io~empty-dir/", setup.ready_name);
}

Status SetReady(const DirectorySetup& setup) {
  RETURN_IF_ERROR(MakeDirs(ReadyDir(setup), 0750));
  const Fd fd(open(absl::StrCat(ReadyDir(setup), "/ready").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  return fd.valid() ? absl::OkStatus() : ErrnoStatus(errno, ReadyDir(setup));
}

// Volumes are made in a directory that only the kubelet and root may enter.
Status MakePodDirs(const DirectorySetup& setup) {
  RETURN_IF_ERROR(MakeDirs(setup.pod_dir, 0750));
  return MakeDirs(absl::StrCat(setup.pod_dir, "/volumes"), 0750);
}

}  // namespace

Status SetUpDirectory(const DirectorySetup& setup, Mounter& mounter) {
  ASSIGN_OR_RETURN(const bool mounted, mounter.IsMountPoint(setup.dir));
  const bool ready = Exists(absl::StrCat(ReadyDir(setup), "/ready"));
  const bool huge = !setup.huge_pages.empty();
  // After a reboot the mark is there and the tmpfs is not.
  if (ready && (setup.memory || huge ? mounted : Exists(setup.dir))) return absl::OkStatus();

  RETURN_IF_ERROR(MakePodDirs(setup));
  if (!mounted) RETURN_IF_ERROR(MakeVolumeDir(setup.dir));
  if (setup.memory && !mounted) {
    std::vector<std::string> options;
    if (setup.size > 0) options.push_back(absl::StrCat("size=", setup.size));
    if (mounter.TmpfsNoswap()) options.push_back("noswap");
    RETURN_IF_ERROR(mounter.MountTmpfs(setup.dir, absl::StrJoin(options, ",")));
  }
  if (huge && !mounted) RETURN_IF_ERROR(mounter.MountHugetlbfs(setup.dir, setup.huge_pages));
  if (setup.fs_group) {
    if (Status status = SetVolumeOwnership(setup.dir, *setup.fs_group, false); !status.ok()) {
      LOG_WARNING("Could not give a volume to its group", {"path", setup.dir}, {"err", status});
    }
  }
  return SetReady(setup);
}

StatusOr<bool> SetUpWritten(const DirectorySetup& setup, const std::vector<std::string>& nested, const Payload& payload,
                            Mounter& mounter, std::chrono::system_clock::time_point now) {
  for (const auto& [path, file] : payload) RETURN_IF_ERROR(ValidatePayloadPath(path));
  RETURN_IF_ERROR(SetUpDirectory(setup, mounter));
  ASSIGN_OR_RETURN(const Dir dir, Dir::Open(setup.dir));
  for (const std::string& path : nested) {
    if (Status status = dir.MakeDirs(path, 0755); !status.ok()) {
      // A file of the payload may already be what is mounted over.
      if (!dir.Exists(path)) return Annotate(status, "unable to create nested volume mountpoints");
    }
  }
  std::function<Status()> own;
  if (setup.fs_group) own = [&setup] { return SetVolumeOwnership(setup.dir, *setup.fs_group, true); };
  return WriteAtomically(setup.dir, payload, own, now);
}

std::vector<std::string> NestedMountPoints(const k8s::io::api::core::v1::Pod& pod, const std::string& volume) {
  std::vector<std::string> out;
  auto visit = [&](const auto& container) {
    std::set<std::string> all, mine;
    for (const auto& mount : container.volumemounts()) {
      std::string path = CleanPath(mount.mountpath());
      if (mount.name() == volume) mine.insert(path);
      all.insert(std::move(path));
    }
    for (const std::string& base : mine) {
      const std::string prefix = base == "/" ? base : absl::StrCat(base, "/");
      std::vector<std::string> taken;
      for (const std::string& path : all) {
        if (!absl::StartsWith(path, prefix)) continue;
        bool inner = false;
        for (const std::string& outer : taken) inner = inner || absl::StartsWith(path, outer);
        if (inner) continue;
        taken.push_back(absl::StrCat(path, "/"));
        out.push_back(path.substr(prefix.size()));
      }
    }
  };
  for (const auto& c : pod.spec().initcontainers()) visit(c);
  for (const auto& c : pod.spec().containers()) visit(c);
  for (const auto& c : pod.spec().ephemeralcontainers()) visit(c.ephemeralcontainercommon());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Status TearDownPod(const std::string& pod_dir, bool everything, Mounter& mounter) {
  if (!Exists(pod_dir)) return absl::OkStatus();
  RETURN_IF_ERROR(CleanSubPaths(pod_dir, mounter));
  for (int pass = 0; pass < 2; ++pass) {
    ASSIGN_OR_RETURN(const auto mounts, mounter.MountsBelow(pod_dir));
    for (const std::string& path : mounts) RETURN_IF_ERROR(mounter.Unmount(path));
  }
  ASSIGN_OR_RETURN(const auto left, mounter.MountsBelow(pod_dir));
  if (!left.empty()) return FailedPrecondition("still mounted: ", left.front());
  if (everything) return RemoveAll(pod_dir);
  RETURN_IF_ERROR(RemoveAll(absl::StrCat(pod_dir, "/volumes")));
  return RemoveAll(layout::PodPlugins(pod_dir));
}

}  // namespace skiff::kubelet
