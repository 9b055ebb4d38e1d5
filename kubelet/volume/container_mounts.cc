// What a container's volumeMounts come to on the host.
#include "base/foreign_work.h"
#include "base/go_text.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/state/layout.h"
#include "kubelet/volume/host_path.h"
#include "kubelet/volume/subpath.h"
#include "kubelet/volume/volume_manager_impl.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using Kind = VolumeKind;

}  // namespace

Task<StatusOr<std::vector<ContainerMount>>> VolumeManager::Impl::ContainerMounts(
    std::shared_ptr<const Pod> pod, std::string container_name, std::map<std::string, std::string> env) {
  auto self = shared_from_this();
  PodPtr state = StateOf(pod);
  const google::protobuf::RepeatedPtrField<core::VolumeMount>* mounts = nullptr;
  for (const auto& c : pod->spec().initcontainers()) {
    if (c.name() == container_name) mounts = &c.volumemounts();
  }
  for (const auto& c : pod->spec().containers()) {
    if (c.name() == container_name) mounts = &c.volumemounts();
  }
  for (const auto& c : pod->spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().name() == container_name) mounts = &c.ephemeralcontainercommon().volumemounts();
  }
  if (mounts == nullptr) co_return NotFound("container ", container_name, " not found");

  std::vector<ContainerMount> out;
  for (int i = 0; i < mounts->size(); ++i) {
    const auto& mount = mounts->Get(i);
    auto found = state->volumes.find(mount.name());
    const core::Volume* volume = FindVolume(*pod, mount.name());
    if (volume == nullptr || found == state->volumes.end() || !found->second.mounted) {
      co_return NotFound("cannot find volume ", GoQuote(mount.name()), " to mount into container ",
                         GoQuote(container_name));
    }
    const VolumeState& at = found->second;
    ContainerMount one;
    one.volume = mount.name();
    one.container_path = absl::StartsWith(mount.mountpath(), "/") ? mount.mountpath() : "/" + mount.mountpath();
    one.read_only = mount.readonly() || IsWritten(at.info.kind) || at.read_only;
    // Neither what is not the kubelet's (directories of the host) nor what the runtime mounts (images).
    one.relabel =
        IsWritten(at.info.kind) || at.info.kind == Kind::kEmptyDir || (at.info.plugin == kLocalPlugin && !at.read_only);
    const std::string& propagation = mount.mountpropagation();
    if (propagation == "HostToContainer") {
      one.propagation = ContainerMount::Propagation::kHostToContainer;
    } else if (propagation == "Bidirectional") {
      one.propagation = ContainerMount::Propagation::kBidirectional;
    } else if (!propagation.empty() && propagation != "None") {
      co_return InvalidArgument("invalid MountPropagation mode: ", GoQuote(propagation));
    }
    const std::string& recursive = mount.recursivereadonly();
    const bool possible = !recursive.empty() && options.recursive_read_only && options.recursive_read_only(*pod);
    if (recursive == "IfPossible") {
      one.recursive_read_only = possible;
    } else if (recursive == "Enabled") {
      if (!possible) {
        co_return FailedPrecondition("failed to resolve recursive read-only mode: volume ", GoQuote(mount.name()),
                                     " requested recursive read-only mode, but it is not supported by the runtime");
      }
      one.recursive_read_only = true;
    }

    std::string sub_path = mount.subpath();
    if (!mount.subpathexpr().empty()) {
      CO_ASSIGN_OR_RETURN(sub_path, ExpandSubPathExpr(mount.subpathexpr(), env));
    }
    if (!sub_path.empty()) {
      if (sub_path[0] == '/') {
        co_return InvalidArgument("error SubPath `", sub_path, "` must not be an absolute path");
      }
      if (Status status = ValidateNoBacksteps(sub_path); !status.ok()) {
        co_return InvalidArgument("unable to provision SubPath `", sub_path, "`: ", status.message());
      }
    }
    if (at.info.kind == Kind::kImage) {
      one.image = volume->volumesource().image().reference();
      one.image_sub_path = sub_path;
      one.read_only = true;
      out.push_back(std::move(one));
      continue;
    }
    one.host_path = at.path;
    if (!sub_path.empty()) {
      SubPath sub;
      sub.volume_path = at.path;
      sub.sub_path = sub_path;
      sub.target = layout::Subpath(PodPath(pod->metadata().uid()), mount.name(), container_name, i);
      sub.gate = state->gate;
      std::function<Status()> bind = [sub, door = &mounter] { return BindSubPath(sub, *door); };
      Status status;
      if (IsForeign(at.info.kind)) {
        // One that hangs since an earlier life of the pod (a manifest that is put back has the same uid) is to pass a
        // gate that is closed: it would not do for this life.
        const std::string key = absl::StrCat("bind ", sub.target, " in life ", state->life);
        // One place for all pods that want it, where it does not answer; what is wrong with it the bind says.
        std::function<Status()> look = [sub] {
          if (const auto volume_dir = Dir::Open(sub.volume_path); volume_dir.ok())
            (void)volume_dir->Stat(sub.sub_path).ok();
          return absl::OkStatus();
        };
        status = co_await ForeignWork::Of(executor).Run(absl::StrCat("look at ", sub.volume_path, " ", sub.sub_path),
                                                        std::move(look));
        if (status.ok()) status = co_await ForeignWork::Of(executor).Run(key, std::move(bind));
      } else {
        status = co_await RunBlocking(std::move(bind));
      }
      if (absl::IsCancelled(status)) co_return status;
      if (!status.ok()) {
        const std::string_view what = FailedToMake(status) ? "create subPath directory" : "prepare subPath";
        LOG_ERROR(status, absl::StrCat("Failed to ", what, " for volumeMount of the container"),
                  {"containerName", container_name}, {"volumeMountName", mount.name()});
        co_return Status(status.code(), absl::StrCat("failed to ", what, " for volumeMount ", GoQuote(mount.name()),
                                                     " of container ", GoQuote(container_name)));
      }
      one.host_path = sub.target;
    }
    out.push_back(std::move(one));
  }
  co_return out;
}

}  // namespace skiff::kubelet
