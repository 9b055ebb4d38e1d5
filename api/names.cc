#include "api/names.h"

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace skiff::api {
namespace {

constexpr std::string_view kLabelFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
constexpr std::string_view kSubdomainFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
constexpr std::string_view kKeyFormat = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

bool LowerOrDigit(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); }

template <typename F>
bool All(std::string_view value, F f) {
  for (const char c : value)
    if (!f(c)) return false;
  return true;
}

bool Label(std::string_view value) {
  return !value.empty() && LowerOrDigit(value.front()) && LowerOrDigit(value.back()) &&
         All(value, [](char c) { return LowerOrDigit(c) || c == '-'; });
}

bool Subdomain(std::string_view value) {
  for (const std::string_view part : absl::StrSplit(value, '.'))
    if (!Label(part)) return false;
  return true;
}

bool LabelKeyName(std::string_view value) {
  return !value.empty() && absl::ascii_isalnum(value.front()) && absl::ascii_isalnum(value.back()) &&
         All(value, [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string MaxCharacters(int n) { return absl::StrCat("must be no more than ", n, " characters"); }
std::string MaxBytes(int n) { return absl::StrCat("must be no more than ", n, " bytes"); }

std::string Regex(std::string_view message, std::string_view format, std::initializer_list<std::string_view> examples) {
  std::string out(message);
  out += " (e.g. ";
  bool first = true;
  for (const std::string_view example : examples) {
    if (!first) out += " or ";
    first = false;
    absl::StrAppend(&out, "'", example, "', ");
  }
  return absl::StrCat(out, "regex used for validation is '", format, "')");
}

void AddDotNames(std::string_view value, Complaints* out) {
  if (value == ".")
    out->push_back("must not be '.'");
  else if (value == "..")
    out->push_back("must not be '..'");
  else if (value.starts_with(".."))
    out->push_back("must not start with '..'");
}

std::string KeyNameMessage() {
  return Regex(
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
      "character",
      kKeyFormat, {"MyName", "my.name", "123-abc"});
}

}  // namespace

Complaints IsDns1123Label(std::string_view value) {
  Complaints out;
  if (value.size() > 63) out.push_back(MaxCharacters(63));
  if (Label(value)) return out;
  if (Subdomain(value))
    out.push_back("must not contain dots");
  else
    out.push_back(
        Regex("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
              "start and end with an alphanumeric character",
              kLabelFormat, {"my-name", "123-abc"}));
  return out;
}

Complaints IsDns1123Subdomain(std::string_view value) {
  Complaints out;
  if (value.size() > 253) out.push_back(MaxCharacters(253));
  if (!Subdomain(value))
    out.push_back(
        Regex("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
              "and must start and end with an alphanumeric character",
              kSubdomainFormat, {"example.com"}));
  return out;
}

Complaints IsDns1035Label(std::string_view value) {
  Complaints out;
  if (value.size() > 63) out.push_back(MaxCharacters(63));
  if (!Label(value) || !absl::ascii_islower(value.front()))
    out.push_back(
        Regex("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
              "alphabetic character, and end with an alphanumeric character",
              "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  return out;
}

Complaints IsWildcardDns1123Subdomain(std::string_view value) {
  Complaints out;
  if (value.size() > 253) out.push_back(MaxCharacters(253));
  if (!value.starts_with("*.") || !Subdomain(value.substr(2)))
    out.push_back(
        Regex("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
              "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
              "character",
              absl::StrCat("\\*\\.", kSubdomainFormat), {"*.example.com"}));
  return out;
}

Complaints IsQualifiedName(std::string_view value) {
  Complaints out;
  const std::vector<std::string_view> parts = absl::StrSplit(value, '/');
  if (parts.size() > 2) {
    out.push_back(absl::StrCat("a valid label key ", KeyNameMessage(),
                               " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"));
    return out;
  }
  const std::string_view name = parts.back();
  if (parts.size() == 2) {
    if (parts[0].empty())
      out.push_back("prefix part must be non-empty");
    else
      for (const std::string& complaint : IsDns1123Subdomain(parts[0])) out.push_back("prefix part " + complaint);
  }
  if (name.empty())
    out.push_back("name part must be non-empty");
  else if (name.size() > 63)
    out.push_back("name part " + MaxBytes(63));
  if (!LabelKeyName(name)) out.push_back("name part " + KeyNameMessage());
  return out;
}

Complaints IsValidLabelValue(std::string_view value) {
  Complaints out;
  if (value.size() > 63) out.push_back(MaxBytes(63));
  if (!value.empty() && !LabelKeyName(value))
    out.push_back(
        Regex("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
              "and must start and end with an alphanumeric character",
              absl::StrCat("(", kKeyFormat, ")?"), {"MyValue", "my_value", "12345"}));
  return out;
}

Complaints IsValidPortName(std::string_view value) {
  Complaints out;
  if (value.size() > 15) out.push_back(MaxCharacters(15));
  if (value.empty() || !All(value, [](char c) { return LowerOrDigit(c) || c == '-'; }))
    out.push_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (All(value, [](char c) { return !absl::ascii_islower(c); }))
    out.push_back("must contain at least one letter (a-z)");
  if (value.find("--") != std::string_view::npos) out.push_back("must not contain consecutive hyphens");
  if (!value.empty() && (value.front() == '-' || value.back() == '-'))
    out.push_back("must not begin or end with a hyphen");
  return out;
}

Complaints IsValidPortNum(int64_t port) {
  if (port >= 1 && port <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

Complaints IsEnvVarName(std::string_view value) {
  Complaints out;
  if (value.empty()) out.push_back("environment variable name must be non-empty");
  if (!All(value, [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '='; }))
    out.push_back("a valid environment variable name must consist only of printable ASCII characters other than '='");
  return out;
}

Complaints IsConfigMapKey(std::string_view value) {
  Complaints out;
  if (value.size() > 253) out.push_back(MaxCharacters(253));
  if (value.empty() || !All(value, [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; }))
    out.push_back(Regex("a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                        "[-._a-zA-Z0-9]+", {"key.name", "KEY_NAME", "key-name"}));
  AddDotNames(value, &out);
  return out;
}

Complaints IsValidIp(std::string_view value) {
  const std::string text(value);
  unsigned char bytes[16];
  const auto parses = [&](const std::string& address) {
    return inet_pton(AF_INET, address.c_str(), bytes) == 1 || inet_pton(AF_INET6, address.c_str(), bytes) == 1;
  };
  if (parses(text)) return {};
  // Some parsers take 010 for eight, others for ten.
  std::string stripped;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = stripped.empty() || !absl::ascii_isxdigit(stripped.back());
    if (begins && text[i] == '0' && i + 1 < text.size() && absl::ascii_isxdigit(text[i + 1])) continue;
    stripped += text[i];
  }
  if (parses(stripped)) return {"must not have leading 0s"};
  return {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"};
}

Complaints IsHttpHeaderName(std::string_view value) {
  if (!value.empty() && All(value, [](char c) { return absl::ascii_isalnum(c) || c == '-'; })) return {};
  return {
      Regex("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", {"X-Header-Name"})};
}

Complaints IsCIdentifier(std::string_view value) {
  if (!value.empty() && !absl::ascii_isdigit(value[0]) &&
      All(value, [](char c) { return absl::ascii_isalnum(c) || c == '_'; }))
    return {};
  return {
      Regex("a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
            "characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*", {"my_name", "MY_NAME", "MyName"})};
}

Complaints IsPathSegmentName(std::string_view value) {
  if (value == "." || value == "..") return {absl::StrCat("may not be '", value, "'")};
  Complaints out;
  for (const std::string_view part : {"/", "%"})
    if (value.find(part) != std::string_view::npos) out.push_back(absl::StrCat("may not contain '", part, "'"));
  return out;
}

Complaints IsPercent(std::string_view value) {
  if (value.size() > 1 && value.back() == '%' &&
      All(value.substr(0, value.size() - 1), [](char c) { return absl::ascii_isdigit(c); }))
    return {};
  return {Regex("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", {"1%", "93%"})};
}

}  // namespace skiff::api
