// YAML <-> JSON. yaml-cpp's event parser feeds a builder of our own, so that aliases can be counted before they expand
// and depth is checked before it is used. yaml-cpp throws: nothing leaves this file.
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/codec.h"
#include "api/json_text.h"

namespace skiff::api {
namespace {

struct TooBig {
  const char* what;
};

// What a plain scalar means; YAML 1.1 as upstream's parser resolves it.
json Resolve(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  static constexpr std::string_view kTrue[] = {"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"};
  static constexpr std::string_view kFalse[] = {"false", "False", "FALSE", "n",   "N",  "no",
                                                "No",    "NO",    "off",   "Off", "OFF"};
  for (const std::string_view word : kTrue)
    if (text == word) return true;
  for (const std::string_view word : kFalse)
    if (text == word) return false;
  const char c = text[0];
  if (!absl::ascii_isdigit(c) && c != '-' && c != '+' && c != '.') return text;
  if (text == ".inf" || text == ".Inf" || text == ".INF" || text == "+.inf" || text == "-.inf" || text == ".nan" ||
      text == ".NaN" || text == ".NAN")
    return text;  // JSON has no such numbers
  std::string plain;
  for (const char ch : text)
    if (ch != '_') plain.push_back(ch);
  std::string_view digits = plain;
  const bool negative = !digits.empty() && digits[0] == '-';
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.starts_with("0x"))
    base = 16, digits.remove_prefix(2);
  else if (digits.starts_with("0b"))
    base = 2, digits.remove_prefix(2);
  else if (digits.starts_with("0o"))
    base = 8, digits.remove_prefix(2);
  else if (digits.size() > 1 && digits[0] == '0')
    base = 8, digits.remove_prefix(1);
  uint64_t number;
  const auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (err == std::errc() && end == digits.data() + digits.size() && !digits.empty()) {
    if (!negative && number > static_cast<uint64_t>(INT64_MAX)) return number;
    if (number <= static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0))
      return negative ? static_cast<int64_t>(0 - number) : static_cast<int64_t>(number);
  }
  // Floats: [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
  size_t i = 0;
  if (i < plain.size() && (plain[i] == '-' || plain[i] == '+')) ++i;
  const size_t whole = i;
  while (i < plain.size() && absl::ascii_isdigit(plain[i])) ++i;
  const bool has_whole = i > whole;
  bool has_fraction = false;
  if (i < plain.size() && plain[i] == '.') {
    const size_t fraction = ++i;
    while (i < plain.size() && absl::ascii_isdigit(plain[i])) ++i;
    has_fraction = i > fraction;
  }
  if (!has_whole && !has_fraction) return text;
  if (i < plain.size() && (plain[i] == 'e' || plain[i] == 'E')) {
    ++i;
    if (i < plain.size() && (plain[i] == '-' || plain[i] == '+')) ++i;
    const size_t exponent = i;
    while (i < plain.size() && absl::ascii_isdigit(plain[i])) ++i;
    if (i == exponent) return text;
  }
  double value;
  if (i != plain.size() || !absl::SimpleAtod(plain, &value) || !std::isfinite(value)) return text;
  // A float without a fraction is written as an integer, as Go's encoder does.
  if (value == std::floor(value) && std::fabs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

class Builder : public YAML::EventHandler {
 public:
  Builder(size_t budget, std::vector<std::string>* duplicates) : budget_(budget), duplicates_(duplicates) {}

  json Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { Leaf(mark, nullptr, "null", anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) throw TooBig{"yaml: anchor value contains itself"};
    Spend(it->second.size);
    if (stack_.size() + it->second.depth > static_cast<size_t>(kMaxDepth)) throw TooBig{"yaml: exceeded max depth"};
    json copy = it->second.value;
    const size_t size = it->second.size, depth = it->second.depth;
    Add(mark, std::move(copy), std::string(), size, depth);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // "?" is a plain scalar, "!" a quoted one.
    if (tag == "?" || tag.empty())
      Leaf(mark, Resolve(value), value, anchor);
    else if (tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:bool" ||
             tag == "tag:yaml.org,2002:null")
      Leaf(mark, Resolve(value), value, anchor);
    else
      Leaf(mark, value, value, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Push(mark, json::array(), anchor);
  }
  void OnSequenceEnd() override { Pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Push(mark, json::object(), anchor);
  }
  void OnMapEnd() override { Pop(); }

 private:
  struct Frame {
    json value;
    YAML::anchor_t anchor;
    bool has_key = false;
    std::string key;
    int key_line = 0;
    std::vector<json> merges;  // values of << keys
    size_t size = 1, depth = 1;
    int line = 0;
  };
  struct Anchored {
    json value;
    size_t size, depth;
  };

  void Spend(size_t cost) {
    if (cost > budget_) throw TooBig{"yaml: document contains excessive aliasing"};
    budget_ -= cost;
  }
  void Push(const YAML::Mark& mark, json value, YAML::anchor_t anchor) {
    if (stack_.size() >= static_cast<size_t>(kMaxDepth)) throw TooBig{"yaml: exceeded max depth"};
    Frame frame;
    frame.value = std::move(value);
    frame.anchor = anchor;
    frame.line = mark.line;
    stack_.push_back(std::move(frame));
  }
  void Pop() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    for (json& merge : frame.merges) {
      const auto fold = [&](const json& from) {
        if (!from.is_object()) throw TooBig{"yaml: map merge requires map or sequence of maps as the value"};
        for (const auto& [key, value] : from.items())
          if (!frame.value.contains(key)) frame.value[key] = value;
      };
      if (merge.is_array())
        for (const json& item : merge) fold(item);
      else
        fold(merge);
    }
    if (frame.anchor != YAML::NullAnchor) anchors_[frame.anchor] = {frame.value, frame.size, frame.depth};
    YAML::Mark mark;
    mark.line = frame.line;
    Add(mark, std::move(frame.value), std::string(), frame.size, frame.depth, true);
  }
  void Leaf(const YAML::Mark& mark, json value, const std::string& text, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {value, 1 + text.size() / 16, 1};
    Add(mark, std::move(value), text, 1, 1);
  }
  void Add(const YAML::Mark& mark, json value, const std::string& text, size_t size, size_t depth,
           bool container = false) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& top = stack_.back();
    top.size += size;
    top.depth = std::max(top.depth, depth + 1);
    if (top.value.is_array()) {
      top.value.push_back(std::move(value));
      return;
    }
    if (!top.has_key) {
      if (container || value.is_structured()) throw TooBig{"yaml: invalid map key: a key must be a scalar"};
      // Keys are strings in JSON, whatever they look like in YAML.
      top.key = value.is_string()                 ? value.get<std::string>()
                : value.is_null() && text.empty() ? "null"
                                                  : KeyText(value, text);
      top.has_key = true;
      top.key_line = mark.line;
      return;
    }
    top.has_key = false;
    if (top.key == "<<") {
      top.merges.push_back(std::move(value));
      return;
    }
    const auto [it, fresh] = top.value.emplace(top.key, nullptr);
    if (!fresh && duplicates_ != nullptr) {
      std::string quoted;
      AppendJsonString(top.key, &quoted);
      duplicates_->push_back(absl::StrCat("line ", top.key_line + 1, ": key ", quoted, " already set in map"));
    }
    *it = std::move(value);
  }
  static std::string KeyText(const json& value, const std::string& text) {
    if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
    if (value.is_number_float()) return internal::FormatDouble(value.get<double>());
    if (value.is_number()) return value.dump();
    return text;
  }

  size_t budget_;
  std::vector<std::string>* duplicates_;
  json root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Anchored> anchors_;
};

// A plain scalar would read as something else than this string.
bool NeedsQuotes(const std::string& text) {
  if (text.empty()) return true;
  if (!Resolve(text).is_string()) return true;
  if (text == "<<" || text == "=") return true;
  static constexpr std::string_view kStart = "!&*-?|>@`\"'%#,[]{}:= ";
  const char c = text[0];
  if (kStart.find(c) != std::string_view::npos) {
    // '-', '?' and ':' may start a plain scalar when no space follows.
    const bool soft = (c == '-' || c == '?' || c == ':') && text.size() > 1 && text[1] != ' ';
    if (!soft && c != '=') return true;
    if (text.starts_with("---")) return true;
  }
  if (text.starts_with("...")) return true;
  if (text.back() == ' ' || text.back() == ':') return true;
  // Dates resolve as timestamps.
  if (text.size() >= 10 && absl::ascii_isdigit(text[0]) && text[4] == '-' && text[7] == '-') return true;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto ch = static_cast<unsigned char>(text[i]);
    if (ch < 0x20 || ch == 0x7f) return true;
    if (ch == ':' && i + 1 < text.size() && text[i + 1] == ' ') return true;
    if (ch == '#' && i > 0 && text[i - 1] == ' ') return true;
  }
  return false;
}

void WriteScalarString(const std::string& text, int indent, std::string* out) {
  bool control = false;
  for (const char ch : text)
    if ((static_cast<unsigned char>(ch) < 0x20 && ch != '\n' && ch != '\t') || ch == 0x7f) control = true;
  if (text.find('\n') != std::string::npos && !control && text[0] != '\n' && text[0] != ' ' && text[0] != '\t') {
    size_t trailing = 0;
    while (trailing < text.size() && text[text.size() - 1 - trailing] == '\n') ++trailing;
    out->append(trailing == 0 ? "|-" : trailing == 1 ? "|" : "|+");
    std::string_view rest = text;
    if (trailing > 0) rest.remove_suffix(1);
    while (true) {
      const size_t newline = rest.find('\n');
      const std::string_view line = rest.substr(0, newline);
      out->push_back('\n');
      if (!line.empty()) out->append(static_cast<size_t>(indent), ' ').append(line);
      if (newline == std::string_view::npos) break;
      rest.remove_prefix(newline + 1);
    }
    return;
  }
  if (!NeedsQuotes(text)) {
    out->append(text);
    return;
  }
  if (control || text.find_first_of("\n\t") != std::string::npos) {
    std::string quoted;
    AppendJsonString(text, &quoted);
    out->append(quoted);
    return;
  }
  // Double quotes where a plain scalar would change its type, single quotes for punctuation: as go-yaml writes them.
  if (text.empty() || !Resolve(text).is_string() || (text.size() >= 10 && absl::ascii_isdigit(text[0]))) {
    std::string quoted;
    AppendJsonString(text, &quoted);
    out->append(quoted);
    return;
  }
  out->push_back('\'');
  for (const char ch : text) {
    if (ch == '\'') out->push_back('\'');
    out->push_back(ch);
  }
  out->push_back('\'');
}

void Write(const json& value, int indent, bool after_key, std::string* out) {
  switch (value.type()) {
    case json::value_t::object: {
      if (value.empty()) {
        out->append(after_key ? " {}" : "{}");
        return;
      }
      bool first = true;
      for (const auto& [key, member] : value.items()) {
        if (after_key || !first) out->append("\n").append(static_cast<size_t>(indent), ' ');
        first = false;
        WriteScalarString(key, indent, out);
        out->push_back(':');
        // Lists stand at their key's own indentation.
        Write(member, member.is_array() ? indent : indent + 2, true, out);
      }
      return;
    }
    case json::value_t::array: {
      if (value.empty()) {
        out->append(after_key ? " []" : "[]");
        return;
      }
      bool first = true;
      for (const json& item : value) {
        if (after_key || !first) out->append("\n").append(static_cast<size_t>(indent), ' ');
        first = false;
        out->append("- ");
        Write(item, indent + 2, false, out);
      }
      return;
    }
    default: break;
  }
  if (after_key) out->push_back(' ');
  if (value.is_string())
    WriteScalarString(value.get_ref<const std::string&>(), indent, out);
  else
    AppendJson(value, out);
}

}  // namespace

StatusOr<std::string> YamlToJson(std::string_view yaml, FieldProblems* problems) {
  try {
    std::istringstream in{std::string(yaml)};
    YAML::Parser parser(in);
    std::vector<std::string> duplicates;
    Builder builder(yaml.size() * kMaxYamlExpansion + 1000, &duplicates);
    if (!parser.HandleNextDocument(builder)) return std::string("null");
    if (!duplicates.empty() && problems != nullptr)
      problems->push_back(absl::StrCat("yaml: unmarshal errors:\n  ", absl::StrJoin(duplicates, "\n  ")));
    std::string out;
    AppendJson(builder.Take(), &out);
    return out;
  } catch (const YAML::Exception& e) {
    return InvalidArgument("yaml: line ", e.mark.line + 1, ": ", e.msg);
  } catch (const TooBig& e) {
    return InvalidArgument(e.what);
  } catch (const std::exception& e) {
    return InvalidArgument("yaml: ", e.what());
  }
}

std::string JsonToYaml(const json& value) {
  std::string out;
  Write(value, 0, false, &out);
  out.push_back('\n');
  return out;
}

std::string ToYaml(const google::protobuf::Message& message, const GroupVersionKind* gvk) {
  return JsonToYaml(ToJsonValue(message, gvk));
}

}  // namespace skiff::api
