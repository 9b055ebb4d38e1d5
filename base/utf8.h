// Text that came from outside and has to be UTF-8 where it goes: JSON and proto3 strings. Pure, thread-safe.
#ifndef SKIFF_BASE_UTF8_H_
#define SKIFF_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skiff {

// Length of the valid UTF-8 sequence at the start of `text`, which is not empty, and its code point; or 0.
size_t DecodeUtf8(std::string_view text, uint32_t* rune);

bool IsUtf8(std::string_view text);
// Each byte that belongs to no valid sequence becomes U+FFFD, as Go's encoding/json has it.
std::string ToUtf8(std::string text);

}  // namespace skiff

#endif  // SKIFF_BASE_UTF8_H_
