#include "cni/agent/peer.h"

#include <algorithm>
#include <tuple>

#include <nlohmann/json.hpp>

namespace skiff::cni {
namespace {

using k8s::io::api::core::v1::Node;
using nlohmann::json;

std::string Annotation(const Node& node, const char* key) {
  const auto& map = node.metadata().annotations();
  const auto it = map.find(key);
  return it == map.end() ? "" : it->second;
}

Status Bad(const char* key, std::string_view value, std::string_view why) {
  return InvalidArgument("annotation ", key, ": invalid value \"", value.substr(0, 128), "\": ", why);
}

// Six pairs of hex digits, unicast: a group address as a peer's MAC would flood.
bool IsUnicastMac(std::string_view mac) {
  if (mac.size() != 17) return false;
  for (size_t i = 0; i < mac.size(); ++i)
    if (i % 3 == 2 ? mac[i] != ':' : !isxdigit(static_cast<unsigned char>(mac[i]))) return false;
  const int first = std::stoi(std::string(mac.substr(0, 2)), nullptr, 16);
  return (first & 1) == 0 && mac != "00:00:00:00:00:00";
}

bool IsUnicast4(const Ip& ip) {
  return !ip.v6 && ip.bytes[0] != 0 && ip.bytes[0] != 127 && ip.bytes[0] < 224 &&
         !(ip.bytes[0] == 169 && ip.bytes[1] == 254);
}

}  // namespace

StatusOr<Prefix> PodCidr(const Node& node) {
  std::vector<std::string> all(node.spec().podcidrs().begin(), node.spec().podcidrs().end());
  if (all.empty() && !node.spec().podcidr().empty()) all.push_back(node.spec().podcidr());
  for (const std::string& text : all) {
    const auto prefix = Prefix::Parse(text);
    if (!prefix.ok()) return InvalidArgument("spec.podCIDR: ", prefix.status().message());
    if (!prefix->ip.v6) return Prefix{prefix->First(), prefix->length};
  }
  return NotFound("node \"", node.metadata().name(), "\" pod cidr not assigned");
}

StatusOr<Peer> ReadPeer(const Node& node) {
  if (Annotation(node, kSubnetManager) != "true") return NotFound("node has not announced itself");
  if (Annotation(node, kBackendType) != "vxlan") return NotFound("node uses another backend");
  Peer peer;
  peer.node = node.metadata().name();
  ASSIGN_OR_RETURN(peer.pod_cidr, PodCidr(node));
  if (peer.pod_cidr.length < 8 || peer.pod_cidr.length > 30)
    return InvalidArgument("spec.podCIDR: ", peer.pod_cidr.ToString(), " is no plausible pod subnet");

  const std::string address = Annotation(node, kPublicIp);
  const auto ip = Ip::Parse(address);
  if (!ip.ok() || !IsUnicast4(*ip)) return Bad(kPublicIp, address, "must be a unicast IPv4 address");
  peer.public_ip = *ip;

  const std::string data = Annotation(node, kBackendData);
  const json root = data.size() > 4096 ? json() : json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return Bad(kBackendData, data, "must be a JSON object");
  const auto vni = root.find("VNI");
  if (vni == root.end() || !vni->is_number_unsigned() || vni->get<uint64_t>() == 0 || vni->get<uint64_t>() >= 1u << 24)
    return Bad(kBackendData, data, "VNI must be a number from 1 to 16777215");
  peer.vni = vni->get<uint32_t>();
  const auto mac = root.find("VtepMAC");
  if (mac == root.end() || !mac->is_string() || !IsUnicastMac(mac->get_ref<const std::string&>()))
    return Bad(kBackendData, data, "VtepMAC must be a unicast MAC address");
  peer.mac = mac->get<std::string>();
  for (char& c : peer.mac) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  return peer;
}

Peers ChoosePeers(const Peer& self, const Prefix& cluster_cidr, std::vector<std::shared_ptr<const Node>> nodes,
                  const std::vector<Peer>& before) {
  struct Candidate {
    bool known;
    int64_t born;
    Peer peer;
  };
  Peers out;
  std::vector<Candidate> candidates;
  for (const auto& node : nodes) {
    const std::string& name = node->metadata().name();
    if (name == self.node) continue;
    auto peer = ReadPeer(*node);
    if (!peer.ok()) {
      if (!absl::IsNotFound(peer.status())) out.bad[name] = std::string(peer.status().message());
    } else if (peer->vni != self.vni) {
      out.bad[name] =
          absl::StrCat("annotation ", kBackendData, ": VNI ", peer->vni, " is not this cluster's ", self.vni);
    } else if (!cluster_cidr.Contains(peer->pod_cidr.First()) || !cluster_cidr.Contains(peer->pod_cidr.Last())) {
      out.bad[name] =
          absl::StrCat("spec.podCIDR: ", peer->pod_cidr.ToString(), " is not within ", cluster_cidr.ToString());
    } else {
      const bool known = std::find(before.begin(), before.end(), *peer) != before.end();
      candidates.push_back({known, node->metadata().creationtimestamp().seconds(), *std::move(peer)});
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(b.known, a.born, a.peer.node) < std::tie(a.known, b.born, b.peer.node);
  });
  auto conflict = [](const Peer& a, const Peer& b) {
    return a.pod_cidr.Contains(b.pod_cidr.First()) || b.pod_cidr.Contains(a.pod_cidr.First()) ||
           a.public_ip == b.public_ip || a.mac == b.mac;
  };
  for (Candidate& candidate : candidates) {
    const Peer* owner = conflict(self, candidate.peer) ? &self : nullptr;
    for (const Peer& peer : out.good)
      if (conflict(peer, candidate.peer)) owner = &peer;
    if (owner == nullptr) {
      out.good.push_back(std::move(candidate.peer));
    } else {
      out.bad[candidate.peer.node] = absl::StrCat("its subnet, address or MAC is node ", owner->node, "'s");
    }
  }
  std::sort(out.good.begin(), out.good.end());
  return out;
}

std::map<std::string, std::string> Announce(const Peer& self) {
  return {{kBackendType, "vxlan"},
          {kBackendData, absl::StrCat("{\"VNI\":", self.vni, ",\"VtepMAC\":\"", self.mac, "\"}")},
          {kPublicIp, self.public_ip.ToString()},
          {kSubnetManager, "true"}};
}

}  // namespace skiff::cni
