#include "controlplane/apiserver/custom/cel.h"

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
#include "api/text.h"

namespace skiff::controlplane {

using nlohmann::json;

struct CelNode {
  // kField: children[0].text; kHas: the same, asked for; kCall: text(children); kMethod: children[0].text(children..);
  // kMacro: children[0] is the range, children[1..] the bodies, text the variable and macro ("x all").
  enum class Kind {
    kLiteral,
    kName,
    kField,
    kHas,
    kIndex,
    kCall,
    kMethod,
    kMacro,
    kUnary,
    kBinary,
    kChoice,
    kList,
    kMap
  };
  Kind kind;
  std::string text;
  std::string variable;
  json value;
  std::vector<std::unique_ptr<CelNode>> children;
};

namespace {

using Node = std::unique_ptr<CelNode>;
using Kind = CelNode::Kind;

constexpr int kMaxDepth = 100;
constexpr int64_t kMaxSteps = 1'000'000;
// Long chains are deep trees: these bounds keep evaluation, and taking a tree down, within the stack.
constexpr size_t kMaxText = 8192;
constexpr size_t kMaxNodes = 1000;

constexpr std::string_view kFunctions[] = {"size", "int", "uint", "double", "string", "bool", "type"};
constexpr std::string_view kMethods[] = {"size",       "startsWith", "endsWith", "contains", "matches", "lowerAscii",
                                         "upperAscii", "trim",       "indexOf",  "join",     "split",   "replace",
                                         "substring",  "isSorted",   "sum",      "min",      "max"};
constexpr std::string_view kMacros[] = {"all", "exists", "exists_one", "map", "filter"};

template <typename T>
bool Among(const T& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// Property names that are no identifiers come escaped.
std::string Unescape(const std::string& name) {
  if (!absl::StartsWith(name, "__")) {
    return absl::StrReplaceAll(name,
                               {{"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}});
  }
  if (name.size() > 4 && absl::EndsWith(name, "__")) {
    static constexpr std::string_view kReserved[] = {"true",   "false",    "null", "in",      "as",        "break",
                                                     "const",  "continue", "else", "for",     "function",  "if",
                                                     "import", "let",      "loop", "package", "namespace", "return"};
    const std::string inner = name.substr(2, name.size() - 4);
    if (Among(kReserved, inner)) return inner;
  }
  return absl::StrReplaceAll(name,
                             {{"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}});
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  StatusOr<Node> Parse() {
    if (text_.size() > kMaxText) return Bad("expression is too long");
    ASSIGN_OR_RETURN(Node root, Choice());
    Space();
    if (nodes_ > kMaxNodes) return Bad("expression has too many parts");
    if (at_ < text_.size()) return Bad(absl::StrCat("unexpected '", std::string(text_.substr(at_, 10)), "'"));
    return root;
  }
  bool uses_old() const { return uses_old_; }

 private:
  Status Bad(std::string_view why) const {
    return InvalidArgument("ERROR: <input>:1:", at_ + 1, ": ", std::string(why));
  }
  void Space() {
    while (at_ < text_.size()) {
      if (absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) {
        ++at_;
      } else if (text_.substr(at_).starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return;
      }
    }
  }
  bool Take(std::string_view token) {
    Space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  bool Peek(std::string_view token) {
    Space();
    return text_.substr(at_).starts_with(token);
  }
  static bool IsWord(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; }
  std::string Word() {
    Space();
    const size_t begin = at_;
    if (at_ < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) return "";
    while (at_ < text_.size() && IsWord(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  Node Make(Kind kind, std::string text) {
    ++nodes_;
    auto node = std::make_unique<CelNode>();
    node->kind = kind;
    node->text = std::move(text);
    return node;
  }
  Node Binary(std::string op, Node left, Node right) {
    Node node = Make(Kind::kBinary, std::move(op));
    node->children.push_back(std::move(left));
    node->children.push_back(std::move(right));
    return node;
  }

  StatusOr<Node> Choice() {
    if (++depth_ > kMaxDepth) return Bad("expression is nested too deeply");
    ASSIGN_OR_RETURN(Node condition, Or());
    if (Take("?")) {
      ASSIGN_OR_RETURN(Node yes, Choice());
      if (!Take(":")) return Bad("missing ':'");
      ASSIGN_OR_RETURN(Node no, Choice());
      Node node = Make(Kind::kChoice, "?");
      node->children.push_back(std::move(condition));
      node->children.push_back(std::move(yes));
      node->children.push_back(std::move(no));
      condition = std::move(node);
    }
    --depth_;
    return condition;
  }
  StatusOr<Node> Or() {
    ASSIGN_OR_RETURN(Node left, And());
    while (Take("||")) {
      ASSIGN_OR_RETURN(Node right, And());
      left = Binary("||", std::move(left), std::move(right));
    }
    return left;
  }
  StatusOr<Node> And() {
    ASSIGN_OR_RETURN(Node left, Relation());
    while (Take("&&")) {
      ASSIGN_OR_RETURN(Node right, Relation());
      left = Binary("&&", std::move(left), std::move(right));
    }
    return left;
  }
  StatusOr<Node> Relation() {
    ASSIGN_OR_RETURN(Node left, Sum());
    while (true) {
      std::string op;
      for (const char* candidate : {"==", "!=", "<=", ">=", "<", ">"})
        if (op.empty() && Take(candidate)) op = candidate;
      if (op.empty() && Peek("in") && (at_ + 2 >= text_.size() || !IsWord(text_[at_ + 2]))) {
        at_ += 2;
        op = "in";
      }
      if (op.empty()) return left;
      ASSIGN_OR_RETURN(Node right, Sum());
      left = Binary(op, std::move(left), std::move(right));
    }
  }
  StatusOr<Node> Sum() {
    ASSIGN_OR_RETURN(Node left, Product());
    while (true) {
      const bool plus = Take("+");
      if (!plus && !Take("-")) return left;
      ASSIGN_OR_RETURN(Node right, Product());
      left = Binary(plus ? "+" : "-", std::move(left), std::move(right));
    }
  }
  StatusOr<Node> Product() {
    ASSIGN_OR_RETURN(Node left, Unary());
    while (true) {
      std::string op = Take("*") ? "*" : Take("/") ? "/" : Take("%") ? "%" : "";
      if (op.empty()) return left;
      ASSIGN_OR_RETURN(Node right, Unary());
      left = Binary(op, std::move(left), std::move(right));
    }
  }
  StatusOr<Node> Unary() {
    Space();
    const bool negation = Peek("!") && !Peek("!=");
    if (negation || Peek("-")) {
      ++at_;
      if (++depth_ > kMaxDepth) return Bad("expression is nested too deeply");
      ASSIGN_OR_RETURN(Node operand, Unary());
      --depth_;
      Node node = Make(Kind::kUnary, negation ? "!" : "-");
      node->children.push_back(std::move(operand));
      return node;
    }
    return Member();
  }
  StatusOr<Node> Member() {
    ASSIGN_OR_RETURN(Node node, Primary());
    while (true) {
      if (Take(".")) {
        if (Take("?")) return Bad("optional field selection is not supported by this server");
        const std::string name = Word();
        if (name.empty()) return Bad("missing field name");
        if (!Take("(")) {
          Node field = Make(Kind::kField, Unescape(name));
          field->children.push_back(std::move(node));
          node = std::move(field);
          continue;
        }
        if (Among(kMacros, name)) {
          ASSIGN_OR_RETURN(node, Macro(name, std::move(node)));
          continue;
        }
        if (!Among(kMethods, name)) return Bad(absl::StrCat("function '", name, "' is not supported by this server"));
        Node call = Make(Kind::kMethod, name);
        call->children.push_back(std::move(node));
        RETURN_IF_ERROR(Arguments(call.get()));
        node = std::move(call);
      } else if (Peek("[")) {
        ++at_;
        if (Take("?")) return Bad("optional indexing is not supported by this server");
        Node index = Make(Kind::kIndex, "");
        index->children.push_back(std::move(node));
        ASSIGN_OR_RETURN(Node key, Choice());
        index->children.push_back(std::move(key));
        if (!Take("]")) return Bad("missing ']'");
        node = std::move(index);
      } else {
        return node;
      }
    }
  }
  StatusOr<Node> Macro(const std::string& name, Node range) {
    Node node = Make(Kind::kMacro, name);
    node->children.push_back(std::move(range));
    node->variable = Word();
    if (node->variable.empty()) return Bad("missing variable");
    variables_.push_back(node->variable);
    int bodies = 0;
    while (Take(",")) {
      ASSIGN_OR_RETURN(Node body, Choice());
      node->children.push_back(std::move(body));
      ++bodies;
    }
    variables_.pop_back();
    if (!Take(")")) return Bad("missing ')'");
    if (bodies < 1 || bodies > (name == "map" ? 2 : 1)) return Bad(absl::StrCat("wrong arguments of ", name, "()"));
    return node;
  }
  Status Arguments(CelNode* call) {
    if (Take(")")) return absl::OkStatus();
    do {
      ASSIGN_OR_RETURN(Node argument, Choice());
      call->children.push_back(std::move(argument));
    } while (Take(","));
    return Take(")") ? absl::OkStatus() : Bad("missing ')'");
  }
  StatusOr<Node> Primary() {
    Space();
    if (at_ >= text_.size()) return Bad("unexpected end of the expression");
    const char c = text_[at_];
    if (Take("(")) {
      ASSIGN_OR_RETURN(Node inner, Choice());
      if (!Take(")")) return Bad("missing ')'");
      return inner;
    }
    if (c == '[') {
      ++at_;
      Node list = Make(Kind::kList, "");
      while (!Take("]")) {
        ASSIGN_OR_RETURN(Node item, Choice());
        list->children.push_back(std::move(item));
        if (!Take(",") && !Peek("]")) return Bad("missing ']'");
      }
      return list;
    }
    if (c == '{') {
      ++at_;
      Node map = Make(Kind::kMap, "");
      while (!Take("}")) {
        ASSIGN_OR_RETURN(Node key, Choice());
        if (!Take(":")) return Bad("missing ':'");
        ASSIGN_OR_RETURN(Node value, Choice());
        map->children.push_back(std::move(key));
        map->children.push_back(std::move(value));
        if (!Take(",") && !Peek("}")) return Bad("missing '}'");
      }
      return map;
    }
    if (c == '"' || c == '\'') return String(false);
    if ((c == 'r' || c == 'R') && at_ + 1 < text_.size() && (text_[at_ + 1] == '"' || text_[at_ + 1] == '\'')) {
      ++at_;
      return String(true);
    }
    if (absl::ascii_isdigit(static_cast<unsigned char>(c))) return Number();
    const std::string name = Word();
    if (name.empty()) return Bad(absl::StrCat("unexpected '", std::string(1, c), "'"));
    Node literal = Make(Kind::kLiteral, name);
    if (name == "true" || name == "false") return literal->value = name == "true", std::move(literal);
    if (name == "null") return literal;
    if (Take("(")) {
      if (name == "has") {
        ASSIGN_OR_RETURN(Node field, Choice());
        if (field->kind != Kind::kField) return Bad("invalid argument to has() macro");
        if (!Take(")")) return Bad("missing ')'");
        field->kind = Kind::kHas;
        return field;
      }
      if (!Among(kFunctions, name)) return Bad(absl::StrCat("function '", name, "' is not supported by this server"));
      Node call = Make(Kind::kCall, name);
      RETURN_IF_ERROR(Arguments(call.get()));
      if (call->children.size() != 1) return Bad(absl::StrCat("wrong arguments of ", name, "()"));
      return call;
    }
    if (name == "oldSelf") uses_old_ = true;
    if (name != "self" && name != "oldSelf" && !Among(variables_, name))
      return Bad(absl::StrCat("undeclared reference to '", name, "' (in container '')"));
    return Make(Kind::kName, name);
  }
  StatusOr<Node> Number() {
    const size_t begin = at_;
    bool fraction = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool exponent_sign =
          (c == '+' || c == '-') && at_ > begin && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      if (c == '.' && (at_ + 1 >= text_.size() || !absl::ascii_isdigit(static_cast<unsigned char>(text_[at_ + 1]))))
        break;
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && !exponent_sign) break;
      fraction = fraction || c == '.' || c == 'e' || c == 'E';
      ++at_;
    }
    std::string digits(text_.substr(begin, at_ - begin));
    const bool hex = absl::StartsWith(digits, "0x");
    if (!digits.empty() && (digits.back() == 'u' || digits.back() == 'U')) digits.pop_back();
    Node node = Make(Kind::kLiteral, digits);
    if (fraction && !hex) {
      double value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size()) return Bad("invalid number");
      node->value = value;
    } else {
      int64_t value = 0;
      const char* first = digits.data() + (hex ? 2 : 0);
      const auto [end, error] = std::from_chars(first, digits.data() + digits.size(), value, hex ? 16 : 10);
      if (error != std::errc() || end != digits.data() + digits.size()) return Bad("invalid number");
      node->value = value;
    }
    return node;
  }
  StatusOr<Node> String(bool raw) {
    const char quote = text_[at_];
    const std::string triple(3, quote);
    const bool is_triple = text_.substr(at_).starts_with(triple);
    const std::string_view end = is_triple ? std::string_view(triple) : std::string_view(triple).substr(0, 1);
    at_ += end.size();
    Node node = Make(Kind::kLiteral, "");
    std::string out;
    while (at_ < text_.size() && !text_.substr(at_).starts_with(end)) {
      const char c = text_[at_++];
      if (c != '\\' || raw) {
        out.push_back(c);
        continue;
      }
      if (at_ >= text_.size()) break;
      const char escaped = text_[at_++];
      static constexpr std::string_view kFrom = "nrtabfv\\'\"`?", kTo = "\n\r\t\a\b\f\v\\'\"`?";
      const size_t found = kFrom.find(escaped);
      if (found == std::string_view::npos)
        return Bad(absl::StrCat("the escape \\", std::string(1, escaped), " is not supported by this server"));
      out.push_back(kTo[found]);
    }
    if (at_ >= text_.size()) return Bad("unterminated string");
    at_ += end.size();
    node->value = std::move(out);
    return node;
  }

  const std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  size_t nodes_ = 0;
  bool uses_old_ = false;
  std::vector<std::string> variables_;
};

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
        if (of.is_number_integer()) return -of.get<int64_t>();
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
      if (of.is_number()) return static_cast<int64_t>(of.get<double>());
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
          if (item.is_number_integer() && sum.is_number_integer())
            sum = sum.get<int64_t>() + item.get<int64_t>();
          else if (item.is_number())
            sum = sum.get<double>() + item.get<double>();
          else
            return NoOverload();
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

std::string Trimmed(const json& rule, const char* field) {
  const auto it = rule.find(field);
  return it != rule.end() && it->is_string() ? std::string(absl::StripAsciiWhitespace(it->get<std::string>())) : "";
}

std::string Printed(const json& value) {
  return value.is_string() ? api::GoQuote(value.get<std::string>()) : value.dump();
}

const CelProgram* Compiled(const std::string& text) {
  static auto* const kept = new std::map<std::string, std::unique_ptr<CelProgram>>;
  auto it = kept->find(text);
  if (it == kept->end()) {
    auto compiled = CelProgram::Compile(text);
    it = kept->emplace(text, compiled.ok() ? std::make_unique<CelProgram>(*std::move(compiled)) : nullptr).first;
  }
  return it->second.get();
}

void RunRule(const json& rule, const std::string& type, const json& value, const json* old, const std::string& path,
             std::vector<api::Cause>* causes) {
  const std::string text = Trimmed(rule, "rule");
  const CelProgram* program = Compiled(text);
  const std::string message = Trimmed(rule, "message");
  const std::string named = message.empty() ? text : message;
  std::string at = path.empty() ? "<nil>" : path;
  auto invalid = [&](std::string why) { causes->push_back({"FieldValueInvalid", std::move(why), at}); };
  const std::string typed = absl::StrCat("Invalid value: \"", type, "\": ");
  if (!program) return invalid(absl::StrCat(typed, "rule compile error"));
  // Rules about a change have nothing to say of what is new.
  if (program->uses_old() && !old) return;
  auto result = program->Run(value, old);
  if (!result.ok())
    return invalid(absl::StrCat(typed, std::string(result.status().message()), " evaluating rule: ", named));
  if (*result == true) return;
  std::string detail = message.empty() ? absl::StrCat("failed rule: ", text) : message;
  if (const std::string expression = Trimmed(rule, "messageExpression"); !expression.empty())
    if (const CelProgram* made = Compiled(expression))
      if (auto said = made->Run(value, old); said.ok() && said->is_string() && !said->get<std::string>().empty())
        detail = said->get<std::string>();
  if (const std::string field = Trimmed(rule, "fieldPath"); !field.empty())
    at = path.empty() ? field.substr(1) : path + field;
  const std::string reason = Trimmed(rule, "reason");
  const bool whole = type == "object" || type == "array" || !Trimmed(rule, "fieldPath").empty();
  const std::string shown = whole ? "" : Printed(value) + ": ";
  if (reason == "FieldValueForbidden")
    causes->push_back({reason, absl::StrCat("Forbidden: ", detail), at});
  else if (reason == "FieldValueRequired")
    causes->push_back({reason, absl::StrCat("Required value: ", detail), at});
  else if (reason == "FieldValueDuplicate")
    causes->push_back({reason, absl::StrCat("Duplicate value", whole ? "" : ": " + Printed(value)), at});
  else
    invalid(absl::StrCat("Invalid value: ", shown, detail));
}

}  // namespace

CelProgram::CelProgram() = default;
CelProgram::CelProgram(CelProgram&&) noexcept = default;
CelProgram& CelProgram::operator=(CelProgram&&) noexcept = default;
CelProgram::~CelProgram() = default;

StatusOr<CelProgram> CelProgram::Compile(std::string_view text) {
  Parser parser(text);
  CelProgram out;
  ASSIGN_OR_RETURN(out.root_, parser.Parse());
  out.uses_old_ = parser.uses_old();
  return out;
}

StatusOr<json> CelProgram::Run(const json& self, const json* old) const { return Evaluator(self, old).Run(*root_); }

void ValidateRules(const json& schema, const json& value, const json* old, const std::string& path,
                   std::vector<api::Cause>* causes) {
  const auto type = schema.find("type");
  const std::string type_name = type != schema.end() && type->is_string() ? type->get<std::string>() : "";
  if (const auto rules = schema.find("x-kubernetes-validations"); rules != schema.end() && rules->is_array())
    for (const json& rule : *rules) RunRule(rule, type_name, value, old, path, causes);
  auto below = [&](const char* name) -> const json* {
    const auto it = schema.find(name);
    return it != schema.end() && it->is_object() ? &*it : nullptr;
  };
  if (value.is_object()) {
    const json *properties = below("properties"), *rest = below("additionalProperties");
    for (auto it = value.begin(); it != value.end(); ++it) {
      const json* one = properties && properties->contains(it.key()) ? &(*properties)[it.key()] : rest;
      if (!one || !one->is_object() || it->is_null()) continue;
      const json* before = old && old->is_object() && old->contains(it.key()) ? &(*old)[it.key()] : nullptr;
      const bool named = one != rest;
      ValidateRules(*one, it.value(), before,
                    !named         ? absl::StrCat(path, "[", it.key(), "]")
                    : path.empty() ? it.key()
                                   : absl::StrCat(path, ".", it.key()),
                    causes);
    }
  } else if (value.is_array()) {
    // Items have a past only where the list says how to tell them apart; such transition rules are left alone.
    if (const json* items = below("items"))
      for (size_t i = 0; i < value.size(); ++i)
        ValidateRules(*items, value[i], nullptr, absl::StrCat(path, "[", i, "]"), causes);
  }
}

}  // namespace skiff::controlplane
