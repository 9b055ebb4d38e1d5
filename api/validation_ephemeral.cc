// Ephemeral containers: a debugger's, without what a pod's service would rest on.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Names = std::set<std::string>;

constexpr char kNotHere[] = "cannot be set for an Ephemeral Container";

void ForbidFields(const core::EphemeralContainerCommon& c, const Path& path, FieldErrors* errors) {
  const auto forbid = [&](bool set, std::string_view field) {
    if (set) errors->Forbidden(path.Child(field), kNotHere);
  };
  const core::ResourceRequirements& resources = c.resources();
  forbid(!c.ports().empty(), "ports");
  forbid(!resources.limits().empty() || !resources.requests().empty() || !resources.claims().empty(), "resources");
  forbid(!c.resizepolicy().empty(), "resizePolicy");
  forbid(c.has_restartpolicy(), "restartPolicy");
  forbid(!c.restartpolicyrules().empty(), "restartPolicyRules");
  forbid(c.has_livenessprobe(), "livenessProbe");
  forbid(c.has_readinessprobe(), "readinessProbe");
  forbid(c.has_startupprobe(), "startupProbe");
  forbid(c.has_lifecycle(), "lifecycle");
}

}  // namespace

void ValidateEphemeralContainers(const core::PodSpec& spec, const Names& volumes, const Path& path,
                                 FieldErrors* errors) {
  if (spec.ephemeralcontainers().empty()) return;
  const Path list = path.Child("ephemeralContainers");
  Names others;
  for (const core::Container& c : spec.containers()) others.insert(c.name());
  for (const core::Container& c : spec.initcontainers()) others.insert(c.name());
  Names names = others;
  for (int i = 0; i < spec.ephemeralcontainers_size(); ++i) {
    const core::EphemeralContainer& ephemeral = spec.ephemeralcontainers(i);
    const core::EphemeralContainerCommon& common = ephemeral.ephemeralcontainercommon();
    const Path at = list.Index(i);
    core::Container container;  // the same fields under the same numbers
    container.ParseFromString(common.SerializeAsString());
    ValidateContainerCommon(container, spec, volumes, at, errors);
    ValidateImage(common.image(), at, errors);
    if (!names.insert(common.name()).second) errors->Duplicate(at.Child("name"), common.name());
    const std::string& target = ephemeral.targetcontainername();
    if (!target.empty() && !others.contains(target)) errors->NotFound(at.Child("targetContainerName"), target);
    ForbidFields(common, at, errors);
    // Their bind mounts would stay until the pod ends.
    const Path mounts = at.Child("volumeMounts");
    for (int j = 0; j < common.volumemounts_size(); ++j) {
      const Path mount = mounts.Index(j);
      if (!common.volumemounts(j).subpath().empty()) errors->Forbidden(mount.Child("subPath"), kNotHere);
      if (!common.volumemounts(j).subpathexpr().empty()) errors->Forbidden(mount.Child("subPathExpr"), kNotHere);
    }
  }
}

void ValidateEphemeralContainersUpdate(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  if (old.metadata().annotations().contains(kMirrorAnnotation))
    return errors->Forbidden(Path(""), "static pods do not support ephemeral containers");
  ValidatePodContent(pod, &old, errors);
  ValidatePodAnnotationUpdates(pod, old, errors);
  const Path spec("spec");
  const Path path = spec.Child("ephemeralContainers");
  for (const core::EphemeralContainer& existing : old.spec().ephemeralcontainers()) {
    const std::string& name = existing.ephemeralcontainercommon().name();
    const core::EphemeralContainer* now = nullptr;
    for (const core::EphemeralContainer& each : pod.spec().ephemeralcontainers())
      if (each.ephemeralcontainercommon().name() == name) now = &each;
    if (now == nullptr)
      errors->Forbidden(path, absl::StrCat("existing ephemeral containers \"", name, "\" may not be removed\n"));
    else if (!Equal(*now, existing))
      errors->Forbidden(path, absl::StrCat("existing ephemeral containers \"", name, "\" may not be changed\n"));
  }
}

}  // namespace skiff::api::internal
