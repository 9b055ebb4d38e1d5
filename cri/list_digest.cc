#include "cri/list_digest.h"

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace skiff::cri {
namespace {

uint64_t Hash(uint64_t salt, std::string_view bytes) {
  return absl::HashOf(salt, absl::string_view(bytes.data(), bytes.size()));
}

// False at the end, or where it is longer than 64 bits.
bool TakeVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (size_t i = 0; i < bytes->size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>((*bytes)[i]);
    *value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      bytes->remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

// The sum over the fields, which no order changes. `nested`: how many levels of messages below this one are looked into
// in the same way; what is deeper counts as the bytes that it is.
uint64_t Fields(std::string_view message, int nested) {
  uint64_t sum = 0;
  for (std::string_view rest = message; !rest.empty();) {
    const std::string_view field = rest;
    uint64_t tag = 0, n = 0;
    if (!TakeVarint(&rest, &tag)) return Hash(0, message);
    switch (tag & 7) {
      case 0:
        if (!TakeVarint(&rest, &n)) return Hash(0, message);
        n = 0;
        break;
      case 1: n = 8; break;
      case 2:
        if (!TakeVarint(&rest, &n)) return Hash(0, message);
        break;
      case 5: n = 4; break;
      default: return Hash(0, message);
    }
    if (n > rest.size()) return Hash(0, message);
    if ((tag & 7) == 2 && nested > 0) {
      sum += absl::HashOf(tag, Fields(rest.substr(0, n), nested - 1));
      rest.remove_prefix(n);
    } else {
      rest.remove_prefix(n);
      sum += Hash(1, field.substr(0, field.size() - rest.size()));
    }
  }
  return sum;
}

}  // namespace

uint64_t ListDigest(std::string_view encoded) { return Fields(encoded, 1); }

}  // namespace skiff::cri
