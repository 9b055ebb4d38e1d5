#include "kubelet/server/metrics_protobuf.h"

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace skiff::kubelet {
namespace {

enum Type { kCounter = 0, kGauge = 1, kSummary = 2, kUntyped = 3, kHistogram = 4 };

void AppendVarint(std::string* out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out->push_back(static_cast<char>(v | 0x80));
  out->push_back(static_cast<char>(v));
}
void AppendNumber(std::string* out, int field, uint64_t v) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3);
  AppendVarint(out, v);
}
void AppendDouble(std::string* out, int field, double value) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3 | 1);
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(bits >> (8 * i)));
}
void AppendBytes(std::string* out, int field, std::string_view bytes) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3 | 2);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Line {
  std::string name;
  Labels labels;
  double value = 0;
  int64_t timestamp = 0;
};

double ParseValue(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  if (text == "-Inf") return -std::numeric_limits<double>::infinity();
  double value = std::numeric_limits<double>::quiet_NaN();
  if (text != "NaN" && !absl::SimpleAtod(text, &value)) return std::numeric_limits<double>::quiet_NaN();
  return value;
}

std::optional<Line> ParseLine(std::string_view text) {
  Line line;
  size_t at = text.find_first_of("{ ");
  if (at == std::string_view::npos) return std::nullopt;
  line.name = text.substr(0, at);
  if (text[at] == '{') {
    ++at;
    while (at < text.size() && text[at] != '}') {
      if (text[at] == ',') ++at;
      const size_t equals = text.find("=\"", at);
      if (equals == std::string_view::npos) return std::nullopt;
      std::string name(text.substr(at, equals - at)), value;
      for (at = equals + 2; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] != '\\' || at + 1 >= text.size()) {
          value.push_back(text[at]);
        } else {
          ++at;
          value.push_back(text[at] == 'n' ? '\n' : text[at]);
        }
      }
      if (at >= text.size()) return std::nullopt;
      ++at;
      line.labels.emplace_back(std::move(name), std::move(value));
    }
    ++at;
  }
  if (at >= text.size()) return std::nullopt;
  const std::vector<std::string_view> rest = absl::StrSplit(absl::string_view(text.substr(at)), ' ', absl::SkipEmpty());
  if (rest.empty() || rest.size() > 2) return std::nullopt;
  line.value = ParseValue(rest[0]);
  if (rest.size() == 2 && !absl::SimpleAtoi(rest[1], &line.timestamp)) return std::nullopt;
  return line;
}

// One series: for histograms and summaries the lines that belong together.
struct Series {
  double value = 0, sum = 0;
  uint64_t count = 0;
  std::vector<std::pair<double, double>> parts;  // bound and cumulative count, or quantile and value
  int64_t timestamp = 0;
};

struct Family {
  std::string name, help;
  Type type = kUntyped;
  std::vector<std::pair<Labels, Series>> series;

  Series& Of(const Labels& labels) {
    if (series.empty() || series.back().first != labels) series.emplace_back(labels, Series());
    return series.back().second;
  }
  void Add(Line line);
  void AppendTo(std::string* out) const;
};

void Family::Add(Line line) {
  std::string_view suffix = std::string_view(line.name).substr(std::min(name.size(), line.name.size()));
  std::optional<double> bound;
  if (type == kHistogram || type == kSummary) {
    const char* special = type == kHistogram ? "le" : "quantile";
    for (auto it = line.labels.begin(); it != line.labels.end(); ++it) {
      if (it->first != special) continue;
      bound = ParseValue(it->second);
      line.labels.erase(it);
      break;
    }
  }
  Series& to = Of(line.labels);
  to.timestamp = line.timestamp;
  if (bound) {
    to.parts.emplace_back(*bound, line.value);
  } else if (suffix == "_sum" && type != kGauge && type != kCounter) {
    to.sum = line.value;
  } else if (suffix == "_count" && type != kGauge && type != kCounter) {
    to.count = static_cast<uint64_t>(line.value);
  } else {
    to.value = line.value;
  }
}

void Family::AppendTo(std::string* out) const {
  if (series.empty()) return;
  std::string message;
  AppendBytes(&message, 1, name);
  AppendBytes(&message, 2, help);
  AppendNumber(&message, 3, type);
  for (const auto& [labels, s] : series) {
    std::string metric, value;
    for (const auto& [label, text] : labels) {
      std::string pair;
      AppendBytes(&pair, 1, label);
      AppendBytes(&pair, 2, text);
      AppendBytes(&metric, 1, pair);
    }
    if (type == kHistogram || type == kSummary) {
      AppendNumber(&value, 1, s.count);
      AppendDouble(&value, 2, s.sum);
      for (const auto& [bound, amount] : s.parts) {
        std::string part;
        if (type == kHistogram) {
          if (std::isinf(bound)) continue;  // that is the count
          AppendNumber(&part, 1, static_cast<uint64_t>(amount));
          AppendDouble(&part, 2, bound);
        } else {
          AppendDouble(&part, 1, bound);
          AppendDouble(&part, 2, amount);
        }
        AppendBytes(&value, 3, part);
      }
    } else {
      AppendDouble(&value, 1, s.value);
    }
    static constexpr int kField[] = {3, 2, 4, 5, 7};  // by type
    AppendBytes(&metric, kField[type], value);
    if (s.timestamp != 0) AppendNumber(&metric, 6, static_cast<uint64_t>(s.timestamp));
    AppendBytes(&message, 4, metric);
  }
  AppendVarint(out, message.size());
  *out += message;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      out.push_back(text[i] == 'n' ? '\n' : text[i]);
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace

bool WantsDelimitedMetrics(const http::Headers& headers) {
  double best = 0;
  bool wanted = false;
  for (std::string_view field : headers.All("Accept")) {
    for (absl::string_view range : absl::StrSplit(absl::string_view(field), ',')) {
      std::vector<std::string_view> parts = absl::StrSplit(range, ';');
      double weight = 1;
      bool family = false, delimited = false;
      for (size_t i = 1; i < parts.size(); ++i) {
        const absl::string_view part = absl::StripAsciiWhitespace(parts[i]);
        if (part == "proto=io.prometheus.client.MetricFamily") family = true;
        if (part == "encoding=delimited") delimited = true;
        if (absl::StartsWith(part, "q=") && !absl::SimpleAtod(part.substr(2), &weight)) weight = 0;
      }
      const absl::string_view type = absl::StripAsciiWhitespace(parts[0]);
      const bool is_protobuf = type == "application/vnd.google.protobuf" && family && delimited;
      if (!is_protobuf && type != "text/plain" && type != "text/*") continue;
      if (weight > best) {
        best = weight;
        wanted = is_protobuf;
      }
    }
  }
  return wanted;
}

std::string DelimitedMetrics(std::string_view text) {
  static const std::map<std::string_view, Type> kTypes = {
      {"counter", kCounter}, {"gauge", kGauge}, {"summary", kSummary}, {"histogram", kHistogram}};
  std::string out;
  std::optional<Family> family;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text), '\n', absl::SkipEmpty())) {
    if (absl::StartsWith(line, "# HELP ")) {
      if (family) family->AppendTo(&out);
      family.emplace();
      line.remove_prefix(7);
      const size_t space = line.find(' ');
      family->name = std::string(line.substr(0, space));
      if (space != absl::string_view::npos) family->help = Unescape(line.substr(space + 1));
    } else if (absl::StartsWith(line, "# TYPE ")) {
      const auto found = kTypes.find(line.substr(line.rfind(' ') + 1));
      if (family && found != kTypes.end()) family->type = found->second;
    } else if (family && line[0] != '#') {
      if (auto parsed = ParseLine(line); parsed && absl::StartsWith(parsed->name, family->name)) {
        family->Add(*std::move(parsed));
      }
    }
  }
  if (family) family->AppendTo(&out);
  return out;
}

}  // namespace skiff::kubelet
