#include "controlplane/apiserver/custom/json_path.h"

#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace skiff::controlplane {

using nlohmann::json;

StatusOr<JsonPath> JsonPath::Parse(std::string_view text) {
  JsonPath out;
  const std::string whole(text);
  if (text.starts_with("{") && text.ends_with("}")) text = text.substr(1, text.size() - 2);
  if (text.starts_with("$")) text.remove_prefix(1);
  while (!text.empty()) {
    if (text.front() == '.') {
      text.remove_prefix(1);
      if (text.starts_with(".")) return InvalidArgument("recursive descent is not supported: ", whole);
      std::string name;
      while (!text.empty() && text.front() != '.' && text.front() != '[') {
        if (text.front() == '\\' && text.size() > 1) text.remove_prefix(1);
        name.push_back(text.front());
        text.remove_prefix(1);
      }
      if (name.empty()) {
        if (text.empty() || text.front() == '[') continue;
        return InvalidArgument("empty name in ", whole);
      }
      out.steps_.push_back(name == "*" ? Step{Step::Kind::kAll, "", 0, {}, {}}
                                       : Step{Step::Kind::kName, name, 0, {}, {}});
    } else if (text.front() == '[') {
      const bool filter = text.starts_with("[?(");
      const size_t end = text.find(filter ? ")]" : "]");
      if (end == std::string_view::npos) return InvalidArgument("unterminated array in ", whole);
      std::string_view inner = text.substr(filter ? 3 : 1, end - (filter ? 3 : 1));
      text.remove_prefix(end + (filter ? 2 : 1));
      if (filter) {
        Step step{Step::Kind::kFilter, "", 0, {}, {}};
        size_t at = std::string_view::npos;
        for (const char* op : {"==", "!="})
          if (at = inner.find(op); at != std::string_view::npos) {
            step.name = op;
            break;
          }
        std::string_view left = absl::StripAsciiWhitespace(absl::string_view(inner.data(), std::min(at, inner.size())));
        if (!left.starts_with("@.")) return InvalidArgument("unsupported filter in ", whole);
        step.fields = absl::StrSplit(absl::string_view(left.data() + 2, left.size() - 2), '.');
        if (at != std::string_view::npos) {
          const absl::string_view right =
              absl::StripAsciiWhitespace(absl::string_view(inner.data() + at + 2, inner.size() - at - 2));
          if (right.size() >= 2 && (right.front() == '"' || right.front() == '\'') && right.back() == right.front())
            step.value = std::string(right.substr(1, right.size() - 2));
          else
            step.value = json::parse(std::string(right), nullptr, false);
          if (step.value.is_discarded()) return InvalidArgument("unsupported filter in ", whole);
        }
        out.steps_.push_back(std::move(step));
      } else if (inner == "*") {
        out.steps_.push_back({Step::Kind::kAll, "", 0, {}, {}});
      } else if (inner.size() >= 2 && (inner.front() == '\'' || inner.front() == '"')) {
        out.steps_.push_back({Step::Kind::kName, std::string(inner.substr(1, inner.size() - 2)), 0, {}, {}});
      } else {
        int64_t index = 0;
        const auto [rest, error] = std::from_chars(inner.data(), inner.data() + inner.size(), index);
        if (error != std::errc() || rest != inner.data() + inner.size())
          return InvalidArgument("invalid array index in ", whole);
        out.steps_.push_back({Step::Kind::kIndex, "", index, {}, {}});
      }
    } else {
      return InvalidArgument("unrecognized character in ", whole);
    }
  }
  return out;
}

std::vector<const json*> JsonPath::Find(const json& document) const {
  std::vector<const json*> now = {&document};
  for (const Step& step : steps_) {
    std::vector<const json*> next;
    for (const json* value : now) {
      if (step.kind == Step::Kind::kName) {
        if (value->is_object())
          if (const auto it = value->find(step.name); it != value->end()) next.push_back(&*it);
      } else if (step.kind == Step::Kind::kIndex) {
        const auto size = static_cast<int64_t>(value->size());
        const int64_t index = step.index < 0 ? size + step.index : step.index;
        if (value->is_array() && index >= 0 && index < size) next.push_back(&(*value)[static_cast<size_t>(index)]);
      } else if (value->is_structured()) {
        for (const json& item : *value) {
          if (step.kind == Step::Kind::kFilter) {
            const json* field = &item;
            for (const std::string& name : step.fields) {
              if (!field) break;
              const auto it = field->is_object() ? field->find(name) : field->end();
              field = field->is_object() && it != field->end() ? &*it : nullptr;
            }
            const bool equal = field && *field == step.value;
            if (step.name.empty() ? field == nullptr : equal != (step.name == "==")) continue;
          }
          next.push_back(&item);
        }
      }
    }
    now = std::move(next);
  }
  return now;
}

bool JsonPath::Set(json* document, json value) const {
  json* at = document;
  for (const Step& step : steps_) {
    if (step.kind != Step::Kind::kName) return false;
    if (at->is_null()) *at = json::object();
    if (!at->is_object()) return false;
    at = &(*at)[step.name];
  }
  *at = std::move(value);
  return !steps_.empty();
}

}  // namespace skiff::controlplane
