#include "cni/plugin/result.h"

#include <nlohmann/json.hpp>

#include "base/json_dump.h"
#include "cni/plugin/error.h"

namespace skiff::cni {

using nlohmann::ordered_json;

namespace {

// Paths and names come from outside and may not be UTF-8.
std::string Print(const ordered_json& out) { return DumpJson(out); }

}  // namespace

std::string AddResult(const Request& request, const Wire& wire, const std::vector<Ip>& addresses) {
  const std::string& version = request.config.cni_version;
  ordered_json out;
  out["cniVersion"] = version;
  ordered_json outer = {{"name", wire.host_interface}, {"mac", wire.host_mac}};
  ordered_json inner = {{"name", request.attachment.interface}, {"mac", wire.pod_mac}, {"sandbox", request.netns}};
  if (version == "1.1.0") {
    outer["mtu"] = wire.mtu;
    inner["mtu"] = wire.mtu;
  }
  out["interfaces"] = {std::move(outer), std::move(inner)};
  out["ips"] = ordered_json::array();
  out["routes"] = ordered_json::array();
  const bool with_family = version[0] == '0';  // dropped in 1.0.0
  for (const Ip& ip : addresses) {
    ordered_json entry;
    if (with_family) entry["version"] = ip.v6 ? "6" : "4";
    entry["interface"] = 1;
    entry["address"] = absl::StrCat(ip.ToString(), "/", ip.bits());
    entry["gateway"] = ip.v6 ? kGateway6 : kGateway4;
    out["ips"].push_back(std::move(entry));
    out["routes"].push_back({{"dst", ip.v6 ? "::/0" : "0.0.0.0/0"}, {"gw", ip.v6 ? kGateway6 : kGateway4}});
  }
  out["dns"] = ordered_json::object();
  return Print(out);
}

std::string LoopbackResult(const Request& request) {
  const std::string& version = request.config.cni_version;
  ordered_json out;
  out["cniVersion"] = version;
  out["interfaces"] = ordered_json::array(
      {ordered_json{{"name", request.attachment.interface}, {"mac", "00:00:00:00:00:00"}, {"sandbox", request.netns}}});
  ordered_json ip;
  if (version[0] == '0') ip["version"] = "4";
  ip["interface"] = 0;
  ip["address"] = "127.0.0.1/8";
  out["ips"] = ordered_json::array({std::move(ip)});
  out["dns"] = ordered_json::object();
  return Print(out);
}

std::string VersionResult(const std::string& asked) {
  ordered_json out;
  out["cniVersion"] = asked.empty() ? kVersions[std::size(kVersions) - 1] : asked;
  out["supportedVersions"] = kVersions;
  return Print(out);
}

std::string ErrorResult(const Status& status, const std::string& cni_version) {
  ordered_json out;
  out["cniVersion"] = cni_version.empty() ? kVersions[std::size(kVersions) - 1] : cni_version;
  out["code"] = static_cast<int>(CodeOf(status));
  out["msg"] = std::string(status.message());
  return Print(out);
}

}  // namespace skiff::cni
