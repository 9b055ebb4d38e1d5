#include "api/text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/json_text.h"

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

std::string GoPrint(const nlohmann::json& value) {
  if (value.is_null()) return "<nil>";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number_float()) return internal::FormatDouble(value.get<double>());
  if (value.is_number()) return value.dump();
  std::string out = value.is_object() ? "map[" : "[";
  bool first = true;
  for (const auto& [key, member] : value.items()) {
    if (!first) out += " ";
    first = false;
    if (value.is_object()) absl::StrAppend(&out, key, ":");
    out += GoPrint(member);
  }
  return out + "]";
}

}  // namespace skiff::api
