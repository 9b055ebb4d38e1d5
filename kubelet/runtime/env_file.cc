#include "kubelet/runtime/env_file.h"

#include "absl/strings/str_cat.h"

namespace skiff::kubelet {
namespace {

std::string_view TrimLeft(std::string_view s) {
  size_t n = s.find_first_not_of(" \t");
  return n == std::string_view::npos ? std::string_view() : s.substr(n);
}

// Takes the first line off `text`, without its end.
std::string_view TakeLine(std::string_view* text) {
  size_t end = text->find('\n');
  std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

Status Bad(int line, std::string_view what) {
  return InvalidArgument("invalid environment variable format at line ", line, ": ", what);
}

}  // namespace

StatusOr<std::string> ValueFromEnvFile(std::string_view text, std::string_view key) {
  int number = 0;
  while (!text.empty()) {
    ++number;
    std::string_view line = TrimLeft(TakeLine(&text));
    if (line.empty() || line[0] == '#') continue;
    size_t equals = line.find('=');
    if (equals == std::string_view::npos) return Bad(number, "missing '='");
    std::string_view name = line.substr(0, equals), rest = line.substr(equals + 1);
    if (name.find_first_not_of(" \t") == std::string_view::npos) return Bad(number, "empty variable name");
    if (name.back() == ' ' || name.back() == '\t') return Bad(number, "whitespace before '=' is not allowed");
    if (rest.empty() || rest[0] != '\'') {
      if (rest.empty() || (rest[0] != ' ' && rest[0] != '\t')) {
        return Bad(number, "value must be enclosed in single quotes");
      }
      if (name == key) return "";  // as a shell reads NAME= 'value'
      continue;
    }
    rest.remove_prefix(1);
    std::string value;
    const int began = number;
    for (;;) {
      size_t quote = rest.find('\'');
      absl::StrAppend(&value, rest.substr(0, quote));
      if (quote != std::string_view::npos) {
        std::string_view after = TrimLeft(rest.substr(quote + 1));
        if (!after.empty() && after[0] != '#') return Bad(number, "unexpected content after closing quote");
        break;
      }
      value += '\n';
      if (text.empty()) {
        return InvalidArgument("invalid environment variable format starting at line ", began,
                               ": unclosed single quote");
      }
      ++number;
      rest = TakeLine(&text);
    }
    if (name == key) return value;
  }
  return "";
}

}  // namespace skiff::kubelet
