// Texts as Go reads and writes them, and command lines: what parses is printed as something that parses to the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/flags.h"
#include "base/go_text.h"

namespace {

void ParseCommandLine(const std::string& text) {
  std::string name;
  bool on = false;
  int64_t number = 0;
  int32_t small = 0;
  double share = 0;
  std::chrono::nanoseconds time{0};
  std::vector<std::string> list;
  std::map<std::string, std::string> map;
  skiff::FlagSet flags("fuzz");
  flags.String("name", &name, "", 'n');
  flags.Bool("on", &on, "", 'o');
  flags.Int("number", &number, "", 'i');
  flags.Int32("small", &small, "");
  flags.Double("share", &share, "");
  flags.Duration("time", &time, "");
  flags.Strings("list", &list, "");
  flags.Map("map", &map, "");
  // One argument a line.
  std::vector<std::string> lines = {"fuzz"};
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  std::vector<const char*> arguments;
  for (const std::string& line : lines) arguments.push_back(line.c_str());
  (void)flags.Parse(static_cast<int>(arguments.size()), arguments.data()).ok();
  (void)flags.Values();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)skiff::GoQuote(text);
  std::string json;
  skiff::AppendJsonString(&json, text);
  (void)skiff::GoParseInt(text, 32).ok();
  if (const auto number = skiff::GoParseInt(text); number.ok()) {
    if (*skiff::GoParseInt(std::to_string(*number)) != *number) std::abort();
  }
  if (const auto number = skiff::GoParseFloat(text); number.ok() && *number == *number) {
    if (*skiff::GoParseFloat(skiff::GoFloat(*number)) != *number) std::abort();
  }
  (void)skiff::GoParseBool(text).ok();
  if (const auto duration = skiff::ParseDuration(text); duration.ok()) {
    if (*skiff::ParseDuration(skiff::FormatDuration(*duration)) != *duration) std::abort();
  }
  ParseCommandLine(text);
  return 0;
}
