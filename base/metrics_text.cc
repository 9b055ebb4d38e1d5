#include "base/metrics_text.h"

#include "absl/strings/str_cat.h"
#include "base/go_text.h"

namespace skiff::metrics {

void AppendHeader(std::string* out, std::string_view name, std::string_view help, std::string_view type) {
  absl::StrAppend(out, "# HELP ", name, " ");
  for (const char c : help) {
    if (c == '\\') {
      *out += "\\\\";
    } else if (c == '\n') {
      *out += "\\n";
    } else {
      out->push_back(c);
    }
  }
  absl::StrAppend(out, "\n# TYPE ", name, " ", type, "\n");
}

void AppendLabelValue(std::string* out, std::string_view value) {
  for (;;) {
    const size_t special = value.find_first_of("\\\n\"");
    out->append(value.substr(0, special));
    if (special == std::string_view::npos) return;
    out->push_back('\\');
    out->push_back(value[special] == '\n' ? 'n' : value[special]);
    value.remove_prefix(special + 1);
  }
}

void AppendLabel(std::string* out, std::string_view name, std::string_view value) {
  out->append(name);
  *out += "=\"";
  AppendLabelValue(out, value);
  out->push_back('"');
}

void AppendValue(std::string* out, double value, int64_t timestamp_ms) {
  out->push_back(' ');
  AppendGoFloat(out, value);
  if (timestamp_ms != 0) absl::StrAppend(out, " ", timestamp_ms);
  out->push_back('\n');
}

}  // namespace skiff::metrics
