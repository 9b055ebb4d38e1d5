// What a pod's status may say after what it said before.
#include <arpa/inet.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
using Containers = google::protobuf::RepeatedPtrField<core::Container>;
using Statuses = google::protobuf::RepeatedPtrField<core::ContainerStatus>;

constexpr char kStaysEnded[] = "may not be transitioned to non-terminated state";

// Of a container that ended with `exit_code`: its rules first, then its own policy, then the pod's.
bool MayRestart(const core::Container& container, const core::PodSpec& spec, int32_t exit_code) {
  if (container.has_restartpolicy()) {
    for (const core::ContainerRestartRule& rule : container.restartpolicyrules()) {
      if (!rule.has_exitcodes()) continue;
      const auto& codes = rule.exitcodes();
      const bool in = std::find(codes.values().begin(), codes.values().end(), exit_code) != codes.values().end();
      if ((codes.operator_() != "In" || !in) && (codes.operator_() != "NotIn" || in)) continue;
      if (rule.action() == "Restart" || rule.action() == "RestartAllContainers") return true;
      break;
    }
    const std::string& policy = container.restartpolicy();
    if (policy == "Always") return true;
    if (policy == "OnFailure") return exit_code != 0;
    if (policy == "Never") return false;
  }
  if (spec.restartpolicy() == "OnFailure") return exit_code != 0;
  return spec.restartpolicy() != "Never";
}

bool AnyRestartsAll(const core::PodSpec& spec) {
  for (const Containers* containers : {&spec.initcontainers(), &spec.containers()})
    for (const core::Container& container : *containers)
      for (const core::ContainerRestartRule& rule : container.restartpolicyrules())
        if (rule.action() == "RestartAllContainers") return true;
  return false;
}

// `containers` are those that the statuses are of; null for ephemeral ones, which never start again.
void ValidateTransitions(const Statuses& now, const Statuses& before, const Containers* containers,
                         const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < before.size(); ++i) {
    const core::ContainerStatus& was = before[i];
    if (!was.state().has_terminated()) continue;
    const auto is = std::find_if(now.begin(), now.end(), [&](const core::ContainerStatus& status) {
      return status.name() == was.name() && !status.state().has_terminated();
    });
    if (is == now.end()) continue;
    bool allowed = false;
    if (containers != nullptr) {
      const auto container = std::find_if(containers->begin(), containers->end(),
                                          [&](const core::Container& c) { return c.name() == was.name(); });
      allowed = container != containers->end() && MayRestart(*container, spec, was.state().terminated().exitcode());
    }
    const Path at = path.Index(i);
    if (!allowed) errors->Forbidden(at.Child("state"), kStaysEnded);
  }
}

void ValidateConditions(const core::PodStatus& status, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < status.conditions_size(); ++i) {
    const core::PodCondition& condition = status.conditions(i);
    const Path at = path.Index(i);
    if (condition.observedgeneration() < 0)
      errors->Invalid(at.Child("observedGeneration"), condition.observedgeneration(), "must be a non-negative integer");
    const std::string& type = condition.type();
    if (type == "PodScheduled" || type == "Ready" || type == "Initialized") continue;
    InvalidAll(at.Child("Type"), type, IsQualifiedName(type), errors);
  }
}

// `ips` are podIPs or hostIPs. What stands already may stay, however wrong.
template <typename Ips>
void ValidateIps(const Ips& ips, const Ips& old, const Path& path, FieldErrors* errors) {
  for (int i = 0; i < ips.size(); ++i) {
    const std::string& ip = ips[i].ip();
    const auto same = [&](const auto& each) { return each.ip() == ip; };
    if (std::any_of(old.begin(), old.end(), same)) continue;
    const Path at = path.Index(i);
    InvalidAll(at, ip, IsValidIp(ip), errors);
    in6_addr six;
    if (inet_pton(AF_INET6, ip.c_str(), &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six))
      errors->Invalid(at, ip, "must not be an IPv4-mapped IPv6 address");
  }
  if (ips.size() < 2) return;
  int four = 0, six = 0;
  for (const auto& each : ips) {
    four += IsIpv4(each.ip()) ? 1 : 0;
    six += IsIpv6(each.ip()) ? 1 : 0;
  }
  if (ips.size() == 2 && four == 1 && six == 1) return;
  const std::string list = absl::StrJoin(
      ips, ",", [](std::string* out, const auto& each) { absl::StrAppend(out, "{\"IP\":\"", each.ip(), "\"}"); });
  errors->InvalidRaw(path, absl::StrCat("[", list, "]"), "may specify no more than one IP for each IP family");
}

void ValidateClaimStatuses(const core::Pod& pod, const Path& path, FieldErrors* errors) {
  std::set<std::string> names;
  for (int i = 0; i < pod.status().resourceclaimstatuses_size(); ++i) {
    const core::PodResourceClaimStatus& status = pod.status().resourceclaimstatuses(i);
    const std::string& name = status.name();
    const auto& claims = pod.spec().resourceclaims();
    const Path at = path.Index(i);
    if (std::none_of(claims.begin(), claims.end(), [&](const auto& claim) { return claim.name() == name; }))
      errors->Invalid(at.Child("name"), name, "must match the name of an entry in `spec.resourceClaims`");
    if (!names.insert(name).second) errors->Duplicate(at.Child("name"), name);
    if (status.has_resourceclaimname())
      InvalidAll(at.Child("resourceClaimName"), status.resourceclaimname(),
                 IsDns1123Subdomain(status.resourceclaimname()), errors);
  }
}

// What containers ask for by the name of a resource, and a claim gives. The last of two containers of a name counts.
void ValidateExtendedClaim(const core::Pod& pod, const Path& path, FieldErrors* errors) {
  if (!pod.status().has_extendedresourceclaimstatus()) return;
  const core::PodExtendedResourceClaimStatus& status = pod.status().extendedresourceclaimstatus();
  std::map<std::string_view, const core::Container*> containers;
  for (const Containers* each : {&pod.spec().initcontainers(), &pod.spec().containers()})
    for (const core::Container& container : *each) containers[container.name()] = &container;
  const Path mappings = path.Child("requestMappings");
  if (status.requestmappings().empty()) errors->Required(mappings, "at least one request mapping is required");
  std::set<std::tuple<std::string_view, std::string_view, std::string_view>> seen;
  for (int i = 0; i < status.requestmappings_size(); ++i) {
    const core::ContainerExtendedResourceRequest& mapping = status.requestmappings(i);
    const std::string &container = mapping.containername(), &resource = mapping.resourcename(),
                      &request = mapping.requestname();
    const Path at = mappings.Index(i);
    const auto found = containers.find(container);
    if (found == containers.end())
      errors->Invalid(at.Child("containerName"), container,
                      "must match the name of an entry in spec.initContainers.name or spec.containers.name");
    else if (!found->second->resources().requests().contains(resource))
      errors->Invalid(at.Child("resourceName"), resource,
                      "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                      "spec.containers.resources.requests");
    InvalidAll(path.Child("requestName"), request, IsDns1123Label(request), errors);
    if (seen.insert({container, resource, request}).second) continue;
    errors->Duplicate(at.Child("containerName"), container);
    errors->Duplicate(at.Child("resourceName"), resource);
    errors->Duplicate(at.Child("requestName"), request);
  }
  const Path claim = path.Child("resourceClaimName");
  if (status.resourceclaimname().empty()) return errors->Required(claim);
  InvalidAll(claim, status.resourceclaimname(), IsDns1123Subdomain(status.resourceclaimname()), errors);
}

}  // namespace

void ValidatePodStatus(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  ValidatePodAnnotationUpdates(pod, old, errors);
  const Path path("status");
  const core::PodStatus &now = pod.status(), &before = old.status();
  ValidateConditions(now, path.Child("conditions"), errors);
  if (const std::string& node = now.nominatednodename(); !node.empty() && node != before.nominatednodename()) {
    const Path at = path.Child("nominatedNodeName");
    InvalidAll(at, node, IsDns1123Subdomain(node), errors);
    if (!old.spec().nodename().empty())
      errors->Forbidden(at, "may not be set on pods that are already bound to a node");
  }
  if (now.observedgeneration() < 0)
    errors->Invalid(path.Child("observedGeneration"), now.observedgeneration(), "must be a non-negative integer");
  if (now.qosclass() != before.qosclass())
    errors->Invalid(path.Child("qosClass"), now.qosclass(), "field is immutable");
  const core::PodSpec& spec = old.spec();
  if (!AnyRestartsAll(spec)) {
    ValidateTransitions(now.containerstatuses(), before.containerstatuses(), &spec.containers(), spec,
                        path.Child("containerStatuses"), errors);
    ValidateTransitions(now.initcontainerstatuses(), before.initcontainerstatuses(), &spec.initcontainers(), spec,
                        path.Child("initContainerStatuses"), errors);
  }
  ValidateTransitions(now.ephemeralcontainerstatuses(), before.ephemeralcontainerstatuses(), nullptr, spec,
                      path.Child("ephemeralContainerStatuses"), errors);
  ValidateClaimStatuses(pod, path.Child("resourceClaimStatuses"), errors);
  ValidateExtendedClaim(pod, path.Child("extendedResourceClaimStatus"), errors);
  ValidateIps(now.podips(), before.podips(), path.Child("podIPs"), errors);
  const Path hosts = path.Child("hostIPs");
  if (!now.hostips().empty() && now.hostip() != now.hostips(0).ip()) {
    const Path first = hosts.Index(0);
    errors->Invalid(first.Child("ip"), now.hostips(0).ip(), "must be equal to `hostIP`");
  }
  ValidateIps(now.hostips(), before.hostips(), hosts, errors);
  ValidateContainerStatuses(pod, path, errors);
}

}  // namespace skiff::api::internal
