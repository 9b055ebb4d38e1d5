#include "cni/agent/firewall.h"

#include <linux/netfilter.h>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/subprocess.h"
#include "cni/agent/conflist.h"
#include "cni/plugin/host_ports.h"

namespace skiff::cni {
namespace {

Task<Status> Nft(std::string input) {
  Command command;
  command.argv = {"nft", "-f", "-"};
  command.input = std::move(input);
  auto result = co_await RunCommand(std::move(command));
  if (!result.ok()) co_return Annotate(result.status(), "run nft");
  if (result->exit_code != 0) co_return Internal("nft: ", result->err.substr(0, 500));
  co_return absl::OkStatus();
}

}  // namespace

std::string Ruleset(const FirewallConfig& config, const std::vector<Peer>& peers) {
  std::vector<std::string> nodes, subnets;
  for (const Peer& peer : peers) {
    nodes.push_back(peer.public_ip.ToString());
    subnets.push_back(Prefix{peer.pod_cidr.First(), peer.pod_cidr.length}.ToString());
  }
  auto elements = [](const std::vector<std::string>& list) {
    return list.empty() ? std::string() : absl::StrCat("    elements = { ", absl::StrJoin(list, ", "), " }\n");
  };
  // "table" before "delete table": deleting what is not there is an error, declaring it twice is not.
  return absl::StrCat("table ip ", config.table, "\ndelete table ip ", config.table, "\ntable ip ", config.table,
                      " {\n", "  set nodes {\n    type ipv4_addr\n", elements(nodes), "  }\n",
                      "  set subnets {\n    type ipv4_addr\n    flags interval\n", elements(subnets), "  }\n",
                      "  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n",
                      "    ip saddr ", config.pod_cidr.ToString(), " ip daddr != ", config.cluster_cidr.ToString(),
                      " ip daddr != 224.0.0.0/4 masquerade fully-random\n  }\n",
                      "  chain input {\n    type filter hook input priority -10; policy accept;\n", "    udp dport ",
                      config.port, " ip saddr != @nodes drop\n  }\n",
                      "  chain prerouting {\n    type filter hook prerouting priority -310; policy accept;\n",
                      "    iifname \"", config.device, "\" ip saddr != @subnets drop\n  }\n", "}\n");
}

Task<Status> Firewall::Apply(const std::vector<Peer>& peers) {
  std::string text = Ruleset(config_, peers);
  if (text == loaded_) {
    CO_ASSIGN_OR_RETURN(const auto now, FindTable(NFPROTO_IPV4, config_.table));
    if (now && now == identity_) co_return absl::OkStatus();
    LOG_WARNING("Somebody changed the pod network's rules; loading them again", {"table", config_.table});
  }
  CO_RETURN_IF_ERROR(co_await Nft(text), "load the pod network's rules");
  loaded_ = std::move(text);
  CO_ASSIGN_OR_RETURN(identity_, FindTable(NFPROTO_IPV4, config_.table));
  co_return absl::OkStatus();
}

Task<Status> Firewall::Remove(std::string table) {
  co_return co_await Nft(
      absl::StrCat("table ip ", table, "\ndelete table ip ", table, "\n", HostPortRules(kNetworkName, {})));
}

}  // namespace skiff::cni
