#include "api/json_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/codec.h"

namespace skiff::api {
namespace {

// The length of the valid UTF-8 sequence at p, 0 for an invalid one.
int Utf8Length(const unsigned char* p, const unsigned char* end) {
  const unsigned char c = *p;
  if (c < 0x80) return 1;
  int n;
  uint32_t min, code;
  if ((c & 0xe0) == 0xc0)
    n = 2, min = 0x80, code = c & 0x1f;
  else if ((c & 0xf0) == 0xe0)
    n = 3, min = 0x800, code = c & 0x0f;
  else if ((c & 0xf8) == 0xf0)
    n = 4, min = 0x10000, code = c & 0x07;
  else
    return 0;
  if (end - p < n) return 0;
  for (int i = 1; i < n; ++i) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (p[i] & 0x3f);
  }
  if (code < min || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
  return n;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xc0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

uint32_t Hex4(const char* p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = p[i];
    v = v << 4 | static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return v;
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

void AppendJsonString(std::string_view value, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  const auto* p = reinterpret_cast<const unsigned char*>(value.data());
  const auto* end = p + value.size();
  const unsigned char* run = p;
  const auto flush = [&] { out->append(reinterpret_cast<const char*>(run), p - run); };
  while (p != end) {
    const unsigned char c = *p;
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
      ++p;
      continue;
    }
    if (c >= 0x80) {
      const int n = Utf8Length(p, end);
      const bool separator = n == 3 && c == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9);
      if (n > 0 && !separator) {
        p += n;
        continue;
      }
      flush();
      if (separator) {
        out->append(p[2] == 0xa8 ? "\\u2028" : "\\u2029");
        p += 3;
      } else {
        out->append("\\ufffd");
        ++p;
      }
      run = p;
      continue;
    }
    flush();
    switch (c) {
      case '"': out->append("\\\""); break;
      case '\\': out->append("\\\\"); break;
      case '\n': out->append("\\n"); break;
      case '\r': out->append("\\r"); break;
      case '\t': out->append("\\t"); break;
      case '\b': out->append("\\b"); break;
      case '\f': out->append("\\f"); break;
      default:
        out->append("\\u00");
        out->push_back(kHex[c >> 4]);
        out->push_back(kHex[c & 15]);
    }
    run = ++p;
  }
  flush();
  out->push_back('"');
}

namespace internal {
namespace {

// A state machine over the text as Go's scanner is one, so that its words fit.
class Validator {
 public:
  explicit Validator(std::string_view text) : begin_(text.data()), p_(begin_), end_(begin_ + text.size()) {}

  Status Run() {
    RETURN_IF_ERROR(Value());
    Space();
    if (p_ != end_) return Bad("after top-level value");
    return absl::OkStatus();
  }

 private:
  void Space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }
  Status Bad(std::string_view where) {
    if (p_ == end_) return InvalidArgument("unexpected end of JSON input");
    const auto c = static_cast<unsigned char>(*p_);
    std::string shown;
    if (c == '\'')
      shown = R"('\'')";
    else if (c == '"')
      shown = R"('"')";
    else if (c == '\\')
      shown = R"('\\')";
    else if (c == '\n')
      shown = R"('\n')";
    else if (c == '\r')
      shown = R"('\r')";
    else if (c == '\t')
      shown = R"('\t')";
    else if (c == 0)
      shown = R"('\x00')";
    else if (c < 0x20 || c == 0x7f)
      shown = absl::StrFormat("'\\x%02x'", c);
    else if (c < 0x80)
      shown = {'\'', static_cast<char>(c), '\''};
    // Go looks at single bytes here and shows each as the Latin-1 character of its value.
    else if (c < 0xa0 || c == 0xad)
      shown = absl::StrFormat("'\\u%04x'", c);
    else
      shown = "'", AppendUtf8(c, &shown), shown += '\'';
    return InvalidArgument("invalid character ", shown, " ", where);
  }
  Status End() { return InvalidArgument("unexpected end of JSON input"); }

  Status Value() {
    Space();
    if (p_ == end_) return End();
    switch (*p_) {
      case '{': return Object();
      case '[': return Array();
      case '"': return String();
      case 't': return Literal("true");
      case 'f': return Literal("false");
      case 'n': return Literal("null");
      default:
        if (*p_ == '-' || (*p_ >= '0' && *p_ <= '9')) return Number();
        return Bad("looking for beginning of value");
    }
  }
  Status Object() {
    if (++depth_ > kMaxDepth) return InvalidArgument("exceeded max depth");
    ++p_;
    Space();
    if (p_ != end_ && *p_ == '}') return ++p_, --depth_, absl::OkStatus();
    while (true) {
      Space();
      if (p_ == end_ || *p_ != '"') return Bad("looking for beginning of object key string");
      RETURN_IF_ERROR(String());
      Space();
      if (p_ == end_ || *p_ != ':') return Bad("after object key");
      ++p_;
      RETURN_IF_ERROR(Value());
      Space();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        continue;
      }
      if (p_ != end_ && *p_ == '}') return ++p_, --depth_, absl::OkStatus();
      return Bad("after object key:value pair");
    }
  }
  Status Array() {
    if (++depth_ > kMaxDepth) return InvalidArgument("exceeded max depth");
    ++p_;
    Space();
    if (p_ != end_ && *p_ == ']') return ++p_, --depth_, absl::OkStatus();
    while (true) {
      RETURN_IF_ERROR(Value());
      Space();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        continue;
      }
      if (p_ != end_ && *p_ == ']') return ++p_, --depth_, absl::OkStatus();
      return Bad("after array element");
    }
  }
  Status String() {
    for (++p_; p_ != end_; ++p_) {
      const auto c = static_cast<unsigned char>(*p_);
      if (c == '"') return ++p_, absl::OkStatus();
      if (c < 0x20) return Bad("in string literal");
      if (c != '\\') continue;
      if (++p_ == end_) return End();
      if (*p_ == 'u') {
        for (int i = 0; i < 4; ++i) {
          ++p_;
          if (p_ == end_) return End();
          const char h = *p_;
          if (!((h >= '0' && h <= '9') || (h >= 'a' && h <= 'f') || (h >= 'A' && h <= 'F')))
            return Bad("in \\u hexadecimal character escape");
        }
      } else if (std::strchr("bfnrt\\/\"", *p_) == nullptr || *p_ == 0) {
        return Bad("in string escape code");
      }
    }
    return End();
  }
  Status Literal(std::string_view word) {
    for (size_t i = 0; i < word.size(); ++i, ++p_) {
      if (p_ == end_) return End();
      if (*p_ != word[i]) return Bad(absl::StrCat("in literal ", word, " (expecting '", word.substr(i, 1), "')"));
    }
    return absl::OkStatus();
  }
  bool Digit() const { return p_ != end_ && *p_ >= '0' && *p_ <= '9'; }
  Status Number() {
    if (*p_ == '-') {
      ++p_;
      if (!Digit()) return Bad("in numeric literal");
    }
    if (*p_ == '0')
      ++p_;
    else
      while (Digit()) ++p_;
    if (p_ != end_ && *p_ == '.') {
      ++p_;
      if (!Digit()) return Bad("after decimal point in numeric literal");
      while (Digit()) ++p_;
    }
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      if (!Digit()) return Bad("in exponent of numeric literal");
      while (Digit()) ++p_;
    }
    return absl::OkStatus();
  }

  const char* begin_;
  const char* p_;
  const char* end_;
  int depth_ = 0;
};

}  // namespace

Status ValidateJson(std::string_view text) { return Validator(text).Run(); }

std::string_view Cursor::TypeName() const {
  switch (Peek()) {
    case '{': return "object";
    case '[': return "array";
    case '"': return "string";
    case 't':
    case 'f': return "bool";
    case 'n': return "null";
    default: return "number";
  }
}

void Cursor::SkipString() {
  for (++p_; *p_ != '"'; ++p_)
    if (*p_ == '\\') ++p_;
  ++p_;
}

std::string_view Cursor::Raw() {
  const char* start = p_;
  int depth = 0;
  do {
    switch (*p_) {
      case '"': SkipString(); break;
      case '{':
      case '[': ++depth, ++p_; break;
      case '}':
      case ']': --depth, ++p_; break;
      case ',':
      case ':':
      case ' ':
      case '\n':
      case '\t':
      case '\r': ++p_; break;
      default:
        while (p_ != end_ && std::strchr(",]} \n\t\r", *p_) == nullptr) ++p_;
    }
  } while (depth > 0);
  const std::string_view raw(start, p_ - start);
  Space();
  return raw;
}

std::string Cursor::String() {
  std::string_view raw = Raw();
  raw = raw.substr(1, raw.size() - 2);
  std::string out;
  out.reserve(raw.size());
  const char* p = raw.data();
  const char* end = p + raw.size();
  while (p != end) {
    if (*p != '\\') {
      const auto* u = reinterpret_cast<const unsigned char*>(p);
      const int n = Utf8Length(u, reinterpret_cast<const unsigned char*>(end));
      if (n == 0)
        out.append(kReplacement), ++p;
      else
        out.append(p, n), p += n;
      continue;
    }
    switch (*++p) {
      case 'n': out.push_back('\n'); break;
      case 't': out.push_back('\t'); break;
      case 'r': out.push_back('\r'); break;
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'u': {
        uint32_t code = Hex4(p + 1);
        p += 4;
        if (code >= 0xd800 && code < 0xdc00 && end - p > 6 && p[1] == '\\' && p[2] == 'u') {
          const uint32_t low = Hex4(p + 3);
          if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
          }
        }
        if (code >= 0xd800 && code < 0xe000)
          out.append(kReplacement);
        else
          AppendUtf8(code, &out);
        break;
      }
      default: out.push_back(*p);
    }
    ++p;
  }
  return out;
}

bool Cursor::Enter() {
  ++p_;
  Space();
  if (*p_ != '}' && *p_ != ']') return true;
  ++p_;
  Space();
  return false;
}

bool Cursor::Next() {
  const bool more = *p_ == ',';
  ++p_;
  Space();
  return more;
}

std::string Cursor::Key() {
  std::string key = String();
  ++p_;  // the colon
  Space();
  return key;
}

std::string FormatDouble(double value) {
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  char buffer[40];
  const double magnitude = std::fabs(value);
  const bool exponent = magnitude < 1e-6 || magnitude >= 1e21;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, end.ptr);
  // Go writes e-9, not e-09.
  const size_t e = text.find("e-0");
  if (e != std::string::npos) text.erase(e + 2, 1);
  return text;
}

std::string EncodeBase64(std::string_view bytes) { return absl::Base64Escape(bytes); }

StatusOr<std::string> DecodeBase64(std::string_view text) {
  std::string compact;
  compact.reserve(text.size());
  for (const char c : text)
    if (c != '\r' && c != '\n') compact.push_back(c);
  std::string out;
  // Padding is obligatory in Go's standard encoding.
  if (compact.size() % 4 == 0 && absl::Base64Unescape(compact, &out)) return out;
  size_t at = 0;
  while (at < text.size() &&
         (absl::ascii_isalnum(text[at]) || text[at] == '+' || text[at] == '/' || text[at] == '\r' || text[at] == '\n'))
    ++at;
  if (at == text.size() || text[at] == '=') at = text.size() / 4 * 4 == text.size() ? at : text.size() / 4 * 4;
  return InvalidArgument("illegal base64 data at input byte ", at);
}

}  // namespace internal
}  // namespace skiff::api
