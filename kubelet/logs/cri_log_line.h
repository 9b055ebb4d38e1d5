// One line of a CRI log file: "2026-01-01T00:00:00.000000000Z stdout F text". Pure; bytes from outside (fuzzed).
#ifndef SKIFF_KUBELET_LOGS_CRI_LOG_LINE_H_
#define SKIFF_KUBELET_LOGS_CRI_LOG_LINE_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace skiff::kubelet {

struct CriLogLine {
  std::chrono::sys_time<std::chrono::nanoseconds> time;
  std::string_view time_text;  // as in the file
  std::string_view stream;     // "stdout" or "stderr"
  bool partial = false;        // the text goes on in the next line
  std::string_view text;       // with its newline, unless partial or cut off
};

// `line` with its newline if it has one. nullopt for what is not in the format. Views point into `line`.
std::optional<CriLogLine> ParseCriLogLine(std::string_view line);

// "2026-01-01T00:00:00.000000000Z": always nine digits of fraction, the offset as it was.
std::string FixedTimestamp(const CriLogLine& line);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_LOGS_CRI_LOG_LINE_H_
