// Services, endpoints and endpoint slices.
#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/text.h"
#include "api/validation_parts.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;
namespace discovery = k8s::io::api::discovery::v1;

bool Headless(const core::ServiceSpec& spec) { return spec.clusterip() == "None"; }

bool External(const core::ServiceSpec& spec) {
  return spec.type() == "LoadBalancer" || spec.type() == "NodePort" ||
         (spec.type() == "ClusterIP" && spec.externalips_size() > 0);
}

void ValidatePort(const core::ServicePort& port, bool name_required, std::set<std::string>* names, const Path& path,
                  FieldErrors* errors) {
  if (name_required && port.name().empty()) {
    errors->Required(path.Child("name"));
  } else if (!port.name().empty()) {
    InvalidAll(path.Child("name"), port.name(), IsDns1123Label(port.name()), errors);
    if (!names->insert(port.name()).second) errors->Duplicate(path.Child("name"), port.name());
  }
  for (const std::string& complaint : IsValidPortNum(port.port()))
    errors->Invalid(path.Child("port"), port.port(), complaint);
  OneOf(path.Child("protocol"), port.protocol(), {"SCTP", "TCP", "UDP"}, errors);
  ValidatePortNumOrName(port.targetport(), path.Child("targetPort"), errors);
  if (port.has_appprotocol())
    InvalidAll(path.Child("appProtocol"), port.appprotocol(), IsQualifiedName(port.appprotocol()), errors);
}

void ValidateService(const core::Service& service, const core::Service* old, FieldErrors* errors) {
  const core::ServiceSpec& spec = service.spec();
  const Path path("spec");
  const Path ports = path.Child("ports");
  const Path ips = path.Child("clusterIPs");
  if (spec.ports().empty() && !Headless(spec) && spec.type() != "ExternalName") errors->Required(ports);
  if (spec.type() == "LoadBalancer" || spec.type() == "NodePort") {
    if (Headless(spec))
      errors->Invalid(ips.Index(0), "None", absl::StrCat("may not be set to 'None' for ", spec.type(), " services"));
  } else if (spec.type() == "ExternalName") {
    if (!spec.clusterips().empty()) errors->Forbidden(ips, "may not be set for ExternalName services");
    if (!spec.ipfamilies().empty())
      errors->Forbidden(path.Child("ipFamilies"), "may not be set for ExternalName services");
    if (spec.has_ipfamilypolicy())
      errors->Forbidden(path.Child("ipFamilyPolicy"), "may not be set for ExternalName services");
    std::string_view name = spec.externalname();
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty())
      errors->Required(path.Child("externalName"));
    else
      InvalidAll(path.Child("externalName"), name, IsDns1123Subdomain(name), errors);
  }
  std::set<std::string> names;
  for (int i = 0; i < spec.ports_size(); ++i)
    ValidatePort(spec.ports(i), spec.ports_size() > 1, &names, ports.Index(i), errors);
  ValidateLabels(spec.selector(), path.Child("selector"), errors);
  OneOf(path.Child("sessionAffinity"), spec.sessionaffinity(), {"ClientIP", "None"}, errors);
  if (spec.sessionaffinity() == "ClientIP" && spec.has_sessionaffinityconfig()) {
    const int32_t seconds = spec.sessionaffinityconfig().clientip().timeoutseconds();
    if (seconds <= 0 || seconds > 86400) {
      const Path config = path.Child("sessionAffinityConfig");
      const Path client = config.Child("clientIP");
      errors->Invalid(client.Child("timeoutSeconds"), seconds, "must be greater than 0 and less than 86400");
    }
  }
  // The addresses.
  if (spec.type() != "ExternalName") {
    for (int i = 0; i < spec.clusterips_size(); ++i) {
      const std::string& ip = spec.clusterips(i);
      if (ip.empty() || (i == 0 && ip == "None")) continue;
      InvalidAll(ips.Index(i), ip, IsValidIp(ip), errors);
    }
    if (spec.clusterips_size() > 2)
      errors->InvalidRaw(ips, json(std::vector<std::string>(spec.clusterips().begin(), spec.clusterips().end())).dump(),
                         "may only hold up to 2 values");
    for (int i = 0; i < spec.ipfamilies_size(); ++i)
      OneOf(path.Child("ipFamilies").Index(i), spec.ipfamilies(i), {"IPv4", "IPv6"}, errors);
    if (spec.has_ipfamilypolicy())
      OneOf(path.Child("ipFamilyPolicy"), spec.ipfamilypolicy(), {"PreferDualStack", "RequireDualStack", "SingleStack"},
            errors);
  }
  if (old != nullptr && old->spec().type() != "ExternalName" && spec.type() != "ExternalName") {
    const std::string& before = old->spec().clusterip();
    const std::string& now = spec.clusterip();
    if (!before.empty() && before != now)
      errors->InvalidRaw(ips.Index(0), json::array({now}).dump(), "may not change once set");
  }
  const Path external = path.Child("externalIPs");
  for (int i = 0; i < spec.externalips_size(); ++i) ValidateEndpointIp(spec.externalips(i), external.Index(i), errors);
  OneOf(path.Child("type"), spec.type(), {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}, errors);
  std::set<std::pair<std::string, int32_t>> node_ports, seen;
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto& port = spec.ports(i);
    if (spec.type() == "ClusterIP" && port.nodeport() != 0)
      errors->Forbidden(ports.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'");
  }
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto& port = spec.ports(i);
    if (port.nodeport() == 0) continue;
    const Path at = ports.Index(i);
    if (!node_ports.emplace(port.protocol(), port.nodeport()).second)
      errors->DuplicateRaw(at.Child("nodePort"), absl::StrCat(port.nodeport()));
  }
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto& port = spec.ports(i);
    if (seen.emplace(port.protocol(), port.port()).second) continue;
    errors->DuplicateRaw(ports.Index(i), absl::StrCat("{\"Name\":\"\",\"Protocol\":", GoQuote(port.protocol()),
                                                      ",\"AppProtocol\":null,\"Port\":", port.port(),
                                                      ",\"TargetPort\":0,\"NodePort\":0}"));
  }
  if (!spec.loadbalancersourceranges().empty() && spec.type() != "LoadBalancer")
    errors->Forbidden(path.Child("LoadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'");
  if (spec.has_allocateloadbalancernodeports() && spec.type() != "LoadBalancer")
    errors->Forbidden(path.Child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
  if (spec.has_loadbalancerclass() && spec.type() != "LoadBalancer")
    errors->Forbidden(path.Child("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
  if (!External(spec)) {
    if (!spec.externaltrafficpolicy().empty())
      errors->Invalid(path.Child("externalTrafficPolicy"), spec.externaltrafficpolicy(),
                      "may only be set for externally-accessible services");
  } else {
    OneOf(path.Child("externalTrafficPolicy"), spec.externaltrafficpolicy(), {"Cluster", "Local"}, errors);
  }
  const bool health_checked = spec.type() == "LoadBalancer" && spec.externaltrafficpolicy() == "Local";
  if (!health_checked && spec.healthchecknodeport() != 0)
    errors->Invalid(path.Child("healthCheckNodePort"), spec.healthchecknodeport(),
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  if (spec.type() == "ClusterIP" || spec.type() == "NodePort" || spec.type() == "LoadBalancer")
    OneOf(path.Child("internalTrafficPolicy"), spec.internaltrafficpolicy(), {"Cluster", "Local"}, errors);
  if (spec.has_trafficdistribution())
    OneOf(path.Child("trafficDistribution"), spec.trafficdistribution(),
          {"PreferClose", "PreferSameZone", "PreferSameNode"}, errors);
}

void ValidateEndpoints(const core::Endpoints& endpoints, FieldErrors* errors) {
  const Path subsets("subsets");
  for (int i = 0; i < endpoints.subsets_size(); ++i) {
    const auto& subset = endpoints.subsets(i);
    const Path at = subsets.Index(i);
    if (subset.addresses().empty() && subset.notreadyaddresses().empty())
      errors->Required(at, "must specify `addresses` or `notReadyAddresses`");
    const Path addresses = at.Child("addresses"), not_ready = at.Child("notReadyAddresses"), ports = at.Child("ports");
    for (int j = 0; j < subset.addresses_size(); ++j) {
      const Path item = addresses.Index(j);
      ValidateEndpointIp(subset.addresses(j).ip(), item.Child("ip"), errors);
    }
    for (int j = 0; j < subset.notreadyaddresses_size(); ++j) {
      const Path item = not_ready.Index(j);
      ValidateEndpointIp(subset.notreadyaddresses(j).ip(), item.Child("ip"), errors);
    }
    for (int j = 0; j < subset.ports_size(); ++j) {
      const auto& port = subset.ports(j);
      const Path item = ports.Index(j);
      if (subset.ports_size() > 1 && port.name().empty())
        errors->Required(item.Child("name"));
      else if (!port.name().empty())
        InvalidAll(item.Child("name"), port.name(), IsDns1123Label(port.name()), errors);
      for (const std::string& complaint : IsValidPortNum(port.port()))
        errors->Invalid(item.Child("port"), port.port(), complaint);
      OneOf(item.Child("protocol"), port.protocol(), {"SCTP", "TCP", "UDP"}, errors);
    }
  }
}

void ValidateSlice(const discovery::EndpointSlice& slice, const discovery::EndpointSlice* old, FieldErrors* errors) {
  constexpr int kMaxEndpoints = 1000, kMaxPorts = 20000, kMaxAddresses = 100;
  OneOf(Path("addressType"), slice.addresstype(), {"FQDN", "IPv4", "IPv6"}, errors);
  const Path ports("ports");
  if (slice.ports_size() > kMaxPorts) {
    errors->TooMany(ports, slice.ports_size(), kMaxPorts);
  } else {
    std::set<std::string> names;
    for (int i = 0; i < slice.ports_size(); ++i) {
      const auto& port = slice.ports(i);
      const Path at = ports.Index(i);
      if (!port.name().empty()) InvalidAll(at.Child("name"), port.name(), IsDns1123Label(port.name()), errors);
      if (!names.insert(port.name()).second) errors->Duplicate(at.Child("name"), port.name());
      OneOf(at.Child("protocol"), port.protocol(), {"SCTP", "TCP", "UDP"}, errors);
      if (port.has_appprotocol())
        InvalidAll(at.Child("appProtocol"), port.appprotocol(), IsQualifiedName(port.appprotocol()), errors);
    }
  }
  const Path endpoints("endpoints");
  if (slice.endpoints_size() > kMaxEndpoints) return errors->TooMany(endpoints, slice.endpoints_size(), kMaxEndpoints);
  for (int i = 0; i < slice.endpoints_size(); ++i) {
    const auto& endpoint = slice.endpoints(i);
    const Path at = endpoints.Index(i);
    const Path addresses = at.Child("addresses");
    if (endpoint.addresses().empty())
      errors->Required(addresses, "must contain at least 1 address");
    else if (endpoint.addresses_size() > kMaxAddresses)
      errors->TooMany(addresses, endpoint.addresses_size(), kMaxAddresses);
    for (int j = 0; j < endpoint.addresses_size(); ++j) {
      const std::string& address = endpoint.addresses(j);
      const Path item = addresses.Index(j);
      if (slice.addresstype() == "FQDN") {
        InvalidAll(item, address, IsDns1123Subdomain(address), errors);
        continue;
      }
      const bool four = slice.addresstype() == "IPv4";
      if (!four && slice.addresstype() != "IPv6") continue;
      if (!IsIpv4(address) && !IsIpv6(address)) {
        InvalidAll(item, address, IsValidIp(address), errors);
        continue;
      }
      if (four && !IsIpv4(address)) errors->Invalid(addresses, address, "must be an IPv4 address");
      if (!four && !IsIpv6(address)) errors->Invalid(addresses, address, "must be an IPv6 address");
      ValidateEndpointIp(address, item, errors);
    }
    if (endpoint.has_nodename())
      InvalidAll(at.Child("nodeName"), endpoint.nodename(), IsDns1123Subdomain(endpoint.nodename()), errors);
    if (endpoint.has_hostname())
      InvalidAll(at.Child("hostname"), endpoint.hostname(), IsDns1123Label(endpoint.hostname()), errors);
  }
  if (old != nullptr && old->addresstype() != slice.addresstype())
    errors->Invalid(Path("addressType"), slice.addresstype(), "field is immutable");
}

}  // namespace

bool ValidateServiceKinds(const Object& object, const Object* old, FieldErrors* errors) {
  if (const auto* service = object.As<core::Service>())
    return ValidateService(*service, old ? old->As<core::Service>() : nullptr, errors), true;
  if (const auto* endpoints = object.As<core::Endpoints>()) return ValidateEndpoints(*endpoints, errors), true;
  if (const auto* slice = object.As<discovery::EndpointSlice>())
    return ValidateSlice(*slice, old ? old->As<discovery::EndpointSlice>() : nullptr, errors), true;
  return false;
}

}  // namespace skiff::api::internal
