// Base64, hex, digests and random bytes of tls.h.
#include <array>
#include <cstdlib>

#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/tls.h"

namespace skiff {
namespace {

constexpr char kStandard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrl[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string Encode(std::string_view data, const char* alphabet, bool pad) {
  std::string out;
  out.reserve((data.size() + 2) / 3 * 4);
  for (size_t i = 0; i < data.size(); i += 3) {
    const size_t n = std::min<size_t>(3, data.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<unsigned char>(data[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) {
      if (k <= n) {
        out += alphabet[bits >> (18 - 6 * k) & 63];
      } else if (pad) {
        out += '=';
      }
    }
  }
  return out;
}

std::array<int8_t, 256> Reverse(const char* alphabet) {
  std::array<int8_t, 256> out;
  out.fill(-1);
  for (int i = 0; i < 64; ++i) out[static_cast<unsigned char>(alphabet[i])] = static_cast<int8_t>(i);
  return out;
}

// As Go's decoders: line breaks are skipped, padding is required exactly where the alphabet has it.
StatusOr<std::string> Decode(std::string_view text, const std::array<int8_t, 256>& values, bool padded) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  size_t digits = 0, padding = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n' || c == '\r') continue;
    const auto bad = [&] { return InvalidArgument("illegal base64 data at input byte ", i); };
    if (c == '=' && padded) {
      ++padding;
      if (digits % 4 < 2 || digits % 4 + padding > 4) return bad();
      continue;
    }
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0 || padding > 0) return bad();
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++digits % 4 == 0) {
      out += static_cast<char>(bits >> 16);
      out += static_cast<char>(bits >> 8);
      out += static_cast<char>(bits);
      bits = 0;
    }
  }
  const size_t rest = digits % 4;
  if (rest == 1 || (padded && rest != 0 && rest + padding != 4)) {
    return InvalidArgument("illegal base64 data at input byte ", text.size());
  }
  if (rest == 2) out += static_cast<char>(bits >> 4);
  if (rest == 3) {
    out += static_cast<char>(bits >> 10);
    out += static_cast<char>(bits >> 2);
  }
  return out;
}

}  // namespace

std::string Base64Encode(std::string_view data) { return Encode(data, kStandard, true); }
std::string Base64UrlEncode(std::string_view data) { return Encode(data, kUrl, false); }

StatusOr<std::string> Base64Decode(std::string_view text) {
  static const auto values = Reverse(kStandard);
  return Decode(text, values, true);
}

StatusOr<std::string> Base64UrlDecode(std::string_view text) {
  static const auto values = Reverse(kUrl);
  return Decode(text, values, false);
}

std::string HexEncode(std::string_view data) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(data.size() * 2);
  for (const char c : data) {
    out += kHex[static_cast<unsigned char>(c) >> 4];
    out += kHex[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string RandomBytes(size_t n) {
  std::string out(n, '\0');
  // Without randomness there is no safe way on: tokens and keys would be guessable.
  if (n > 0 && RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) != 1) std::abort();
  return out;
}

std::string RandomUuid() {
  std::string bytes = RandomBytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  const std::string hex = HexEncode(bytes);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-", hex.substr(16, 4), "-",
                      hex.substr(20));
}

std::string Sha256(std::string_view data) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
         reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

}  // namespace skiff
