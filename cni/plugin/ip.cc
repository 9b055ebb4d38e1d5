#include "cni/plugin/ip.h"

#include <arpa/inet.h>

#include <charconv>

namespace skiff::cni {

StatusOr<Ip> Ip::Parse(std::string_view text) {
  Ip ip;
  const std::string copy(text);
  if (inet_pton(AF_INET, copy.c_str(), ip.bytes.data()) == 1) return ip;
  ip.v6 = true;
  if (inet_pton(AF_INET6, copy.c_str(), ip.bytes.data()) == 1) return ip;
  return InvalidArgument("invalid IP address: ", text);
}

std::string Ip::ToString() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text) ? text : "";
}

Ip Ip::Plus(uint64_t n) const {
  Ip sum = *this;
  for (int i = bits() / 8 - 1; i >= 0 && n > 0; --i) {
    n += sum.bytes[i];
    sum.bytes[i] = static_cast<uint8_t>(n);
    n >>= 8;
  }
  return sum;
}

StatusOr<Prefix> Prefix::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return InvalidArgument("invalid CIDR address: ", text);
  Prefix prefix;
  auto ip = Ip::Parse(text.substr(0, slash));
  const std::string_view length = text.substr(slash + 1);
  const auto [end, ec] = std::from_chars(length.begin(), length.end(), prefix.length);
  if (!ip.ok() || ec != std::errc() || end != length.end() || prefix.length < 0 || prefix.length > ip->bits())
    return InvalidArgument("invalid CIDR address: ", text);
  prefix.ip = *ip;
  return prefix;
}

std::string Prefix::ToString() const { return absl::StrCat(ip.ToString(), "/", length); }

Ip Prefix::First() const {
  Ip first = ip;
  for (int bit = length; bit < ip.bits(); ++bit) first.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
  return first;
}

Ip Prefix::Last() const {
  Ip last = ip;
  for (int bit = length; bit < ip.bits(); ++bit) last.bytes[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
  return last;
}

bool Prefix::Contains(const Ip& other) const { return other.v6 == ip.v6 && First() <= other && other <= Last(); }

}  // namespace skiff::cni
