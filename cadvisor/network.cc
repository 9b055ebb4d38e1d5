#include "cadvisor/network.h"

#include "absl/strings/match.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

bool Ignored(std::string_view name) {
  for (const std::string_view prefix : {"lo", "veth", "docker", "nerdctl"}) {
    if (absl::StartsWithIgnoreCase(absl::string_view(name), absl::string_view(prefix))) return true;
  }
  return false;
}

}  // namespace

StatusOr<std::vector<InterfaceStats>> ParseNetDev(std::string_view text) {
  std::vector<InterfaceStats> interfaces;
  std::string_view line;
  for (int i = 0; i < 2; i++) NextLine(&text, &line);  // two lines of titles
  while (NextLine(&text, &line)) {
    if (Trim(line).empty()) continue;
    // "eth0: 1 2 ..", also "eth0:1 2 .." where the first number is wide. The name itself may hold a colon ("eth0:1").
    const size_t colon = line.rfind(':');
    if (colon == std::string_view::npos) return Malformed("net/dev", line);
    uint64_t values[16];
    std::string_view rest = line.substr(colon + 1), word;
    for (uint64_t& value : values) {
      if (!NextWord(&rest, &word) || !ParseNumber(word, &value)) return Malformed("net/dev", line);
    }
    if (!Trim(rest).empty()) return Malformed("net/dev", line);
    const std::string_view name = Trim(line.substr(0, colon));
    if (Ignored(name)) continue;
    interfaces.push_back({.name = std::string(name),
                          .rx_bytes = values[0],
                          .rx_packets = values[1],
                          .rx_errors = values[2],
                          .rx_dropped = values[3],
                          .tx_bytes = values[8],
                          .tx_packets = values[9],
                          .tx_errors = values[10],
                          .tx_dropped = values[11]});
  }
  return interfaces;
}

StatusOr<std::vector<InterfaceStats>> ReadNetwork(const Host& host, pid_t pid) {
  ASSIGN_OR_RETURN(const std::string text, host.proc.Read(absl::StrCat(pid, "/net/dev")));
  StatusOr<std::vector<InterfaceStats>> parsed = ParseNetDev(text);
  RETURN_IF_ERROR(parsed, "process ", pid);
  return parsed;
}

}  // namespace skiff::cadvisor
