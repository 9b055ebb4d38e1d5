// Reading the small text formats of /proc, /sys and cgroups without regexps, streams or copies.
#ifndef SKIFF_CADVISOR_PARSE_H_
#define SKIFF_CADVISOR_PARSE_H_

#include <charconv>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace skiff::cadvisor {

inline std::string_view Trim(std::string_view s) {
  constexpr std::string_view kSpace = " \t\r\n\0";
  const size_t begin = s.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(kSpace) - begin + 1);
}

// All of `s` as a number.
template <typename T>
bool ParseNumber(std::string_view s, T* out) {
  const auto parsed = std::from_chars(s.data(), s.data() + s.size(), *out);
  return parsed.ec == std::errc() && parsed.ptr == s.data() + s.size();
}

// Takes the first line (without its end) off *text; false at the end.
inline bool NextLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  const size_t end = text->find('\n');
  *line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return true;
}

// Takes the next word off *line; false when only blanks are left.
inline bool NextWord(std::string_view* line, std::string_view* word) {
  const size_t begin = line->find_first_not_of(" \t");
  if (begin == std::string_view::npos) {
    *line = {};
    return false;
  }
  line->remove_prefix(begin);
  const size_t end = line->find_first_of(" \t");
  *word = line->substr(0, end);
  line->remove_prefix(end == std::string_view::npos ? line->size() : end);
  return true;
}

// "file: malformed: ..", with the value cut to a readable length.
Status Malformed(std::string_view file, std::string_view value);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_PARSE_H_
