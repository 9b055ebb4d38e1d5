// Packets as bytes, for the tables of the packet programs: made with right checksums, and read back as text.
#ifndef SKIFF_PROXY_WIRE_TESTING_H_
#define SKIFF_PROXY_WIRE_TESTING_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace skiff::proxy {

struct Wire {
  static uint32_t Sum(const char* data, size_t size, uint32_t start);
  static uint16_t Fold(uint32_t sum);
  static std::string Be16(uint32_t v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }

  static std::string Make(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t protocol,
                          uint8_t tcp_flags = 2, bool udp_checksum = true);
  // `packet` with its IPv4 header changed, checksum and all.
  static std::string WithFragment(std::string packet, uint16_t flags_and_offset, uint16_t id);
  // `packet` with an IPv6 extension header, `header`'s first byte to be filled in.
  static std::string WithExtension(std::string packet, uint8_t number, std::string header);
  static std::string FragmentHeader(uint16_t offset_and_more, uint32_t id);
  // An ICMP "packet too big" from `src` to `dst` about `quoted`, of which as much as fits a minimal error is quoted.
  static std::string IcmpError(std::string_view src, std::string_view dst, const std::string& quoted);
  // "src > dst about src:port > dst:port", with "!" where a checksum is wrong.
  static std::string ReadError(const std::string& b);
  static uint16_t L4Sum(const std::string& addresses, const std::string& l4, uint8_t protocol);
  // ICMP echo request.
  static std::string Echo(std::string_view src, std::string_view dst, size_t size);
  static uint32_t Crc32c(std::string_view data);
  // One chunk of that type, with `size` bytes.
  static std::string Sctp(std::string_view src, uint16_t sport, std::string_view dst, uint16_t dport, uint8_t chunk,
                          size_t size);
  // "src:port > dst:port", with "!" where a checksum is wrong.
  static std::string Read(const std::string& b);
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_WIRE_TESTING_H_
