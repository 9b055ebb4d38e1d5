#include "base/utf8.h"

namespace skiff {

size_t DecodeUtf8(std::string_view s, uint32_t* rune) {
  const auto c = static_cast<unsigned char>(s[0]);
  size_t n = 0;
  if (c < 0x80) {
    *rune = c;
    return 1;
  }
  if (c >= 0xc2 && c < 0xe0) {
    n = 2;
    *rune = c & 0x1f;
  } else if (c >= 0xe0 && c < 0xf0) {
    n = 3;
    *rune = c & 0x0f;
  } else if (c >= 0xf0 && c < 0xf5) {
    n = 4;
    *rune = c & 0x07;
  } else {
    return 0;
  }
  if (s.size() < n) return 0;
  for (size_t i = 1; i < n; i++) {
    const auto next = static_cast<unsigned char>(s[i]);
    if ((next & 0xc0) != 0x80) return 0;
    *rune = *rune << 6 | (next & 0x3f);
  }
  if (n == 3 && (*rune < 0x800 || (*rune >= 0xd800 && *rune < 0xe000))) return 0;
  if (n == 4 && (*rune < 0x10000 || *rune > 0x10ffff)) return 0;
  return n;
}

bool IsUtf8(std::string_view text) {
  uint32_t rune = 0;
  while (!text.empty()) {
    const size_t n = DecodeUtf8(text, &rune);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string ToUtf8(std::string text) {
  if (IsUtf8(text)) return text;
  std::string out;
  uint32_t rune = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t n = DecodeUtf8(rest, &rune);
    out += n == 0 ? std::string_view("\xef\xbf\xbd") : rest.substr(0, n);
    rest.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

}  // namespace skiff
