#include "proxy/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace skiff::proxy {

namespace {

const uint8_t* Bytes(const Address& a) { return reinterpret_cast<const uint8_t*>(&a); }

constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<uint32_t> ParseIPv4(std::string_view text) {
  uint32_t out = 0;
  int parts = 0;
  for (std::string_view part : absl::StrSplit(text, '.')) {
    if (part.empty() || part.size() > 15 || ++parts > 4) return std::nullopt;
    uint32_t value = 0;
    for (char c : part) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + static_cast<uint32_t>(c - '0');
      if (value > 255) return std::nullopt;
    }
    out = out << 8 | value;
  }
  if (parts != 4) return std::nullopt;
  return out;
}

Address FromIPv4(uint32_t host_order) {
  Address out;
  std::memcpy(&out, kMapped, 12);
  out.word[3] = htonl(host_order);
  return out;
}

}  // namespace

std::optional<Address> ParseAddress(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    auto ip = ParseIPv4(text);
    if (!ip) return std::nullopt;
    return FromIPv4(*ip);
  }
  char buffer[INET6_ADDRSTRLEN + 1];
  if (text.size() >= sizeof(buffer)) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  Address out;
  if (inet_pton(AF_INET6, buffer, &out) != 1) return std::nullopt;
  return out;
}

std::string FormatAddress(const Address& address) {
  char buffer[INET6_ADDRSTRLEN];
  if (FamilyOf(address) == Family::kIPv4) return inet_ntop(AF_INET, &address.word[3], buffer, sizeof(buffer));
  return inet_ntop(AF_INET6, &address, buffer, sizeof(buffer));
}

Family FamilyOf(const Address& address) {
  return std::memcmp(&address, kMapped, 12) == 0 ? Family::kIPv4 : Family::kIPv6;
}

std::string_view FamilyName(Family family) { return family == Family::kIPv4 ? "IPv4" : "IPv6"; }

bool IsUnspecified(const Address& address) {
  return address == Address{} || (FamilyOf(address) == Family::kIPv4 && address.word[3] == 0);
}

bool IsLoopback(const Address& address) {
  if (FamilyOf(address) == Family::kIPv4) return Bytes(address)[12] == 127;
  Address loopback = {};
  reinterpret_cast<uint8_t*>(&loopback)[15] = 1;
  return address == loopback;
}

bool IsLinkLocal(const Address& address) {
  const uint8_t* b = Bytes(address);
  if (FamilyOf(address) == Family::kIPv4) {
    return (b[12] == 169 && b[13] == 254) || (b[12] == 224 && b[13] == 0 && b[14] == 0);
  }
  return (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || (b[0] == 0xff && (b[1] & 0x0f) == 0x02);
}

bool Prefix::Contains(const Address& address) const {
  size_t whole = bits / 8, rest = bits % 8;
  if (std::memcmp(&base, &address, whole) != 0) return false;
  if (rest == 0) return true;
  auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return (Bytes(base)[whole] & mask) == (Bytes(address)[whole] & mask);
}

std::optional<Prefix> ParsePrefix(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto base = ParseAddress(text.substr(0, slash));
  int bits = 0;
  if (!base || !absl::SimpleAtoi(std::string(text.substr(slash + 1)), &bits) || bits < 0) return std::nullopt;
  bool v4 = text.find(':') == std::string_view::npos;
  if (bits > (v4 ? 32 : 128)) return std::nullopt;
  Prefix out{*base, static_cast<uint8_t>(v4 ? bits + 96 : bits)};
  auto* b = reinterpret_cast<uint8_t*>(&out.base);
  for (size_t i = 0; i < 16; i++) {
    int keep = std::min(8, std::max(0, int{out.bits} - static_cast<int>(i) * 8));
    b[i] &= static_cast<uint8_t>(0xff00 >> keep);
  }
  return out;
}

size_t KeyHash::operator()(const FrontendKey& key) const {
  uint64_t h = 0xcbf29ce484222325ull;
  uint32_t words[5];
  static_assert(sizeof(words) == sizeof(key));
  std::memcpy(words, &key, sizeof(words));
  for (uint32_t w : words) {
    h = (h ^ w) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 29;
  }
  return h;
}

FrontendKey MakeKey(const Address& address, uint16_t port, uint8_t protocol) {
  FrontendKey key = {};
  key.address = address;
  key.port = htons(port);
  key.protocol = protocol;
  return key;
}

FrontendKey AddressKey(const Address& address) { return MakeKey(address, 0, 0); }

FrontendKey NodePortKey(Family family, uint16_t port, uint8_t protocol) {
  FrontendKey key = MakeKey({}, port, protocol);
  key.scope = family == Family::kIPv4 ? SKIFF_SCOPE_NODE_PORT4 : SKIFF_SCOPE_NODE_PORT6;
  return key;
}

std::string FormatKey(const FrontendKey& key) {
  std::string host;
  if (key.scope != SKIFF_SCOPE_ADDRESS) {
    host = key.scope == SKIFF_SCOPE_NODE_PORT4 ? "node" : "[node]";
  } else if (FamilyOf(key.address) == Family::kIPv4) {
    host = FormatAddress(key.address);
  } else {
    host = absl::StrCat("[", FormatAddress(key.address), "]");
  }
  if (key.port == 0) return host;
  return absl::StrCat(host, ":", ntohs(key.port), "/", ProtocolName(key.protocol));
}

uint8_t ProtocolNumber(std::string_view name) {
  if (name == "TCP") return IPPROTO_TCP;
  if (name == "UDP") return IPPROTO_UDP;
  if (name == "SCTP") return IPPROTO_SCTP;
  return 0;
}

std::string_view ProtocolName(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP: return "TCP";
    case IPPROTO_UDP: return "UDP";
    case IPPROTO_SCTP: return "SCTP";
  }
  return "unknown";
}

}  // namespace skiff::proxy
