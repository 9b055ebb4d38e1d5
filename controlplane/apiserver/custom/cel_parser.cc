#include "controlplane/apiserver/custom/cel_parser.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;
using Node = std::unique_ptr<CelNode>;
using Kind = CelNode::Kind;

constexpr int kMaxDepth = 100;
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
    std::string inner = name.substr(2, name.size() - 4);
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

}  // namespace

StatusOr<CelTree> ParseCel(std::string_view text) {
  Parser parser(text);
  CelTree out;
  ASSIGN_OR_RETURN(out.root, parser.Parse());
  out.uses_old = parser.uses_old();
  return out;
}

}  // namespace skiff::controlplane
