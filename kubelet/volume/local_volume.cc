#include "kubelet/volume/local_volume.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "kubelet/state/layout.h"
#include "kubelet/volume/volume_kind.h"

namespace skiff::kubelet {
namespace {

// Whether a pod other than the setup's has the volume. The mount table tells, so that pods of an earlier process count
// and no directory is asked that may not answer.
StatusOr<bool> HeldByAnother(const LocalSetup& setup, Mounter& mounter) {
  const std::string pods = layout::Pods(setup.root);
  ASSIGN_OR_RETURN(const auto mounts, mounter.MountsBelow(pods));
  for (const std::string& path : mounts) {
    const std::string uid = path.substr(pods.size() + 1, path.find('/', pods.size() + 1) - pods.size() - 1);
    if (uid != setup.uid && path == layout::Volume(layout::Pod(setup.root, uid), kLocalPlugin, setup.volume)) {
      return true;
    }
  }
  return false;
}

Status Bind(const LocalSetup& setup, int source, Mounter& mounter) {
  const std::string pod_dir = layout::Pod(setup.root, setup.uid);
  RETURN_IF_ERROR(MakeDirs(pod_dir, 0750));
  RETURN_IF_ERROR(MakeDirs(absl::StrCat(pod_dir, "/volumes"), 0750));
  RETURN_IF_ERROR(MakeDirs(setup.dir, 0750));
  RETURN_IF_ERROR(mounter.BindFd(source, setup.dir));
  std::vector<std::string> options = setup.options;
  if (setup.read_only) options.emplace_back("ro");
  if (options.empty()) return absl::OkStatus();
  Status status = mounter.SetOptions(setup.dir, options);
  // Without its options nobody may have it.
  if (!status.ok()) mounter.Unmount(setup.dir).IgnoreError();
  return status;
}

}  // namespace

StatusOr<std::optional<gid_t>> SetUpLocal(const LocalSetup& setup, Mounter& mounter) {
  bool mounted = false, held = false;
  RETURN_IF_ERROR(setup.gate->Pass([&]() -> Status {
    ASSIGN_OR_RETURN(mounted, mounter.IsMountPoint(setup.dir));
    return absl::OkStatus();
  }));
  if (mounted) return std::nullopt;
  const Fd source(open(setup.source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!source.valid()) return ErrnoStatus(errno, absl::StrCat("path ", GoQuote(setup.source), " of the local volume"));
  struct stat st {};
  if (setup.fs_group && fstat(source.get(), &st) != 0) {
    return ErrnoStatus(errno, absl::StrCat("failed to check fsGroup for ", setup.volume));
  }
  RETURN_IF_ERROR(setup.gate->Pass([&]() -> Status {
    if (setup.one_pod || setup.fs_group) {
      ASSIGN_OR_RETURN(held, HeldByAnother(setup, mounter));
    }
    if (setup.one_pod && held) {
      return FailedPrecondition("volume uses the ReadWriteOncePod access mode and is already in use by another pod");
    }
    return Bind(setup, source.get(), mounter);
  }));
  if (!setup.fs_group) return std::nullopt;
  // The files of a volume that several pods share stay as the first one has them: it may be at work on them.
  if (held) return st.st_gid == *setup.fs_group ? std::nullopt : std::optional(st.st_gid);
  if (setup.read_only || (setup.on_root_mismatch && OwnershipFits(setup.dir, *setup.fs_group, false))) {
    return std::nullopt;
  }
  if (Status status = SetVolumeOwnership(setup.dir, *setup.fs_group, false, setup.progress.get()); !status.ok()) {
    LOG_WARNING("Could not give a volume to its group", {"path", setup.dir}, {"err", status});
  }
  return std::nullopt;
}

}  // namespace skiff::kubelet
