#include "api/selector.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/names.h"
#include "api/text.h"

namespace skiff::api {
namespace {

using Op = Requirement::Op;

// A requirement that is well-formed; the error is what upstream's aggregate of field errors reads.
StatusOr<Requirement> Make(std::string key, Op op, std::vector<std::string> values) {
  std::vector<std::string> errors;
  const auto invalid = [&](std::string_view path, std::string_view printed, std::string_view detail) {
    errors.push_back(absl::StrCat(path, ": Invalid value: ", printed, ": ", detail));
  };
  if (const Complaints bad = IsQualifiedName(key); !bad.empty()) invalid("key", GoQuote(key), absl::StrJoin(bad, "; "));
  const auto printed = [&] {
    return absl::StrCat(
        "[", absl::StrJoin(values, ",", [](std::string* out, const std::string& v) { out->append(GoQuote(v)); }), "]");
  };
  switch (op) {
    case Op::kIn:
    case Op::kNotIn:
      if (values.empty()) invalid("values", printed(), "for 'in', 'notin' operators, values set can't be empty");
      break;
    case Op::kEquals:
    case Op::kDoubleEquals:
    case Op::kNotEquals:
      if (values.size() != 1) invalid("values", printed(), "exact-match compatibility requires one single value");
      break;
    case Op::kExists:
    case Op::kDoesNotExist:
      if (!values.empty()) invalid("values", printed(), "values set must be empty for exists and does not exist");
      break;
    case Op::kGreaterThan:
    case Op::kLessThan: {
      if (values.size() != 1) invalid("values", printed(), "for 'Gt', 'Lt' operators, exactly one value is required");
      int64_t number;
      for (size_t i = 0; i < values.size(); ++i)
        if (!absl::SimpleAtoi(values[i], &number))
          invalid(absl::StrCat("values[", i, "]"), GoQuote(values[i]),
                  "for 'Gt', 'Lt' operators, the value must be an integer");
    }
  }
  for (size_t i = 0; i < values.size(); ++i)
    if (const Complaints bad = IsValidLabelValue(values[i]); !bad.empty())
      invalid(absl::StrCat("values[", i, "][", key, "]"), GoQuote(values[i]), absl::StrJoin(bad, "; "));
  if (errors.size() == 1) return InvalidArgument(errors[0]);
  if (!errors.empty()) return InvalidArgument("[", absl::StrJoin(errors, ", "), "]");
  return Requirement{std::move(key), op, std::move(values)};
}

enum class Token {
  kEnd,
  kClose,
  kComma,
  kNot,
  kDoubleEquals,
  kEquals,
  kGreater,
  kIdentifier,
  kIn,
  kLess,
  kNotEquals,
  kNotIn,
  kOpen,
  kError
};

struct Item {
  Token token;
  std::string text;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    do items_.push_back(Lex());
    while (items_.back().token != Token::kEnd);
  }

  StatusOr<std::vector<Requirement>> Run() {
    std::vector<Requirement> out;
    while (true) {
      const Item item = Look(true);
      if (item.token == Token::kEnd) return out;
      if (item.token != Token::kIdentifier && item.token != Token::kNot)
        return InvalidArgument("found '", item.text, "', expected: !, identifier, or 'end of string'");
      ASSIGN_OR_RETURN(Requirement requirement, One(), "unable to parse requirement");
      out.push_back(std::move(requirement));
      const Item after = Take(true);
      if (after.token == Token::kEnd) return out;
      if (after.token != Token::kComma)
        return InvalidArgument("found '", after.text, "', expected: ',' or 'end of string'");
      const Item next = Look(true);
      if (next.token != Token::kIdentifier && next.token != Token::kNot)
        return InvalidArgument("found '", next.text, "', expected: identifier after ','");
    }
  }

 private:
  static bool Space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static bool Special(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }
  static Token Known(std::string_view text) {
    if (text == ")") return Token::kClose;
    if (text == ",") return Token::kComma;
    if (text == "!") return Token::kNot;
    if (text == "==") return Token::kDoubleEquals;
    if (text == "=") return Token::kEquals;
    if (text == ">") return Token::kGreater;
    if (text == "in") return Token::kIn;
    if (text == "<") return Token::kLess;
    if (text == "!=") return Token::kNotEquals;
    if (text == "notin") return Token::kNotIn;
    if (text == "(") return Token::kOpen;
    return Token::kError;
  }

  Item Lex() {
    while (pos_ < text_.size() && Space(text_[pos_])) ++pos_;
    if (pos_ >= text_.size() || text_[pos_] == 0) return {Token::kEnd, ""};
    const size_t start = pos_;
    if (!Special(text_[pos_])) {
      while (pos_ < text_.size() && text_[pos_] != 0 && !Special(text_[pos_]) && !Space(text_[pos_])) ++pos_;
      std::string word(text_.substr(start, pos_ - start));
      const Token known = Known(word);
      return {known == Token::kError ? Token::kIdentifier : known, std::move(word)};
    }
    // The longest run that is an operator.
    Item last{Token::kError, ""};
    while (pos_ < text_.size() && Special(text_[pos_])) {
      const std::string_view run = text_.substr(start, pos_ + 1 - start);
      const Token known = Known(run);
      if (known == Token::kError && last.token != Token::kError) break;
      ++pos_;
      if (known != Token::kError) last = {known, std::string(run)};
    }
    if (last.token == Token::kError)
      last.text = absl::StrCat("error expected: keyword found '", text_.substr(start, pos_ - start), "'");
    return last;
  }

  // `in` and `notin` are plain values where values stand.
  Item Look(bool values) const {
    Item item = items_[std::min(position_, items_.size() - 1)];
    if (values && (item.token == Token::kIn || item.token == Token::kNotIn)) item.token = Token::kIdentifier;
    return item;
  }
  Item Take(bool values) {
    Item item = Look(values);
    ++position_;
    return item;
  }

  StatusOr<Requirement> One() {
    Item item = Take(true);
    bool negated = false;
    if (item.token == Token::kNot) {
      negated = true;
      item = Take(true);
    }
    if (item.token != Token::kIdentifier) return InvalidArgument("found '", item.text, "', expected: identifier");
    std::string key = item.text;
    if (const Complaints bad = IsQualifiedName(key); !bad.empty())
      return InvalidArgument("<nil>: Invalid value: ", GoQuote(key), ": ", absl::StrJoin(bad, "; "));
    const Token next = Look(true).token;
    if (negated) return Make(std::move(key), Op::kDoesNotExist, {});
    if (next == Token::kEnd || next == Token::kComma) return Make(std::move(key), Op::kExists, {});
    Op op;
    item = Take(false);
    switch (item.token) {
      case Token::kIn: op = Op::kIn; break;
      case Token::kNotIn: op = Op::kNotIn; break;
      case Token::kEquals: op = Op::kEquals; break;
      case Token::kDoubleEquals: op = Op::kDoubleEquals; break;
      case Token::kNotEquals: op = Op::kNotEquals; break;
      case Token::kGreater: op = Op::kGreaterThan; break;
      case Token::kLess: op = Op::kLessThan; break;
      default: return InvalidArgument("found '", item.text, "', expected: in, notin, =, ==, !=, gt, lt");
    }
    std::set<std::string> values;
    if (op == Op::kIn || op == Op::kNotIn) {
      RETURN_IF_ERROR(Values(&values));
    } else {
      const Token token = Look(true).token;
      if (token == Token::kEnd || token == Token::kComma) {
        values.insert("");
      } else {
        item = Take(true);
        if (item.token != Token::kIdentifier) return InvalidArgument("found '", item.text, "', expected: identifier");
        values.insert(item.text);
      }
    }
    return Make(std::move(key), op, {values.begin(), values.end()});
  }

  Status Values(std::set<std::string>* out) {
    Item item = Take(true);
    if (item.token != Token::kOpen) return InvalidArgument("found '", item.text, "' expected: '('");
    item = Look(true);
    if (item.token == Token::kClose) {
      Take(true);
      out->insert("");
      return absl::OkStatus();
    }
    if (item.token != Token::kIdentifier && item.token != Token::kComma)
      return InvalidArgument("found '", item.text, "', expected: ',', ')' or identifier");
    while (true) {
      item = Take(true);
      if (item.token == Token::kIdentifier) {
        out->insert(item.text);
        const Item next = Look(true);
        if (next.token == Token::kComma) continue;
        if (next.token == Token::kClose) break;
        return InvalidArgument("found '", next.text, "', expected: ',' or ')'");
      }
      if (item.token != Token::kComma) return InvalidArgument("found '", item.text, "', expected: ',', or identifier");
      if (out->empty()) out->insert("");
      const Token next = Look(true).token;
      if (next == Token::kClose || next == Token::kComma) out->insert("");
      if (next == Token::kClose) break;
    }
    Take(true);  // the closing parenthesis
    return absl::OkStatus();
  }

  std::string_view text_;
  size_t pos_ = 0;
  std::vector<Item> items_;
  size_t position_ = 0;
};

void SortByKey(std::vector<Requirement>* requirements) {
  std::stable_sort(requirements->begin(), requirements->end(),
                   [](const Requirement& a, const Requirement& b) { return a.key < b.key; });
}

}  // namespace

bool Requirement::Matches(const Labels& labels) const {
  const auto it = labels.find(key);
  const bool has = it != labels.end();
  const auto listed = [&] { return std::find(values.begin(), values.end(), it->second) != values.end(); };
  switch (op) {
    case Op::kIn:
    case Op::kEquals:
    case Op::kDoubleEquals: return has && listed();
    case Op::kNotIn:
    case Op::kNotEquals: return !has || !listed();
    case Op::kExists: return has;
    case Op::kDoesNotExist: return !has;
    case Op::kGreaterThan:
    case Op::kLessThan: {
      int64_t left, right;
      if (!has || values.size() != 1 || !absl::SimpleAtoi(it->second, &left) || !absl::SimpleAtoi(values[0], &right))
        return false;
      return op == Op::kGreaterThan ? left > right : left < right;
    }
  }
  return false;
}

std::string Requirement::ToString() const {
  const std::string joined = absl::StrJoin(values, ",");
  switch (op) {
    case Op::kIn: return absl::StrCat(key, " in (", joined, ")");
    case Op::kNotIn: return absl::StrCat(key, " notin (", joined, ")");
    case Op::kEquals: return absl::StrCat(key, "=", joined);
    case Op::kDoubleEquals: return absl::StrCat(key, "==", joined);
    case Op::kNotEquals: return absl::StrCat(key, "!=", joined);
    case Op::kExists: return key;
    case Op::kDoesNotExist: return absl::StrCat("!", key);
    case Op::kGreaterThan: return absl::StrCat(key, ">", joined);
    case Op::kLessThan: return absl::StrCat(key, "<", joined);
  }
  return key;
}

LabelSelector LabelSelector::Nothing() {
  LabelSelector out;
  out.nothing_ = true;
  return out;
}

StatusOr<LabelSelector> LabelSelector::Parse(std::string_view text) {
  LabelSelector out;
  ASSIGN_OR_RETURN(out.requirements_, Parser(text).Run());
  SortByKey(&out.requirements_);
  return out;
}

StatusOr<LabelSelector> LabelSelector::From(const LabelSelectorProto* proto) {
  if (proto == nullptr) return Nothing();
  LabelSelector out;
  for (const auto& [key, value] : proto->matchlabels()) {
    ASSIGN_OR_RETURN(Requirement requirement, Make(key, Op::kEquals, {value}));
    out.requirements_.push_back(std::move(requirement));
  }
  for (const auto& expression : proto->matchexpressions()) {
    Op op;
    if (expression.operator_() == "In")
      op = Op::kIn;
    else if (expression.operator_() == "NotIn")
      op = Op::kNotIn;
    else if (expression.operator_() == "Exists")
      op = Op::kExists;
    else if (expression.operator_() == "DoesNotExist")
      op = Op::kDoesNotExist;
    else
      return InvalidArgument(GoQuote(expression.operator_()), " is not a valid label selector operator");
    ASSIGN_OR_RETURN(Requirement requirement,
                     Make(expression.key(), op, {expression.values().begin(), expression.values().end()}));
    std::sort(requirement.values.begin(), requirement.values.end());
    out.requirements_.push_back(std::move(requirement));
  }
  SortByKey(&out.requirements_);
  return out;
}

LabelSelector LabelSelector::FromMap(const Labels& labels) {
  LabelSelector out;
  for (const auto& [key, value] : labels) out.requirements_.push_back({key, Op::kEquals, {value}});
  SortByKey(&out.requirements_);
  return out;
}

bool LabelSelector::Matches(const Labels& labels) const {
  if (nothing_) return false;
  for (const Requirement& requirement : requirements_)
    if (!requirement.Matches(labels)) return false;
  return true;
}

std::string LabelSelector::ToString() const {
  return absl::StrJoin(requirements_, ",", [](std::string* out, const Requirement& r) { out->append(r.ToString()); });
}

StatusOr<FieldSelector> FieldSelector::Parse(std::string_view text) {
  std::vector<std::string> parts;
  std::string part;
  bool slash = false;
  for (const char c : text) {
    if (!slash && c == ',') {
      parts.push_back(std::move(part));
      part.clear();
      continue;
    }
    slash = !slash && c == '\\';
    part.push_back(c);
  }
  if (!text.empty()) parts.push_back(std::move(part));
  std::sort(parts.begin(), parts.end());
  FieldSelector out;
  for (const std::string& term : parts) {
    if (term.empty()) continue;
    const size_t at = term.find_first_of("=!");
    size_t op = at;
    while (op != std::string::npos && term[op] == '!' && term.substr(op, 2) != "!=")
      op = term.find_first_of("=!", op + 1);
    if (op == std::string::npos)
      return InvalidArgument("invalid selector: '", text, "'; can't understand '", term, "'");
    const bool equal = term[op] == '=';
    const size_t length = term.substr(op, 2) == "!=" || term.substr(op, 2) == "==" ? 2 : 1;
    std::string value;
    bool escaped = false;
    for (const char c : term.substr(op + length)) {
      if (escaped) {
        if (c != '\\' && c != ',' && c != '=')
          return InvalidArgument("invalid field selector: invalid escape sequence: \\", std::string(1, c));
        value.push_back(c);
        escaped = false;
      } else if (c == '\\') {
        escaped = true;
      } else if (c == ',' || c == '=') {
        // Go prints the character's number here.
        return InvalidArgument("invalid field selector: unescaped character in value: ", static_cast<int>(c));
      } else {
        value.push_back(c);
      }
    }
    if (escaped) return InvalidArgument("invalid field selector: invalid escape sequence: \\");
    out.terms_.push_back({term.substr(0, op), equal, std::move(value)});
  }
  return out;
}

bool FieldSelector::Matches(const std::function<std::string(std::string_view field)>& value_of) const {
  for (const Term& term : terms_)
    if ((value_of(term.field) == term.value) != term.equal) return false;
  return true;
}

const std::string* FieldSelector::RequiresExactMatch(std::string_view field) const {
  for (const Term& term : terms_)
    if (term.equal && term.field == field) return &term.value;
  return nullptr;
}

std::string FieldSelector::ToString() const {
  return absl::StrJoin(terms_, ",", [](std::string* out, const Term& term) {
    absl::StrAppend(out, term.field, term.equal ? "=" : "!=");
    for (const char c : term.value) {
      if (c == '\\' || c == ',' || c == '=') out->push_back('\\');
      out->push_back(c);
    }
  });
}

}  // namespace skiff::api
