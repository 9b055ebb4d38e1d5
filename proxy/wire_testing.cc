#include "proxy/wire_testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "proxy/address_testing.h"

namespace skiff::proxy {

uint32_t Wire::Sum(const char* data, size_t size, uint32_t start) {
  for (size_t i = 0; i < size; i += 2) {
    start += static_cast<uint32_t>(static_cast<uint8_t>(data[i])) << 8 |
             (i + 1 < size ? static_cast<uint8_t>(data[i + 1]) : 0u);
  }
  return start;
}

uint16_t Wire::Fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

std::string Wire::Make(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t protocol,
                       uint8_t tcp_flags, bool udp_checksum) {
  Address s = A(src), d = A(dst);
  bool v6 = FamilyOf(s) == Family::kIPv6;
  std::string payload = "hello, world";
  std::string l4 = Be16(sport) + Be16(dport);
  if (protocol == IPPROTO_TCP) {
    l4 += std::string(8, '\1') + std::string("\x50", 1) + static_cast<char>(tcp_flags) + Be16(1000) + Be16(0) + Be16(0);
  } else {
    l4 += Be16(static_cast<uint32_t>(8 + payload.size())) + Be16(0);
  }
  l4 += payload;
  std::string addresses =
      v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16)
         : std::string(reinterpret_cast<char*>(&s.word[3]), 4) + std::string(reinterpret_cast<char*>(&d.word[3]), 4);
  size_t check = protocol == IPPROTO_TCP ? 16 : 6;
  if (protocol == IPPROTO_TCP || udp_checksum) {
    l4.replace(check, 2, Be16(L4Sum(addresses, l4, protocol)));
  }
  std::string ip;
  if (v6) {
    ip = std::string("\x60\0\0\0", 4) + Be16(static_cast<uint32_t>(l4.size())) + static_cast<char>(protocol) + "\x40" +
         addresses;
  } else {
    ip = std::string("\x45\0", 2) + Be16(static_cast<uint32_t>(20 + l4.size())) + Be16(7) + Be16(0) + "\x40" +
         static_cast<char>(protocol) + Be16(0) + addresses;
    ip.replace(10, 2, Be16(Fold(Sum(ip.data(), 20, 0))));
  }
  return std::string(12, '\2') + (v6 ? "\x86\xdd" : std::string("\x08\0", 2)) + ip + l4;
}

std::string Wire::WithFragment(std::string packet, uint16_t flags_and_offset, uint16_t id) {
  packet.replace(18, 2, Be16(id));
  packet.replace(20, 2, Be16(flags_and_offset));
  packet.replace(24, 2, Be16(0));
  packet.replace(24, 2, Be16(Fold(Sum(packet.data() + 14, 20, 0))));
  return packet;
}

std::string Wire::WithExtension(std::string packet, uint8_t number, std::string header) {
  header[0] = packet[20];
  packet[20] = static_cast<char>(number);
  size_t length = packet.size() - 54 + header.size();
  packet.replace(18, 2, Be16(static_cast<uint32_t>(length)));
  return packet.insert(54, header);
}

std::string Wire::FragmentHeader(uint16_t offset_and_more, uint32_t id) {
  return std::string(2, '\0') + Be16(offset_and_more) + Be16(id >> 16) + Be16(id & 0xffff);
}

std::string Wire::IcmpError(std::string_view src, std::string_view dst, const std::string& quoted) {
  std::string inner = quoted.substr(14, 48 + 20);
  Address s = A(src), d = A(dst);
  bool v6 = FamilyOf(s) == Family::kIPv6;
  std::string icmp =
      (v6 ? std::string("\2\0\0\0", 4) + Be16(0) + Be16(1300) : std::string("\3\4\0\0", 4) + Be16(0) + Be16(1300)) +
      inner;
  std::string addresses =
      v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16)
         : std::string(reinterpret_cast<char*>(&s.word[3]), 4) + std::string(reinterpret_cast<char*>(&d.word[3]), 4);
  uint16_t check = v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) : Fold(Sum(icmp.data(), icmp.size(), 0));
  icmp.replace(2, 2, Be16(check));
  std::string ip;
  if (v6) {
    ip = std::string("\x60\0\0\0", 4) + Be16(static_cast<uint32_t>(icmp.size())) + std::string("\x3a\x40", 2) +
         addresses;
  } else {
    ip = std::string("\x45\0", 2) + Be16(static_cast<uint32_t>(20 + icmp.size())) + Be16(7) + Be16(0) + "\x40" + "\1" +
         Be16(0) + addresses;
    ip.replace(10, 2, Be16(Fold(Sum(ip.data(), 20, 0))));
  }
  return std::string(12, '\2') + (v6 ? "\x86\xdd" : std::string("\x08\0", 2)) + ip + icmp;
}

std::string Wire::ReadError(const std::string& b) {
  bool v6 = static_cast<uint8_t>(b[12]) == 0x86;
  size_t size = v6 ? 16 : 4, from = v6 ? 22 : 26, l4 = v6 ? 54 : 34, inner = l4 + 8;
  auto address = [&](size_t at) {
    Address a = {};
    if (v6) {
      std::memcpy(&a, b.data() + at, 16);
    } else {
      a.word[2] = htonl(0xffff);
      std::memcpy(&a.word[3], b.data() + at, 4);
    }
    return FormatAddress(a);
  };
  auto port = [&](size_t at) { return static_cast<uint8_t>(b[at]) << 8 | static_cast<uint8_t>(b[at + 1]); };
  std::string icmp = b.substr(l4), addresses = b.substr(from, size * 2);
  bool good = v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) == 0 : Fold(Sum(icmp.data(), icmp.size(), 0)) == 0;
  if (!v6) good &= Fold(Sum(b.data() + 14, 20, 0)) == 0 && Fold(Sum(b.data() + inner, 20, 0)) == 0;
  size_t q = inner + (v6 ? 8 : 12), ports = inner + (v6 ? 40 : 20);
  return absl::StrCat(address(from), " > ", address(from + size), " about ", address(q), ":", port(ports), " > ",
                      address(q + size), ":", port(ports + 2), good ? "" : " !");
}

uint16_t Wire::L4Sum(const std::string& addresses, const std::string& l4, uint8_t protocol) {
  uint32_t sum = Sum(addresses.data(), addresses.size(), 0);
  sum += protocol + static_cast<uint32_t>(l4.size());
  return Fold(Sum(l4.data(), l4.size(), sum));
}

std::string Wire::Echo(std::string_view src, std::string_view dst, size_t size) {
  std::string error = IcmpError(src, dst, Make(src, 1, dst, 2, IPPROTO_UDP));
  Address s = A(src), d = A(dst);
  bool v6 = FamilyOf(s) == Family::kIPv6;
  std::string icmp = (v6 ? std::string("\x80\0\0\0", 4) : std::string("\x08\0\0\0", 4)) + Be16(7) + Be16(1) +
                     std::string(size - 8, 'e');
  std::string addresses =
      v6 ? std::string(reinterpret_cast<char*>(&s), 16) + std::string(reinterpret_cast<char*>(&d), 16) : "";
  icmp.replace(2, 2, Be16(v6 ? L4Sum(addresses, icmp, IPPROTO_ICMPV6) : Fold(Sum(icmp.data(), icmp.size(), 0))));
  std::string out = error.substr(0, v6 ? 54 : 34) + icmp;
  if (v6) {
    out.replace(18, 2, Be16(static_cast<uint32_t>(icmp.size())));
  } else {
    out.replace(16, 2, Be16(static_cast<uint32_t>(20 + icmp.size())));
    out.replace(24, 2, Be16(0));
    out.replace(24, 2, Be16(Fold(Sum(out.data() + 14, 20, 0))));
  }
  return out;
}

uint32_t Wire::Crc32c(std::string_view data) {
  uint32_t crc = ~0u;
  for (char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  return ~crc;
}

std::string Wire::Sctp(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t chunk,
                       size_t size) {
  std::string udp = Make(src, sport, dst, dport, IPPROTO_UDP);
  bool v6 = static_cast<uint8_t>(udp[12]) == 0x86;
  std::string sctp = Be16(sport) + Be16(dport) + std::string(8, '\0') + static_cast<char>(chunk) + '\0' +
                     Be16(static_cast<uint32_t>(4 + size)) + std::string(size, 's');
  uint32_t crc = Crc32c(sctp);
  sctp.replace(8, 4, std::string(reinterpret_cast<char*>(&crc), 4));
  std::string out = udp.substr(0, v6 ? 54 : 34) + sctp;
  out[v6 ? 20 : 23] = static_cast<char>(IPPROTO_SCTP);
  if (v6) {
    out.replace(18, 2, Be16(static_cast<uint32_t>(sctp.size())));
  } else {
    out.replace(16, 2, Be16(static_cast<uint32_t>(20 + sctp.size())));
    out.replace(24, 2, Be16(0));
    out.replace(24, 2, Be16(Fold(Sum(out.data() + 14, 20, 0))));
  }
  return out;
}

std::string Wire::Read(const std::string& b) {
  bool v6 = static_cast<uint8_t>(b[12]) == 0x86;
  size_t l4 = v6 ? 54 : 34;
  auto address = [&](size_t at) {
    Address a = {};
    if (v6) {
      std::memcpy(&a, b.data() + at, 16);
    } else {
      a.word[2] = htonl(0xffff);
      std::memcpy(&a.word[3], b.data() + at, 4);
    }
    return FormatAddress(a);
  };
  auto port = [&](size_t at) { return static_cast<uint8_t>(b[at]) << 8 | static_cast<uint8_t>(b[at + 1]); };
  size_t size = v6 ? 16 : 4, from = v6 ? 22 : 26;
  std::string body = b.substr(l4), addresses = b.substr(from, size * 2);
  auto protocol = static_cast<uint8_t>(b[v6 ? 20 : 23]);
  bool no_check = protocol == IPPROTO_UDP && body[6] == 0 && body[7] == 0;
  bool good = no_check || L4Sum(addresses, body, protocol) == 0;
  if (protocol == IPPROTO_SCTP) {
    uint32_t crc = 0;
    std::memcpy(&crc, body.data() + 8, 4);
    good = Crc32c(body.substr(0, 8) + std::string(4, '\0') + body.substr(12)) == crc;
  }
  if (!v6) good &= Fold(Sum(b.data() + 14, 20, 0)) == 0;
  return absl::StrCat(address(from), ":", port(l4), " > ", address(from + size), ":", port(l4 + 2),
                      no_check ? " nosum" : "", good ? "" : " !");
}

}  // namespace skiff::proxy
