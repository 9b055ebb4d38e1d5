#include "kubelet/logs/cri_log_line.h"

#include "absl/strings/str_cat.h"
#include "api/time.h"

namespace skiff::kubelet {
namespace {

// Takes what stands before the next space; false if there is none.
bool NextField(std::string_view* rest, std::string_view* field) {
  const size_t space = rest->find(' ');
  if (space == std::string_view::npos) return false;
  *field = rest->substr(0, space);
  rest->remove_prefix(space + 1);
  return true;
}

}  // namespace

std::optional<CriLogLine> ParseCriLogLine(std::string_view line) {
  CriLogLine out;
  std::string_view rest = line, tags;
  if (!NextField(&rest, &out.time_text)) return std::nullopt;
  const auto time = api::ParseRfc3339(out.time_text);
  if (!time.ok()) return std::nullopt;
  // sys_time in nanoseconds reaches from 1678 to 2262.
  if (time->seconds < -9'000'000'000 || time->seconds > 9'000'000'000) return std::nullopt;
  out.time = std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::seconds(time->seconds) +
                                                             std::chrono::nanoseconds(time->nanos));
  if (!NextField(&rest, &out.stream)) return std::nullopt;
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  if (!NextField(&rest, &tags)) return std::nullopt;
  out.partial = tags.substr(0, tags.find(':')) == "P";
  if (out.partial && !rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
  out.text = rest;
  return out;
}

std::string FixedTimestamp(const CriLogLine& line) {
  const std::string_view text = line.time_text;
  const size_t zone = text.find_first_of("Zz+-", text.find('T') == std::string_view::npos ? 0 : text.find('T'));
  const size_t dot = text.find('.');
  if (zone == std::string_view::npos) return std::string(text);
  const std::string_view seconds = text.substr(0, std::min(dot, zone));
  std::string fraction(dot == std::string_view::npos ? "" : text.substr(dot + 1, zone - dot - 1));
  fraction.resize(9, '0');
  return absl::StrCat(seconds, ".", fraction, text.substr(zone));
}

}  // namespace skiff::kubelet
