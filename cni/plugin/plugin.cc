#include "cni/plugin/plugin.h"

#include "base/files.h"
#include "cni/plugin/error.h"
#include "cni/plugin/ipam.h"
#include "cni/plugin/request.h"
#include "cni/plugin/result.h"
#include "cni/plugin/wire.h"

namespace skiff::cni {
namespace {

StatusOr<Ipam> OpenIpam(const Config& config) {
  ASSIGN_OR_RETURN(std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id", 128));
  return Ipam::Open(config.state_dir, config.name, std::move(boot_id));
}

StatusOr<std::string> Add(const Request& request) {
  std::vector<Ip> addresses;
  {
    // The lock is held for the reservation only: making the veth takes longer than all else together.
    ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
    for (const Prefix& range : request.config.ranges) {
      auto ip = ipam.Allocate(range, request.attachment);
      if (!ip.ok()) {
        auto released = ipam.Release(request.attachment);
        return released.ok() ? ip.status() : Annotate(ip.status(), released.status().message());
      }
      addresses.push_back(*ip);
    }
  }
  auto wire = Connect(request.attachment, request.netns, addresses, request.config.mtu);
  if (!wire.ok()) {
    ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
    auto released = ipam.Release(request.attachment);
    return released.ok() ? wire.status() : Annotate(wire.status(), released.status().message());
  }
  return AddResult(request, *wire, addresses);
}

// The wire first: an address is free only once nothing answers to it.
StatusOr<std::string> Del(const Request& request, Removal removal) {
  RETURN_IF_ERROR(Disconnect(request.attachment, removal));
  ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
  RETURN_IF_ERROR(ipam.Release(request.attachment));
  return std::string();
}

StatusOr<std::string> Verify(const Request& request) {
  ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
  ASSIGN_OR_RETURN(const std::vector<Ip> addresses, ipam.Find(request.attachment));
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
  return std::string();
}

StatusOr<std::string> CollectGarbage(const Request& request) {
  ASSIGN_OR_RETURN(Ipam ipam, OpenIpam(request.config));
  ASSIGN_OR_RETURN(const std::vector<Attachment> dropped, ipam.Keep(request.valid_attachments));
  for (const Attachment& attachment : dropped) RETURN_IF_ERROR(Disconnect(attachment));
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
    case Verb::kDel: return Del(request, removal);
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
