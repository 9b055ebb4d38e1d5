#include "cni/plugin/host_ports.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "cni/plugin/wire.h"

namespace skiff::cni {
namespace {

using nlohmann::json;

// srcnat and raw by name, dstnat + 10 for what is behind everything at dstnat. Protocols are numbers: a node may have
// no /etc/protocols.
constexpr const char* kChains = R"(  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname @loopback ip daddr 127.0.0.0/8 drop
    iifname @loopback ip saddr 127.0.0.0/8 drop
  }
  chain translate {
    dnat ip to ip daddr . meta l4proto . th dport map @v4at
    dnat ip to meta l4proto . th dport map @v4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @v6at
    dnat ip6 to meta l4proto . th dport map @v6
  }
  chain prerouting {
    type nat hook prerouting priority dstnat + 10; policy accept;
    fib daddr type local jump translate
  }
  chain output {
    type nat hook output priority -90; policy accept;
    fib daddr type local jump translate
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr . ip daddr @self4 masquerade
    ip6 saddr . ip6 daddr @self6 masquerade
    oifname @loopback ip saddr 127.0.0.0/8 masquerade
  }
)";
constexpr const char* kChainNames[] = {"guard", "translate", "prerouting", "output", "postrouting"};

std::string MapOf(const HostPort& port) {
  return absl::StrCat(port.pod.v6 ? "v6" : "v4", port.mapping.OnAnyAddress() ? "" : "at");
}

// An element of that map, key and value, as nft's JSON has it.
json ElementOf(const HostPort& port) {
  json key = json::array();
  if (!port.mapping.OnAnyAddress()) key.push_back(port.mapping.host_ip->ToString());
  key.push_back(port.mapping.protocol);
  key.push_back(port.mapping.host_port);
  return {{{"concat", std::move(key)}}, {{"concat", json::array({port.pod.ToString(), port.mapping.container_port})}}};
}

std::string Text(const json& concatenation) {
  return absl::StrJoin(concatenation["concat"], " . ", [](std::string* out, const json& part) {
    absl::StrAppend(out, part.is_string() ? part.get<std::string>() : part.dump());
  });
}

StatusOr<std::string> Nft(std::vector<std::string> arguments, std::string input) {
  arguments.insert(arguments.begin(), "nft");
  Command command{.argv = std::move(arguments), .input = std::move(input), .output_limit = 64 << 20};
  StatusOr<CommandResult> result = Internal("not run");
  asio::io_context loop;
  auto run = [](Command nft, StatusOr<CommandResult>* out) -> Task<void> {
    *out = co_await RunCommand(std::move(nft));
  };
  Spawn(loop.get_executor(), "nft", run(std::move(command), &result));
  loop.run();
  RETURN_IF_ERROR(result, "run nft");
  if (result->exit_code != 0) return Internal("nft: ", result->err.substr(0, 500));
  return std::move(result->out);
}

}  // namespace

std::string HostPortTable(const std::string& network) { return "skiff-hostports-" + network; }

std::string HostPortRules(const std::string& network, const std::vector<HostPort>& ports) {
  const std::string table = "table inet " + HostPortTable(network);
  // "table" before "delete table": deleting what is not there is an error, declaring it twice is not.
  std::string text = absl::StrCat(table, "\ndelete ", table, "\n");
  if (ports.empty()) return text;

  std::map<std::string, std::map<std::string, std::string>> maps = {{"v4", {}}, {"v4at", {}}, {"v6", {}}, {"v6at", {}}};
  std::map<std::string, std::set<std::string>> sets = {{"self4", {}}, {"self6", {}}, {"loopback", {}}};
  for (const HostPort& port : ports) {
    const json element = ElementOf(port);
    maps[MapOf(port)].insert_or_assign(Text(element[0]), Text(element[1]));
    const std::string pod = port.pod.ToString();
    sets[port.pod.v6 ? "self6" : "self4"].insert(absl::StrCat(pod, " . ", pod));
    if (!port.pod.v6 && port.mapping.OnLoopback4())
      sets["loopback"].insert(absl::StrCat("\"", HostInterface(port.owner), "\""));
  }
  absl::StrAppend(&text, table, " {\n");
  for (const auto& [name, elements] : maps) {
    const char* address = name[1] == '4' ? "ipv4_addr" : "ipv6_addr";
    absl::StrAppend(&text, "  map ", name, " {\n    type ", name.ends_with("at") ? absl::StrCat(address, " . ") : "",
                    "inet_proto . inet_service : ", address, " . inet_service\n");
    if (!elements.empty())
      absl::StrAppend(&text, "    elements = { ", absl::StrJoin(elements, ", ", absl::PairFormatter(" : ")), " }\n");
    text += "  }\n";
  }
  for (const auto& [name, elements] : sets) {
    absl::StrAppend(&text, "  set ", name, " {\n    type ",
                    name == "self4"   ? "ipv4_addr . ipv4_addr"
                    : name == "self6" ? "ipv6_addr . ipv6_addr"
                                      : "ifname",
                    "\n");
    if (!elements.empty()) absl::StrAppend(&text, "    elements = { ", absl::StrJoin(elements, ", "), " }\n");
    text += "  }\n";
  }
  return absl::StrCat(text, kChains, "}\n");
}

Status LoadHostPorts(const std::string& network, const std::vector<HostPort>& ports) {
  return Nft({"-f", "-"}, HostPortRules(network, ports)).status();
}

Status CheckHostPorts(const std::string& network, const std::vector<HostPort>& ports) {
  const std::string table = HostPortTable(network);
  ASSIGN_OR_RETURN(const std::string out, Nft({"-jnp", "list", "table", "inet", table}, ""), "host ports");
  const json root = json::parse(out, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("nftables") || !root["nftables"].is_array())
    return Internal("host ports: nft answered no JSON");
  std::map<std::string, json> elements;
  std::set<std::string> chains;  // that hold rules
  for (const json& item : root["nftables"]) {
    if (item.contains("map")) elements[item["map"].value("name", "")] = item["map"].value("elem", json::array());
    if (item.contains("rule")) chains.insert(item["rule"].value("chain", ""));
  }
  for (const char* chain : kChainNames)
    if (!chains.contains(chain)) return FailedPrecondition("chain ", chain, " of table ", table, " has no rules");
  for (const HostPort& port : ports) {
    const json& have = elements[MapOf(port)];
    if (std::find(have.begin(), have.end(), ElementOf(port)) == have.end())
      return FailedPrecondition("host port ", port.mapping.ToString(), " does not lead to ", port.pod.ToString());
  }
  return absl::OkStatus();
}

void RouteLoopback(const Attachment& attachment, bool on) {
  const std::string path = absl::StrCat("/proc/sys/net/ipv4/conf/", HostInterface(attachment), "/route_localnet");
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid() && write(fd.get(), on ? "1" : "0", 1) < 0) return;
}

}  // namespace skiff::cni
