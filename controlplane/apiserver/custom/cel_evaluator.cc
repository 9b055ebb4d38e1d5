#include "controlplane/apiserver/custom/cel_evaluator.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <map>

#include <re2/re2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "api/json_number.h"
#include "api/text.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;
using Node = std::unique_ptr<CelNode>;
using Kind = CelNode::Kind;

constexpr int64_t kMaxSteps = 1'000'000;

class Evaluator {
 public:
  Evaluator(const json& self, const json* old) {
    names_.emplace_back("self", self);
    if (old) names_.emplace_back("oldSelf", *old);
  }

  StatusOr<json> Run(const CelNode& node) {
    if (++steps_ > kMaxSteps) return Bad("validation failed due to running out of cost budget");
    switch (node.kind) {
      case Kind::kLiteral: return node.value;
      case Kind::kName:
      case Kind::kField: {
        json made;
        ASSIGN_OR_RETURN(const json* found, Refer(node, &made));
        steps_ += static_cast<int64_t>(found->size());
        return *found;
      }
      case Kind::kHas: {
        json made;
        ASSIGN_OR_RETURN(const json* of, Refer(*node.children[0], &made));
        return of->is_object() && of->contains(node.text) && !(*of)[node.text].is_null();
      }
      case Kind::kIndex: return Index(node);
      case Kind::kCall: return Call(node);
      case Kind::kMethod: return Method(node);
      case Kind::kMacro: return Macro(node);
      case Kind::kUnary: {
        ASSIGN_OR_RETURN(json of, Run(*node.children[0]));
        if (node.text == "!") return of.is_boolean() ? StatusOr<json>(!of.get<bool>()) : NoOverload();
        if (of.is_number_integer()) {
          const auto value = of.get<int64_t>();
          return value == INT64_MIN ? Bad("integer overflow") : StatusOr<json>(-value);
        }
        return of.is_number() ? StatusOr<json>(-of.get<double>()) : NoOverload();
      }
      case Kind::kBinary: return Binary(node);
      case Kind::kChoice: {
        ASSIGN_OR_RETURN(json condition, Run(*node.children[0]));
        if (!condition.is_boolean()) return NoOverload();
        return Run(*node.children[condition.get<bool>() ? 1 : 2]);
      }
      case Kind::kList: {
        json list = json::array();
        for (const Node& child : node.children) {
          ASSIGN_OR_RETURN(json item, Run(*child));
          list.push_back(std::move(item));
        }
        return list;
      }
      case Kind::kMap: {
        json map = json::object();
        for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
          ASSIGN_OR_RETURN(json key, Run(*node.children[i]));
          ASSIGN_OR_RETURN(json value, Run(*node.children[i + 1]));
          if (!key.is_string()) return NoOverload();
          map[key.get<std::string>()] = std::move(value);
        }
        return map;
      }
    }
    return NoOverload();
  }

 private:
  static Status Bad(std::string_view why) { return InvalidArgument(std::string(why)); }
  static Status NoOverload() { return Bad("no such overload"); }

  // Where a value stands, without copying what it is part of; what has no place is put into `made`.
  StatusOr<const json*> Refer(const CelNode& node, json* made) {
    if (node.kind == Kind::kName) {
      for (auto it = names_.rbegin(); it != names_.rend(); ++it)
        if (it->first == node.text) return &it->second;
      return Bad(absl::StrCat("no such attribute: ", node.text));
    }
    if (node.kind == Kind::kField) {
      ASSIGN_OR_RETURN(const json* of, Refer(*node.children[0], made));
      if (!of->is_object() || !of->contains(node.text)) return Bad(absl::StrCat("no such key: ", node.text));
      return &(*of)[node.text];
    }
    ASSIGN_OR_RETURN(*made, Run(node));
    return made;
  }

  StatusOr<json> Index(const CelNode& node) {
    ASSIGN_OR_RETURN(json of, Run(*node.children[0]));
    ASSIGN_OR_RETURN(json key, Run(*node.children[1]));
    if (of.is_object() && key.is_string()) {
      if (!of.contains(key.get<std::string>())) return Bad(absl::StrCat("no such key: ", key.get<std::string>()));
      return of[key.get<std::string>()];
    }
    if (!of.is_array() || !key.is_number_integer()) return NoOverload();
    const int64_t index = key.get<int64_t>();
    if (index < 0 || index >= static_cast<int64_t>(of.size())) return Bad(absl::StrCat("index out of bounds: ", index));
    return of[static_cast<size_t>(index)];
  }

  static StatusOr<json> SizeOf(const json& of) {
    if (of.is_string()) {
      const auto& text = of.get_ref<const std::string&>();
      return static_cast<int64_t>(std::count_if(text.begin(), text.end(),
                                                [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
    }
    if (of.is_array() || of.is_object()) return static_cast<int64_t>(of.size());
    return NoOverload();
  }

  StatusOr<json> Call(const CelNode& node) {
    ASSIGN_OR_RETURN(json of, Run(*node.children[0]));
    if (node.text == "size") return SizeOf(of);
    if (node.text == "string") return of.is_string() ? of : json(api::GoPrint(of));
    if (node.text == "bool" && of.is_boolean()) return of;
    if (node.text == "double") {
      if (of.is_number()) return of.get<double>();
    } else if (node.text == "int" || node.text == "uint") {
      if (of.is_number_integer()) return of;
      if (of.is_number()) {
        const auto value = api::IntegerPart(of.get<double>());
        return value ? StatusOr<json>(*value) : Bad("integer overflow");
      }
      if (of.is_string()) {
        const auto& text = of.get_ref<const std::string&>();
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return value;
        return Bad("type conversion error from 'string' to 'int'");
      }
    } else if (node.text == "type") {
      return std::string(of.type_name());
    }
    return NoOverload();
  }

  StatusOr<json> Method(const CelNode& node) {
    std::vector<json> args;
    for (const Node& child : node.children) {
      ASSIGN_OR_RETURN(json value, Run(*child));
      args.push_back(std::move(value));
    }
    const json& of = args[0];
    const std::string& name = node.text;
    const size_t count = args.size() - 1;
    if (name == "size" && count == 0) return SizeOf(of);
    if (of.is_array() && count == 0) {
      if (name == "isSorted") {
        for (size_t i = 1; i < of.size(); ++i)
          if (of[i] < of[i - 1]) return false;
        return true;
      }
      if (name == "min" || name == "max") {
        if (of.empty()) return Bad(absl::StrCat(name, " called on empty list"));
        return name == "min" ? *std::min_element(of.begin(), of.end()) : *std::max_element(of.begin(), of.end());
      }
      if (name == "sum") {
        json sum = 0;
        for (const json& item : of) {
          if (item.is_number_integer() && sum.is_number_integer()) {
            int64_t out = 0;
            if (__builtin_add_overflow(sum.get<int64_t>(), item.get<int64_t>(), &out)) return Bad("integer overflow");
            sum = out;
          } else if (item.is_number()) {
            sum = sum.get<double>() + item.get<double>();
          } else {
            return NoOverload();
          }
        }
        return sum;
      }
    }
    if (of.is_array() && name == "join" && count <= 1) {
      std::string out;
      for (const json& item : of) {
        if (!item.is_string()) return NoOverload();
        if (&item != &of.front() && count == 1 && args[1].is_string()) out += args[1].get<std::string>();
        out += item.get<std::string>();
      }
      return out;
    }
    if (!of.is_string()) return NoOverload();
    const auto& text = of.get_ref<const std::string&>();
    if (count == 0) {
      if (name == "lowerAscii") return absl::AsciiStrToLower(text);
      if (name == "upperAscii") return absl::AsciiStrToUpper(text);
      if (name == "trim") return std::string(absl::StripAsciiWhitespace(text));
      return NoOverload();
    }
    if (name == "substring") {
      for (size_t i = 1; i <= count; ++i)
        if (!args[i].is_number_integer()) return NoOverload();
      const int64_t from = args[1].get<int64_t>();
      const int64_t to = count > 1 ? args[2].get<int64_t>() : static_cast<int64_t>(text.size());
      if (from < 0 || to < from || to > static_cast<int64_t>(text.size())) return Bad("index out of range");
      return text.substr(static_cast<size_t>(from), static_cast<size_t>(to - from));
    }
    if (!args[1].is_string()) return NoOverload();
    const auto& arg = args[1].get_ref<const std::string&>();
    if (name == "replace" && count == 2 && args[2].is_string())
      return absl::StrReplaceAll(text, {{arg, args[2].get<std::string>()}});
    if (count != 1) return NoOverload();
    if (name == "startsWith") return absl::StartsWith(text, arg);
    if (name == "endsWith") return absl::EndsWith(text, arg);
    if (name == "contains") return absl::StrContains(text, arg);
    if (name == "indexOf")
      return text.find(arg) == std::string::npos ? int64_t{-1} : static_cast<int64_t>(text.find(arg));
    if (name == "split") return json(std::vector<std::string>(absl::StrSplit(text, arg)));
    if (name == "matches") {
      const RE2 pattern(arg, RE2::Quiet);
      if (!pattern.ok()) return Bad(absl::StrCat("error parsing regexp: ", pattern.error()));
      return RE2::PartialMatch(text, pattern);
    }
    return NoOverload();
  }

  StatusOr<json> Macro(const CelNode& node) {
    ASSIGN_OR_RETURN(json range, Run(*node.children[0]));
    std::vector<json> items;
    if (range.is_object())
      for (auto it = range.begin(); it != range.end(); ++it) items.emplace_back(it.key());
    else if (range.is_array())
      items.assign(range.begin(), range.end());
    else
      return NoOverload();
    json out = json::array();
    int64_t matching = 0;
    Status failed;
    for (json& item : items) {
      names_.emplace_back(node.variable, item);
      StatusOr<json> first = Run(*node.children[1]);
      StatusOr<json> second = json();
      if (first.ok() && node.children.size() > 2 && *first == true) second = Run(*node.children[2]);
      names_.pop_back();
      if (!first.ok()) {
        failed = first.status();
        continue;
      }
      if (node.text == "map" && node.children.size() == 2) {
        out.push_back(*std::move(first));
        continue;
      }
      if (!first->is_boolean()) return NoOverload();
      const bool yes = first->get<bool>();
      if (node.text == "all" && !yes) return false;
      if (node.text == "exists" && yes) return true;
      if (yes) ++matching;
      if (node.text == "filter" && yes) out.push_back(item);
      if (node.text == "map" && yes) {
        if (!second.ok()) return second.status();
        out.push_back(*std::move(second));
      }
    }
    if (!failed.ok()) return failed;
    if (node.text == "all") return true;
    if (node.text == "exists") return false;
    if (node.text == "exists_one") return matching == 1;
    return out;
  }

  StatusOr<json> Binary(const CelNode& node) {
    const std::string& op = node.text;
    if (op == "&&" || op == "||") {
      // Either side may decide, even when the other fails.
      const bool decides = op == "||";
      StatusOr<json> left = Run(*node.children[0]);
      if (left.ok() && !left->is_boolean()) left = NoOverload();
      if (left.ok() && left->get<bool>() == decides) return decides;
      StatusOr<json> right = Run(*node.children[1]);
      if (right.ok() && !right->is_boolean()) right = NoOverload();
      if (right.ok() && right->get<bool>() == decides) return decides;
      if (!left.ok()) return left.status();
      if (!right.ok()) return right.status();
      return !decides;
    }
    ASSIGN_OR_RETURN(json left, Run(*node.children[0]));
    ASSIGN_OR_RETURN(json right, Run(*node.children[1]));
    if (op == "==") return left == right;
    if (op == "!=") return left != right;
    if (op == "in") {
      if (right.is_array()) return std::find(right.begin(), right.end(), left) != right.end();
      if (right.is_object() && left.is_string()) return right.contains(left.get<std::string>());
      return NoOverload();
    }
    const bool numbers = left.is_number() && right.is_number(), texts = left.is_string() && right.is_string();
    if (op == "<" || op == "<=" || op == ">" || op == ">=") {
      if (!numbers && !texts && !(left.is_boolean() && right.is_boolean())) return NoOverload();
      return op == "<" ? left < right : op == "<=" ? left <= right : op == ">" ? left > right : left >= right;
    }
    if (op == "+" && texts) return left.get<std::string>() + right.get<std::string>();
    if (op == "+" && left.is_array() && right.is_array()) {
      left.insert(left.end(), right.begin(), right.end());
      return left;
    }
    if (!numbers) return NoOverload();
    if (left.is_number_integer() && right.is_number_integer()) {
      const int64_t a = left.get<int64_t>(), b = right.get<int64_t>();
      int64_t out = 0;
      if ((op == "/" || op == "%") && b == 0) return Bad(op == "/" ? "division by zero" : "modulus by zero");
      if ((op == "/" || op == "%") && a == INT64_MIN && b == -1) return Bad("integer overflow");
      const bool overflow = op == "+"   ? __builtin_add_overflow(a, b, &out)
                            : op == "-" ? __builtin_sub_overflow(a, b, &out)
                            : op == "*" ? __builtin_mul_overflow(a, b, &out)
                                        : (out = op == "/" ? a / b : a % b, false);
      if (overflow) return Bad("integer overflow");
      return out;
    }
    const double a = left.get<double>(), b = right.get<double>();
    if (op == "+") return a + b;
    if (op == "-") return a - b;
    if (op == "*") return a * b;
    if (op == "/") return a / b;
    return NoOverload();
  }

  std::deque<std::pair<std::string, json>> names_;  // places stay while names are added
  int64_t steps_ = 0;
};

}  // namespace

StatusOr<json> EvaluateCel(const CelNode& root, const json& self, const json* old) {
  return Evaluator(self, old).Run(root);
}

}  // namespace skiff::controlplane
