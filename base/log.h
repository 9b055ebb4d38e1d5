// Logging as klog does it: text ("I1121 05:54:07.123456   1234 file.cc:12] \"Started container\" pod=\"ns/n\"") or,
// with
// --logging-format=json, one JSON object a line ({"ts":..,"caller":..,"msg":..,"v":0,"pod":"ns/n"}). Messages are
// constant sentences, what varies goes into key-value pairs. Never pass secret values. Thread-safe. Lines go to
// standard error in one write(2) each.
//
//   LOG_INFO("Started container", {"pod", key}, {"container", name});
//   LOG_ERROR(status, "Failed to mount volume", {"volume", name});
//   VLOG(4, "Synced pod", {"pod", key});
#ifndef SKIFF_BASE_LOG_H_
#define SKIFF_BASE_LOG_H_

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/status.h"

namespace skiff::log {

enum class Severity { kInfo, kWarning, kError };
enum class Format { kText, kJson };

// One key and its value; strings are quoted in text, numbers and booleans are not.
struct Field {
  Field(std::string_view key, std::string_view value) : key(key), value(value), quoted(true) {}
  Field(std::string_view key, const char* value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, const std::string& value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, const Status& status) : Field(key, status.message()) {}
  Field(std::string_view key, bool value) : key(key), value(value ? "true" : "false"), quoted(false) {}
  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, bool>>>
  Field(std::string_view key, T value) : key(key), value(absl::StrCat(value)), quoted(false) {}
  std::string_view key;
  std::string value;
  bool quoted;
};

// Process-wide settings, made once at start (flags -v and --logging-format).
void SetVerbosity(int v);
int Verbosity();
void SetFormat(Format format);
// Lines are handed to `sink` instead of standard error (tests); nullptr restores.
void SetSink(void (*sink)(std::string_view line));

void Write(Severity severity, int v, const char* file, int line, const Status* status, std::string_view message,
           std::initializer_list<Field> fields);

}  // namespace skiff::log

#define LOG_INFO(message, ...) \
  ::skiff::log::Write(::skiff::log::Severity::kInfo, 0, __FILE__, __LINE__, nullptr, message, {__VA_ARGS__})
#define LOG_WARNING(message, ...) \
  ::skiff::log::Write(::skiff::log::Severity::kWarning, 0, __FILE__, __LINE__, nullptr, message, {__VA_ARGS__})
#define LOG_ERROR(status, message, ...)                                                                    \
  do {                                                                                                     \
    const ::skiff::Status skiff_log_status = (status);                                                     \
    ::skiff::log::Write(::skiff::log::Severity::kError, 0, __FILE__, __LINE__, &skiff_log_status, message, \
                        {__VA_ARGS__});                                                                    \
  } while (false)
#define VLOG(level, message, ...)                                                                                     \
  do {                                                                                                                \
    if (::skiff::log::Verbosity() >= (level))                                                                         \
      ::skiff::log::Write(::skiff::log::Severity::kInfo, level, __FILE__, __LINE__, nullptr, message, {__VA_ARGS__}); \
  } while (false)

#endif  // SKIFF_BASE_LOG_H_
