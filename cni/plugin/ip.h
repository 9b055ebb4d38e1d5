// IP addresses and prefixes of both families as plain bytes, with the arithmetic that address management needs.
#ifndef SKIFF_CNI_PLUGIN_IP_H_
#define SKIFF_CNI_PLUGIN_IP_H_

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::cni {

struct Ip {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};  // network order; a v4 address uses the first four

  static StatusOr<Ip> Parse(std::string_view text);
  std::string ToString() const;
  int bits() const { return v6 ? 128 : 32; }
  Ip Plus(uint64_t n) const;  // wraps at the family's end
  auto operator<=>(const Ip&) const = default;
};

struct Prefix {
  Ip ip;
  int length = 0;

  static StatusOr<Prefix> Parse(std::string_view text);  // "10.0.0.0/24"; host bits are kept
  std::string ToString() const;
  Ip First() const;  // the network address
  Ip Last() const;   // the broadcast address (v4) or the last one
  bool Contains(const Ip& other) const;
  auto operator<=>(const Prefix&) const = default;
};

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_IP_H_
