// What the statuses of containers say of their users and of the resources that they have.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Containers = google::protobuf::RepeatedPtrField<core::Container>;
using Statuses = google::protobuf::RepeatedPtrField<core::ContainerStatus>;

void ValidateId(int64_t id, const Path& path, FieldErrors* errors) {
  if (id < 0 || id > INT32_MAX) errors->Invalid(path, id, "must be between 0 and 2147483647, inclusive");
}

void ValidateUsers(const Statuses& statuses, std::string_view os, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < statuses.size(); ++i) {
    if (!statuses[i].user().has_linux()) continue;
    const core::LinuxContainerUser& user = statuses[i].user().linux();
    const Path status = path.Index(i);
    const Path parent = status.Child("user");
    const Path at = parent.Child("linux");
    if (os == "windows") errors->Forbidden(at, "cannot be set for a windows pod");
    if (os != "linux") continue;
    ValidateId(user.uid(), at.Child("uid"), errors);
    ValidateId(user.gid(), at.Child("gid"), errors);
    const Path groups = at.Child("supplementalGroups");
    for (int j = 0; j < user.supplementalgroups_size(); ++j)
      ValidateId(user.supplementalgroups(j), groups.Index(j), errors);
  }
}

// By name: a resource of the container's requests, or one of its claims with or without the request in it.
void ValidateResourceName(const std::string& name, const core::ResourceRequirements& resources, const Path& path,
                          FieldErrors* errors) {
  if (!name.starts_with("claim:")) {
    if (!resources.requests().contains(name))
      errors->Invalid(path, name, "must match one of the container's resource requests");
    return;
  }
  const auto& claims = resources.claims();
  if (std::none_of(claims.begin(), claims.end(), [&](const core::ResourceClaim& claim) {
        return name == absl::StrCat("claim:", claim.name(), claim.request().empty() ? "" : "/", claim.request());
      }))
    errors->Invalid(path, name,
                    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                    "'claim:<claimName>' if request is empty");
}

void ValidateHealths(const core::ResourceStatus& resource, const Path& path, FieldErrors* errors) {
  constexpr int kMaxMessage = 1024;
  std::set<std::string> ids;
  for (int i = 0; i < resource.resources_size(); ++i) {
    const core::ResourceHealth& health = resource.resources(i);
    const Path at = path.Index(i);
    if (health.health() != "Healthy" && health.health() != "Unhealthy" && health.health() != "Unknown")
      errors->NotSupported(at.Child("health"), health.health(), {"Healthy", "Unhealthy", "Unknown"});
    if (health.has_message() && health.message().empty())
      errors->Required(at.Child("message"), "must be non-empty if specified");
    if (health.message().size() > kMaxMessage) errors->TooLong(at.Child("message"), kMaxMessage);
    if (!ids.insert(health.resourceid()).second) errors->Duplicate(at.Child("resourceID"), health.resourceid());
  }
}

void ValidateResourceStatuses(const Statuses& statuses, const Containers& containers, const Path& path,
                              FieldErrors* errors) {
  for (int i = 0; i < statuses.size(); ++i) {
    const auto container = std::find_if(containers.begin(), containers.end(),
                                        [&](const core::Container& c) { return c.name() == statuses[i].name(); });
    const Path status = path.Index(i);
    const Path list = status.Child("allocatedResourcesStatus");
    for (int j = 0; j < statuses[i].allocatedresourcesstatus_size(); ++j) {
      const core::ResourceStatus& resource = statuses[i].allocatedresourcesstatus(j);
      const Path at = list.Index(j);
      // A status may be of a container that is not in the pod.
      if (container != containers.end())
        ValidateResourceName(resource.name(), container->resources(), at.Child("name"), errors);
      ValidateHealths(resource, at.Child("resources"), errors);
    }
  }
}

}  // namespace

void ValidateContainerStatuses(const core::Pod& pod, const Path& status, FieldErrors* errors) {
  const Path containers = status.Child("containerStatuses"), inits = status.Child("initContainerStatuses"),
             ephemeral = status.Child("ephemeralContainerStatuses");
  const core::PodStatus& now = pod.status();
  const core::PodSpec& spec = pod.spec();
  const std::string_view os = spec.has_os() ? std::string_view(spec.os().name()) : "linux";
  ValidateUsers(now.containerstatuses(), os, containers, errors);
  ValidateUsers(now.initcontainerstatuses(), os, inits, errors);
  ValidateUsers(now.ephemeralcontainerstatuses(), os, ephemeral, errors);
  ValidateResourceStatuses(now.containerstatuses(), spec.containers(), containers, errors);
  ValidateResourceStatuses(now.initcontainerstatuses(), spec.initcontainers(), inits, errors);
  for (int i = 0; i < now.ephemeralcontainerstatuses_size(); ++i) {
    const Path at = ephemeral.Index(i);
    if (!now.ephemeralcontainerstatuses(i).allocatedresourcesstatus().empty())
      errors->Forbidden(at.Child("allocatedResourcesStatus"), "must not be specified in container status");
  }
}

}  // namespace skiff::api::internal
