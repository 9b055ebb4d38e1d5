// Addresses as the maps hold them: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. Pure functions, thread-safe.
#ifndef SKIFF_PROXY_ADDRESS_H_
#define SKIFF_PROXY_ADDRESS_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "bpf/layout.h"

inline bool operator==(const skiff_address& a, const skiff_address& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }
inline bool operator<(const skiff_address& a, const skiff_address& b) { return std::memcmp(&a, &b, sizeof(a)) < 0; }
inline bool operator==(const skiff_frontend_key& a, const skiff_frontend_key& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}
inline bool operator<(const skiff_frontend_key& a, const skiff_frontend_key& b) {
  return std::memcmp(&a, &b, sizeof(a)) < 0;
}
inline bool operator==(const skiff_range& a, const skiff_range& b) { return a.first == b.first && a.count == b.count; }
inline bool operator==(const skiff_frontend& a, const skiff_frontend& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }
inline bool operator==(const skiff_backend& a, const skiff_backend& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

namespace skiff::proxy {

using Address = ::skiff_address;
using FrontendKey = ::skiff_frontend_key;

enum class Family : uint8_t { kIPv4, kIPv6 };

// Leading zeros of IPv4 parts are taken as decimal, as upstream does. Nothing else is lenient.
std::optional<Address> ParseAddress(std::string_view text);
std::string FormatAddress(const Address& address);
Family FamilyOf(const Address& address);
std::string_view FamilyName(Family family);  // "IPv4", "IPv6"

bool IsUnspecified(const Address& address);  // 0.0.0.0, ::
bool IsLoopback(const Address& address);
bool IsLinkLocal(const Address& address);  // unicast 169.254.0.0/16, fe80::/10, or multicast 224.0.0.0/24, ffx2::/16

struct Prefix {
  Address base = {};
  uint8_t bits = 0;  // of the 128: an IPv4 /24 is 120
  bool Contains(const Address& address) const;
  bool operator==(const Prefix&) const = default;
  bool operator<(const Prefix& b) const { return base == b.base ? bits < b.bits : base < b.base; }
};
// "10.0.0.0/8", "fd00::/64"; host bits are cleared.
std::optional<Prefix> ParsePrefix(std::string_view text);

struct KeyHash {
  size_t operator()(const FrontendKey& key) const;
};

FrontendKey MakeKey(const Address& address, uint16_t port, uint8_t protocol);  // port in host order
FrontendKey AddressKey(const Address& address);                                // the entry of the address itself
FrontendKey NodePortKey(Family family, uint16_t port, uint8_t protocol);
std::string FormatKey(const FrontendKey& key);  // "10.0.0.1:80/TCP"

uint8_t ProtocolNumber(std::string_view name);  // "TCP", "UDP", "SCTP"; 0 for others
std::string_view ProtocolName(uint8_t protocol);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_ADDRESS_H_
