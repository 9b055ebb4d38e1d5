#include "cni/plugin/plugin.h"

#include <netinet/in.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "cni/plugin/error.h"
#include "cni/plugin/host_ports.h"
#include "cni/plugin/ipam.h"
#include "cni/plugin/request.h"
#include "cni/plugin/result.h"
#include "cni/plugin/stale_flows.h"
#include "cni/plugin/wire.h"

namespace skiff::cni {
namespace {

StatusOr<Ipam> OpenIpam(const Config& config) {
  ASSIGN_OR_RETURN(std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id", 128));
  return Ipam::Open(config.state_dir, config.name, std::move(boot_id));
}

std::set<uint16_t> UdpPorts(const std::vector<HostPort>& ports) {
  std::set<uint16_t> out;
  for (const HostPort& port : ports)
    if (port.mapping.protocol == IPPROTO_UDP) out.insert(port.mapping.host_port);
  return out;
}

Status Publish(const Ipam& ipam, const Request& request) {
  RETURN_IF_ERROR(ipam.Claim(request.attachment, request.ports));
  ASSIGN_OR_RETURN(std::vector<HostPort> ports, ipam.HostPorts());
  if (const Status loaded = LoadHostPorts(request.config.name, ports); !loaded.ok()) {
    // What was never loaded must not have to be unloaded: DEL has to succeed where nft cannot be run.
    RETURN_IF_ERROR(ipam.Claim(request.attachment, {}), loaded.message());
    return loaded;
  }
  std::erase_if(ports, [&](const HostPort& port) { return port.owner != request.attachment; });
  // Only now, when the rules keep the pod from the loopback addresses.
  if (std::any_of(ports.begin(), ports.end(), [](const HostPort& p) { return !p.pod.v6 && p.mapping.OnLoopback4(); }))
    RouteLoopback(request.attachment, true);
  return ForgetUdpFlows(UdpPorts(ports));
}

// The ports of these, and nothing where none has any.
Status Withdraw(const Ipam& ipam, const std::string& network, const std::vector<Reservation>& leaving) {
  if (std::all_of(leaving.begin(), leaving.end(), [](const Reservation& r) { return r.stale || r.ports.empty(); }))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<HostPort> ports, ipam.HostPorts());
  const auto end = std::stable_partition(ports.begin(), ports.end(), [&](const HostPort& port) {
    return std::none_of(leaving.begin(), leaving.end(), [&](const Reservation& r) { return r.ip == port.pod; });
  });
  const std::vector<HostPort> gone(end, ports.end());
  ports.erase(end, ports.end());
  for (const HostPort& port : gone) RouteLoopback(port.owner, false);
  RETURN_IF_ERROR(LoadHostPorts(network, ports));
  return ForgetUdpFlows(UdpPorts(gone));
}

// The wire first: an address is free only once nothing answers to it.
Status Detach(const Config& config, const Attachment& attachment, Removal removal) {
  RETURN_IF_ERROR(Disconnect(attachment, removal));
  ASSIGN_OR_RETURN(const Ipam ipam, OpenIpam(config));
  ASSIGN_OR_RETURN(const std::vector<Reservation> held, ipam.Find(attachment));
  RETURN_IF_ERROR(Withdraw(ipam, config.name, held));
  return ipam.Free(held);
}

StatusOr<std::string> Add(const Request& request) {
  std::vector<Ip> addresses;
  auto attach = [&]() -> StatusOr<Wire> {
    {
      // The lock is held for the reservation only: making the veth takes longer than all else together.
      ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
      for (const Prefix& range : request.config.ranges) {
        ASSIGN_OR_RETURN(const Ip ip, ipam.Allocate(range, request.attachment));
        addresses.push_back(ip);
      }
    }
    ASSIGN_OR_RETURN(Wire wire, Connect(request.attachment, request.netns, addresses, request.config.mtu));
    if (!request.ports.empty()) {
      ASSIGN_OR_RETURN(const Ipam ipam, OpenIpam(request.config));
      RETURN_IF_ERROR(Publish(ipam, request), "host ports");
    }
    return wire;
  };
  const auto wire = attach();
  if (wire.ok()) return AddResult(request, *wire, addresses);
  const Status undone = Detach(request.config, request.attachment, Removal::kNow);
  return undone.ok() ? wire.status() : Annotate(wire.status(), undone.message());
}

StatusOr<std::string> Verify(const Request& request) {
  ASSIGN_OR_RETURN(const Ipam ipam, OpenIpam(request.config));
  ASSIGN_OR_RETURN(const std::vector<Reservation> held, ipam.Find(request.attachment));
  std::vector<Ip> addresses;
  for (const Reservation& r : held) addresses.push_back(r.ip);
  if (addresses.size() != request.config.ranges.size())
    return CniError(ErrorCode::kUnknownContainer,
                    absl::StrCat("container ", request.attachment.container_id, " has ", addresses.size(),
                                 " addresses, not ", request.config.ranges.size()));
  if (request.previous) {
    for (const Prefix& before : *request.previous)
      if (std::find(addresses.begin(), addresses.end(), before.ip) == addresses.end())
        return FailedPrecondition("address ", before.ip.ToString(), " of prevResult is not allocated to container ",
                                  request.attachment.container_id);
  }
  RETURN_IF_ERROR(Check(request.attachment, request.netns, addresses));
  std::vector<HostPort> ports;
  for (const Ip& ip : addresses)
    for (const PortMapping& mapping : request.ports)
      if (mapping.Concerns(ip)) ports.push_back({ip, request.attachment, mapping});
  if (!ports.empty()) RETURN_IF_ERROR(CheckHostPorts(request.config.name, ports));
  return std::string();
}

StatusOr<std::string> CollectGarbage(const Request& request) {
  ASSIGN_OR_RETURN(const Ipam ipam, OpenIpam(request.config));
  ASSIGN_OR_RETURN(const std::vector<Reservation> unlisted, ipam.Unlisted(request.valid_attachments));
  for (const Reservation& r : unlisted)
    if (!r.stale) RETURN_IF_ERROR(Disconnect(r.owner));
  RETURN_IF_ERROR(Withdraw(ipam, request.config.name, unlisted));
  RETURN_IF_ERROR(ipam.Free(unlisted));
  return std::string();
}

StatusOr<std::string> Handle(const Request& request, PluginType type, Removal removal) {
  if (type == PluginType::kLoopback) {
    if (request.verb == Verb::kVersion) return VersionResult(request.config.cni_version);
    // lo goes with its namespace: DEL has nothing to do, and must succeed when the namespace is gone.
    if (request.verb != Verb::kAdd && request.verb != Verb::kCheck) return std::string();
    RETURN_IF_ERROR(BringUpLoopback(request.netns));
    return request.verb == Verb::kAdd ? LoopbackResult(request) : std::string();
  }
  switch (request.verb) {
    case Verb::kAdd: return Add(request);
    case Verb::kDel: RETURN_IF_ERROR(Detach(request.config, request.attachment, removal)); return std::string();
    case Verb::kCheck: return Verify(request);
    case Verb::kGc: return CollectGarbage(request);
    case Verb::kVersion: return VersionResult(request.config.cni_version);
    case Verb::kStatus: return std::string();  // the configuration parsed, and it is all that ADD needs
  }
  return Internal("unreachable");
}

}  // namespace

Outcome RunPlugin(const std::function<const char*(const char*)>& getenv, const std::string& input, PluginType type,
                  Removal removal) {
  const auto request = ParseRequest(getenv, input, type);
  if (!request.ok()) return {1, ErrorResult(request.status(), "")};
  auto out = Handle(*request, type, removal);
  if (!out.ok()) return {1, ErrorResult(out.status(), request->config.cni_version)};
  return {0, *std::move(out)};
}

}  // namespace skiff::cni
