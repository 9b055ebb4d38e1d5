#include "api/text.h"

#include "absl/strings/str_format.h"

namespace skiff::api {

std::string GoQuote(std::string_view value) {
  std::string out = "\"";
  for (const char ch : value) {
    const auto c = static_cast<unsigned char>(ch);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\a': out += "\\a"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\v': out += "\\v"; break;
      default:
        if (c < 0x20 || c == 0x7f)
          absl::StrAppendFormat(&out, "\\x%02x", c);
        else
          out.push_back(ch);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace skiff::api
