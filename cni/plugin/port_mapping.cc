#include "cni/plugin/port_mapping.h"

#include <netinet/in.h>

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace skiff::cni {
namespace {

constexpr std::pair<const char*, uint8_t> kProtocols[] = {
    {"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}};

bool ParsePort(std::string_view text, uint16_t* port) {
  int number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 1 || number > 65535) return false;
  *port = static_cast<uint16_t>(number);
  return true;
}

}  // namespace

uint8_t ProtocolNumber(std::string_view name) {
  for (const auto& [text, number] : kProtocols)
    if (absl::EqualsIgnoreCase(name, text)) return number;
  return 0;
}

bool PortMapping::OnLoopback4() const {
  if (OnAnyAddress()) return !host_ip || !host_ip->v6;
  return !host_ip->v6 && host_ip->bytes[0] == 127;
}

std::string PortMapping::ToString() const {
  std::string name;
  for (const auto& [text, number] : kProtocols)
    if (number == protocol) name = text;
  return absl::StrCat(name, " ", host_ip ? host_ip->ToString() : "*", " ", host_port, " ", container_port);
}

StatusOr<PortMapping> PortMapping::Parse(std::string_view line) {
  const std::vector<std::string_view> words = absl::StrSplit(line, ' ');
  PortMapping mapping;
  if (words.size() != 4 || (mapping.protocol = ProtocolNumber(words[0])) == 0 ||
      !ParsePort(words[2], &mapping.host_port) || !ParsePort(words[3], &mapping.container_port))
    return InvalidArgument("invalid port mapping: ", line);
  if (words[1] != "*") {
    ASSIGN_OR_RETURN(mapping.host_ip, Ip::Parse(words[1]), "invalid port mapping: ", line);
  }
  return mapping;
}

}  // namespace skiff::cni
