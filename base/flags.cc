#include "base/flags.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/go_text.h"

namespace skiff {
namespace {

void Warn(std::string_view line) {
  const std::string text = absl::StrCat(line, "\n");
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text.data(), text.size());
}

// One line of comma-separated values as encoding/csv reads it: fields may be quoted, "" inside quotes is a quote.
StatusOr<std::vector<std::string>> ParseCsv(std::string_view text) {
  std::vector<std::string> fields;
  if (text.empty()) return fields;
  size_t i = 0;
  for (;;) {
    std::string field;
    if (i < text.size() && text[i] == '"') {
      const size_t start = i++;
      for (;;) {
        const size_t quote = text.find('"', i);
        if (quote == std::string_view::npos) {
          return InvalidArgument("parse error on line 1, column ", text.size() + 1,
                                 ": extraneous or missing \" in quoted-field");
        }
        field.append(text.substr(i, quote - i));
        i = quote + 1;
        if (i < text.size() && text[i] == '"') {
          field.push_back('"');
          i++;
          continue;
        }
        break;
      }
      if (i < text.size() && text[i] != ',') {
        return InvalidArgument("parse error on line 1, column ", i + 1 - (start > i ? 1 : 0),
                               ": extraneous or missing \" in quoted-field");
      }
    } else {
      const size_t end = std::min(text.find(',', i), text.size());
      field = text.substr(i, end - i);
      const size_t quote = field.find('"');
      if (quote != std::string::npos) {
        return InvalidArgument("parse error on line 1, column ", i + quote + 1, ": bare \" in non-quoted-field");
      }
      i = end;
    }
    fields.push_back(std::move(field));
    if (i >= text.size()) return fields;
    i++;  // the comma
  }
}

std::string_view TrimSpace(std::string_view s) {
  while (!s.empty() && absl::ascii_isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && absl::ascii_isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

std::string MapText(const std::map<std::string, std::string>& map) {
  return absl::StrJoin(map, ",", absl::PairFormatter("="));
}

bool IsZeroDefault(std::string_view type, std::string_view text) {
  if (type == "bool") return text == "false" || text.empty();
  if (type == "duration") return text == "0" || text == "0s";
  if (type == "int" || type == "int32" || type == "float") return text == "0";
  if (type == "string") return text.empty();
  if (type == "strings") return text == "[]";
  return text == "false" || text == "<nil>" || text.empty() || text == "0";
}

// At most `width` (a few more to avoid an orphan) characters of *text; the rest stays in *text.
std::string TakeLine(std::string_view* text, size_t width, size_t slop) {
  std::string line;
  if (width + slop > text->size()) {
    line = *text;
    *text = {};
    return line;
  }
  const std::string_view head = text->substr(0, width);
  size_t cut = head.find_last_of(" \t\n");
  if (cut == std::string_view::npos || cut == 0) {
    line = *text;
    *text = {};
    return line;
  }
  const size_t newline = head.rfind('\n');
  if (newline != std::string_view::npos && newline > 0 && newline < cut) cut = newline;
  line = head.substr(0, cut);
  text->remove_prefix(cut + 1);
  return line;
}

std::string Indented(std::string_view text, size_t indent) {
  return absl::StrReplaceAll(text, {{"\n", "\n" + std::string(indent, ' ')}});
}

std::string Wrap(std::string_view text, size_t indent, size_t columns) {
  if (columns == 0) return Indented(text, indent);
  std::string out;
  if (columns < indent + 24) {
    indent = 16;
    if (columns < indent + 24) return std::string(text);
    out = "\n" + std::string(indent, ' ');
  }
  constexpr size_t kSlop = 5;
  const size_t width = columns - indent - kSlop;
  out += Indented(TakeLine(&text, width, kSlop), indent);
  while (!text.empty()) {
    out += "\n" + std::string(indent, ' ');
    out += Indented(TakeLine(&text, width, kSlop), indent);
  }
  return out;
}

}  // namespace

FlagSet::FlagSet(std::string program, std::string summary)
    : program_(std::move(program)), summary_(std::move(summary)) {}

FlagSet::Flag& FlagSet::Add(std::string_view name, std::string_view type, std::string default_text,
                            std::string_view help, char shorthand, std::function<Status(std::string_view)> set) {
  Flag& flag = flags_[std::string(name)];
  flag = Flag{.name = std::string(name),
              .type = std::string(type),
              .default_text = std::move(default_text),
              .help = std::string(help),
              .deprecated = {},
              .section = section_,
              .bare = type == "bool" ? "true" : "",
              .shorthand = shorthand,
              .hidden = false,
              .changed = false,
              .set = std::move(set),
              .show = nullptr,
              .last = {}};
  return flag;
}

void FlagSet::String(std::string_view name, std::string* value, std::string_view help, char shorthand) {
  Add(name, "string", *value, help, shorthand, [value](std::string_view text) {
    *value = text;
    return absl::OkStatus();
  }).show = [value] { return *value; };
}

void FlagSet::Bool(std::string_view name, bool* value, std::string_view help, char shorthand) {
  Add(name, "bool", *value ? "true" : "false", help, shorthand, [value](std::string_view text) -> Status {
    ASSIGN_OR_RETURN(*value, GoParseBool(text));
    return absl::OkStatus();
  }).show = [value]() -> std::string { return *value ? "true" : "false"; };
}

void FlagSet::Int(std::string_view name, int64_t* value, std::string_view help, char shorthand) {
  Add(name, "int", absl::StrCat(*value), help, shorthand, [value](std::string_view text) -> Status {
    ASSIGN_OR_RETURN(*value, GoParseInt(text, 64));
    return absl::OkStatus();
  }).show = [value] { return absl::StrCat(*value); };
}

void FlagSet::Int32(std::string_view name, int32_t* value, std::string_view help, char shorthand) {
  Add(name, "int32", absl::StrCat(*value), help, shorthand, [value](std::string_view text) -> Status {
    ASSIGN_OR_RETURN(const int64_t wide, GoParseInt(text, 32));
    *value = static_cast<int32_t>(wide);
    return absl::OkStatus();
  }).show = [value] { return absl::StrCat(*value); };
}

void FlagSet::Double(std::string_view name, double* value, std::string_view help) {
  Add(name, "float", GoFloat(*value), help, 0, [value](std::string_view text) -> Status {
    ASSIGN_OR_RETURN(*value, GoParseFloat(text));
    return absl::OkStatus();
  }).show = [value] { return GoFloat(*value); };
}

void FlagSet::Duration(std::string_view name, std::chrono::nanoseconds* value, std::string_view help) {
  Add(name, "duration", FormatDuration(*value), help, 0, [value](std::string_view text) -> Status {
    ASSIGN_OR_RETURN(*value, ParseDuration(text));
    return absl::OkStatus();
  }).show = [value] { return FormatDuration(*value); };
}

void FlagSet::Strings(std::string_view name, std::vector<std::string>* value, std::string_view help) {
  Add(name, "strings", absl::StrCat("[", absl::StrJoin(*value, ","), "]"), help, 0,
      [value, first = true](std::string_view text) mutable -> Status {
        ASSIGN_OR_RETURN(std::vector<std::string> fields, ParseCsv(text));
        if (first) value->clear();
        first = false;
        for (std::string& field : fields) value->push_back(std::move(field));
        return absl::OkStatus();
      })
      .show = [value] { return absl::StrCat("[", absl::StrJoin(*value, ","), "]"); };
}

void FlagSet::Map(std::string_view name, std::map<std::string, std::string>* value, std::string_view help) {
  Add(name, "mapStringString", MapText(*value), help, 0,
      [value, first = true](std::string_view text) mutable -> Status {
        if (first) value->clear();
        first = false;
        for (absl::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
          const size_t equals = pair.find('=');
          if (equals == absl::string_view::npos) return InvalidArgument("malformed pair, expect string=string");
          (*value)[std::string(TrimSpace(pair.substr(0, equals)))] = std::string(TrimSpace(pair.substr(equals + 1)));
        }
        return absl::OkStatus();
      })
      .show = [value] { return MapText(*value); };
}

void FlagSet::Custom(std::string_view name, std::string_view type, std::string_view default_text, std::string_view help,
                     std::function<Status(std::string_view)> set, std::string_view bare) {
  Flag& flag = Add(name, type, std::string(default_text), help, 0, std::move(set));
  if (!bare.empty()) flag.bare = bare;
  flag.last = flag.default_text;
}

void FlagSet::Deprecate(std::string_view name, std::string_view why) {
  Flag* flag = Find(name);
  if (flag == nullptr) {
    flag = &Add(name, "string", "", "", 0, [](std::string_view) { return absl::OkStatus(); });
  }
  flag->deprecated = why;
  flag->hidden = true;
}

void FlagSet::Hide(std::string_view name) {
  if (Flag* flag = Find(name)) flag->hidden = true;
}

void FlagSet::Section(std::string_view name) {
  section_ = name;
  if (std::find(sections_.begin(), sections_.end(), section_) == sections_.end()) sections_.push_back(section_);
}

FlagSet::Flag* FlagSet::Find(std::string_view name) {
  auto it = flags_.find(name);
  if (it != flags_.end()) return &it->second;
  for (const auto& [from, to] : {std::pair('_', '-'), std::pair('-', '_')}) {
    std::string other(name);
    std::replace(other.begin(), other.end(), from, to);
    it = flags_.find(other);
    if (it != flags_.end()) return &it->second;
  }
  return nullptr;
}

Status FlagSet::SetFlag(Flag& flag, std::string_view value) {
  const Status status = flag.set(value);
  if (!status.ok()) {
    const std::string shown = flag.shorthand != 0 ? absl::StrCat("-", std::string(1, flag.shorthand), ", --", flag.name)
                                                  : absl::StrCat("--", flag.name);
    return InvalidArgument("invalid argument ", GoQuote(value), " for ", GoQuote(shown), " flag: ", status.message());
  }
  flag.changed = true;
  if (flag.show == nullptr) flag.last = value;
  if (!flag.deprecated.empty()) Warn(absl::StrCat("Flag --", flag.name, " has been deprecated, ", flag.deprecated));
  return absl::OkStatus();
}

Status FlagSet::ParseLong(std::string_view arg, int* next, int argc, const char* const* argv) {
  std::string_view name = arg.substr(arg.starts_with("--") ? 2 : 1);
  if (name.empty() || name[0] == '-' || name[0] == '=') return InvalidArgument("bad flag syntax: ", arg);
  const size_t equals = name.find('=');
  const bool has_value = equals != std::string_view::npos;
  const std::string_view value = has_value ? name.substr(equals + 1) : std::string_view();
  name = name.substr(0, equals);
  Flag* flag = Find(name);
  if (flag == nullptr) {
    if (name == "help") return absl::CancelledError(Help());
    return InvalidArgument("unknown flag: --", name);
  }
  if (has_value) return SetFlag(*flag, value);
  if (!flag->bare.empty()) return SetFlag(*flag, flag->bare);
  if (*next < argc) return SetFlag(*flag, argv[(*next)++]);
  return InvalidArgument("flag needs an argument: --", name);
}

Status FlagSet::ParseShort(std::string_view arg, int* next, int argc, const char* const* argv) {
  std::string_view letters = arg.substr(1);
  while (!letters.empty()) {
    const char c = letters[0];
    const std::string quoted = absl::StrCat("'", std::string(1, c), "'");
    Flag* flag = nullptr;
    for (auto& [name, candidate] : flags_) {
      if (candidate.shorthand == c) flag = &candidate;
    }
    if (flag == nullptr) {
      if (c == 'h') return absl::CancelledError(Help());
      return InvalidArgument("unknown shorthand flag: ", quoted, " in -", letters);
    }
    if (letters.size() > 2 && letters[1] == '=') return SetFlag(*flag, letters.substr(2));
    if (!flag->bare.empty()) {
      RETURN_IF_ERROR(SetFlag(*flag, flag->bare));
      letters.remove_prefix(1);
      continue;
    }
    if (letters.size() > 1) return SetFlag(*flag, letters.substr(1));
    if (*next < argc) return SetFlag(*flag, argv[(*next)++]);
    return InvalidArgument("flag needs an argument: ", quoted, " in -", letters);
  }
  return absl::OkStatus();
}

StatusOr<std::vector<std::string>> FlagSet::Parse(int argc, const char* const* argv) {
  std::vector<std::string> positional;
  for (int next = 1; next < argc;) {
    const std::string_view arg = argv[next++];
    if (arg.size() < 2 || arg[0] != '-') {
      positional.emplace_back(arg);
    } else if (arg == "--") {
      while (next < argc) positional.emplace_back(argv[next++]);
    } else if (arg[1] == '-' ||
               (single_dash_ && Find(arg.substr(1, arg.find('=') - (arg.find('=') == arg.npos ? 0 : 1))) != nullptr)) {
      RETURN_IF_ERROR(ParseLong(arg, &next, argc, argv));
    } else {
      RETURN_IF_ERROR(ParseShort(arg, &next, argc, argv));
    }
  }
  return positional;
}

bool FlagSet::Changed(std::string_view name) const {
  const Flag* flag = Find(name);
  return flag != nullptr && flag->changed;
}

std::vector<std::pair<std::string, std::string>> FlagSet::Values() const {
  std::vector<std::pair<std::string, std::string>> out;
  out.emplace_back("help", "false");
  for (const auto& [name, flag] : flags_) {
    if (name != "help") out.emplace_back(name, flag.show != nullptr ? flag.show() : flag.last);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string FlagSet::Usages(const std::string& section, int columns) const {
  std::vector<std::pair<std::string, std::string>> lines;  // flag with its type, and what it is for
  size_t widest = 0;
  for (const auto& [name, flag] : flags_) {
    if (flag.hidden || flag.section != section) continue;
    std::string left = flag.shorthand != 0 ? absl::StrCat("  -", std::string(1, flag.shorthand), ", --", name)
                                           : absl::StrCat("      --", name);
    // A name in back quotes inside the help text stands for the value.
    std::string value = flag.type == "bool" ? "" : flag.type;
    std::string usage = flag.help;
    const size_t open = usage.find('`');
    const size_t close = open == std::string::npos ? open : usage.find('`', open + 1);
    if (close != std::string::npos) {
      value = usage.substr(open + 1, close - open - 1);
      usage = absl::StrCat(usage.substr(0, open), value, usage.substr(close + 1));
    }
    if (!value.empty()) absl::StrAppend(&left, " ", value);
    if (!flag.bare.empty() && flag.type != "bool") absl::StrAppend(&left, "[=", flag.bare, "]");
    if (!IsZeroDefault(flag.type, flag.default_text)) {
      absl::StrAppend(&usage, " (default ", flag.type == "string" ? GoQuote(flag.default_text) : flag.default_text,
                      ")");
    }
    widest = std::max(widest, left.size() + 1);
    lines.emplace_back(std::move(left), std::move(usage));
  }
  std::string out;
  for (const auto& [left, usage] : lines) {
    absl::StrAppend(&out, left, " ", std::string(widest - left.size(), ' '), " ",
                    Wrap(usage, widest + 2, static_cast<size_t>(columns)), "\n");
  }
  return out;
}

std::string FlagSet::Help(int columns) const {
  std::string out;
  if (!summary_.empty()) absl::StrAppend(&out, summary_, "\n\n");
  absl::StrAppend(&out, "Usage:\n  ", program_, " [flags]\n");
  for (const std::string& section : sections_) {
    const std::string usages = Usages(section, columns);
    if (usages.empty()) continue;
    if (section.empty()) {
      absl::StrAppend(&out, "\nFlags:\n", usages);
    } else {
      std::string title = section;
      title[0] = absl::ascii_toupper(static_cast<unsigned char>(title[0]));
      absl::StrAppend(&out, "\n", title, " flags:\n\n", usages);
    }
  }
  return out;
}

StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const std::string quoted = GoQuote(text);
  const auto invalid = [&] { return InvalidArgument("time: invalid duration ", quoted); };
  std::string_view s = text;
  const bool negative = !s.empty() && s[0] == '-';
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) s.remove_prefix(1);
  if (s == "0") return std::chrono::nanoseconds(0);
  if (s.empty()) return invalid();
  constexpr uint64_t kMax = uint64_t{1} << 63;
  uint64_t total = 0;
  while (!s.empty()) {
    uint64_t whole = 0, fraction = 0;
    double scale = 1;
    size_t digits = 0;
    while (!s.empty() && absl::ascii_isdigit(static_cast<unsigned char>(s[0]))) {
      if (whole > kMax / 10) return invalid();
      whole = whole * 10 + static_cast<uint64_t>(s[0] - '0');
      if (whole > kMax) return invalid();
      s.remove_prefix(1);
      digits++;
    }
    if (!s.empty() && s[0] == '.') {
      s.remove_prefix(1);
      while (!s.empty() && absl::ascii_isdigit(static_cast<unsigned char>(s[0]))) {
        digits++;
        if (fraction <= (kMax - 10) / 10) {  // further digits are below what the unit can hold
          fraction = fraction * 10 + static_cast<uint64_t>(s[0] - '0');
          scale *= 10;
        }
        s.remove_prefix(1);
      }
    }
    if (digits == 0) return invalid();
    size_t n = 0;
    while (n < s.size() && s[n] != '.' && !absl::ascii_isdigit(static_cast<unsigned char>(s[n]))) n++;
    if (n == 0) return InvalidArgument("time: missing unit in duration ", quoted);
    const std::string_view unit_name = s.substr(0, n);
    s.remove_prefix(n);
    uint64_t unit = 0;
    if (unit_name == "ns")
      unit = 1;
    else if (unit_name == "us" || unit_name == "\xc2\xb5s" || unit_name == "\xce\xbcs")
      unit = 1000;
    else if (unit_name == "ms")
      unit = 1000000;
    else if (unit_name == "s")
      unit = 1000000000;
    else if (unit_name == "m")
      unit = 60000000000;
    else if (unit_name == "h")
      unit = 3600000000000;
    else
      return InvalidArgument("time: unknown unit ", GoQuote(unit_name), " in duration ", quoted);
    if (whole > kMax / unit) return invalid();
    uint64_t value = whole * unit;
    if (fraction > 0)
      value += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit) / scale));
    if (value > kMax || total + value > kMax) return invalid();
    total += value;
  }
  if (!negative && total > kMax - 1) return invalid();
  return std::chrono::nanoseconds(static_cast<int64_t>(negative ? uint64_t{0} - total : total));
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  const int64_t count = duration.count();
  if (count == 0) return "0s";
  const uint64_t u = count < 0 ? uint64_t{0} - static_cast<uint64_t>(count) : static_cast<uint64_t>(count);
  const std::string sign = count < 0 ? "-" : "";
  // "1.5" of `value` counted in units of 1/`unit`.
  const auto decimal = [](uint64_t value, uint64_t unit) {
    std::string out = absl::StrCat(value / unit);
    uint64_t rest = value % unit;
    if (rest == 0) return out;
    out += '.';
    for (uint64_t place = unit / 10; rest > 0; place /= 10) {
      out += static_cast<char>('0' + rest / place);
      rest %= place;
    }
    return out;
  };
  if (u < 1000) return absl::StrCat(sign, u, "ns");
  if (u < 1000000) return absl::StrCat(sign, decimal(u, 1000), "\xc2\xb5s");
  if (u < 1000000000) return absl::StrCat(sign, decimal(u, 1000000), "ms");
  const uint64_t minute = 60000000000;
  std::string out = absl::StrCat(decimal(u % minute, 1000000000), "s");
  if (u >= minute) {
    out = absl::StrCat(u / minute % 60, "m", out);
    if (u >= 60 * minute) out = absl::StrCat(u / minute / 60, "h", out);
  }
  return sign + out;
}

}  // namespace skiff
