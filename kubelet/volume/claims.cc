#include "kubelet/volume/claims.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "kubelet/volume/mount_options.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr char kProtection[] = "kubernetes.io/pvc-protection";
constexpr char kGid[] = "pv.beta.kubernetes.io/gid";

Status CheckClaim(const PersistentVolumeClaim& claim) {
  const auto& finalizers = claim.metadata().finalizers();
  if (claim.metadata().has_deletiontimestamp() &&
      std::find(finalizers.begin(), finalizers.end(), kProtection) == finalizers.end()) {
    return FailedPrecondition("PVC is being deleted");
  }
  if (claim.status().phase() != "Bound") return FailedPrecondition("PVC is not bound");
  if (claim.spec().volumename().empty()) return FailedPrecondition("PVC has empty pvc.Spec.VolumeName");
  return absl::OkStatus();
}

Status CheckVolume(const PersistentVolume& volume, const PersistentVolumeClaim& claim) {
  const std::string& name = volume.metadata().name();
  if (!volume.spec().has_claimref()) {
    return FailedPrecondition("found PV object ", name,
                              " but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim");
  }
  if (volume.spec().claimref().uid() != claim.metadata().uid()) {
    return FailedPrecondition("found PV object ", name, " but its pv.Spec.ClaimRef.UID ",
                              volume.spec().claimref().uid(), " does not point to claim.UID ", claim.metadata().uid());
  }
  return absl::OkStatus();
}

bool UsedAsDevice(const Pod& pod, const std::string& volume) {
  auto in = [&](const auto& c) {
    return std::any_of(c.volumedevices().begin(), c.volumedevices().end(),
                       [&](const auto& d) { return d.name() == volume; });
  };
  return std::any_of(pod.spec().containers().begin(), pod.spec().containers().end(), in) ||
         std::any_of(pod.spec().initcontainers().begin(), pod.spec().initcontainers().end(), in) ||
         std::any_of(pod.spec().ephemeralcontainers().begin(), pod.spec().ephemeralcontainers().end(),
                     [&](const auto& c) { return in(c.ephemeralcontainercommon()); });
}

StatusOr<ClaimedVolume> DirectoryOf(const PersistentVolume& volume) {
  const auto& source = volume.spec().persistentvolumesource();
  ClaimedVolume out;
  out.volume = volume.metadata().name();
  const auto& modes = volume.spec().accessmodes();
  out.one_pod = modes.size() == 1 && modes.Get(0) == "ReadWriteOncePod";
  if (auto it = volume.metadata().annotations().find(kGid); it != volume.metadata().annotations().end()) {
    out.gid = it->second;
  }
  out.mount_options = MountOptionsOf(volume);
  if (volume.spec().nodeaffinity().has_required()) out.nodes = volume.spec().nodeaffinity().required();
  if (source.has_hostpath()) {
    out.path = source.hostpath().path();
    out.host_path_type = source.hostpath().type();
    return out;
  }
  if (source.has_local()) {
    out.local = true;
    out.path = source.local().path();
    return out;
  }
  std::vector<const google::protobuf::FieldDescriptor*> set;
  source.GetReflection()->ListFields(source, &set);
  return absl::UnimplementedError(absl::StrCat("persistent volume type ", set.empty() ? "" : set[0]->name(), " of PV ",
                                               out.volume, " is not supported by this kubelet"));
}

}  // namespace

Task<StatusOr<ClaimedVolume>> ResolveClaim(ObjectSource& objects, std::shared_ptr<const Pod> pod,
                                           std::string volume_name) {
  const core::Volume* volume = nullptr;
  for (const auto& v : pod->spec().volumes()) {
    if (v.name() == volume_name) volume = &v;
  }
  if (volume == nullptr) co_return NotFound("volume ", volume_name, " not found");
  const std::string& ns = pod->metadata().namespace_();
  const auto& source = volume->volumesource();
  const bool ephemeral = !source.has_persistentvolumeclaim();
  const std::string name =
      ephemeral ? absl::StrCat(pod->metadata().name(), "-", volume_name) : source.persistentvolumeclaim().claimname();
  auto error = [&](const Status& status, std::string_view prefix = "") {
    return Status(status.code(), absl::StrCat("error processing PVC ", ns, "/", name, ": ", prefix, status.message()));
  };
  auto claim = co_await objects.GetClaim(ns, name);
  if (!claim.ok()) co_return error(claim.status(), "failed to fetch PVC from API server: ");
  if (Status s = CheckClaim(**claim); !s.ok()) co_return error(s);
  if (ephemeral) {
    bool ours = false;
    for (const auto& owner : (*claim)->metadata().ownerreferences()) {
      ours = ours || (owner.controller() && owner.uid() == pod->metadata().uid());
    }
    if (!ours) {
      co_return FailedPrecondition("PVC ", ns, "/", name, " was not created for pod ", ns, "/", pod->metadata().name(),
                                   " (pod is not owner)");
    }
  }
  auto persistent = co_await objects.GetVolume((*claim)->spec().volumename());
  if (!persistent.ok()) {
    co_return error(persistent.status(),
                    absl::StrCat("failed to fetch PV ", (*claim)->spec().volumename(), " from API server: "));
  }
  if (Status s = CheckVolume(**persistent, **claim); !s.ok()) co_return error(s);
  const std::string& mode = (*persistent)->spec().volumemode();
  if (mode == "Block") {
    if (UsedAsDevice(*pod, volume_name)) {
      co_return absl::UnimplementedError(
          absl::StrCat("volume ", volume_name, ": volumeDevices are not supported by this kubelet"));
    }
    co_return FailedPrecondition("volume ", volume_name, " has volumeMode Block, but is specified in volumeMounts");
  }
  if (UsedAsDevice(*pod, volume_name)) {
    co_return FailedPrecondition("volume ", volume_name,
                                 " has volumeMode Filesystem, but is specified in volumeDevices");
  }
  CO_ASSIGN_OR_RETURN(ClaimedVolume out, DirectoryOf(**persistent));
  out.claim = name;
  out.read_only = source.persistentvolumeclaim().readonly();
  co_return out;
}

}  // namespace skiff::kubelet
