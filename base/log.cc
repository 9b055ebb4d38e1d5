#include "base/log.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/go_text.h"

namespace skiff::log {
namespace {

std::atomic<int> g_verbosity{0};
std::atomic<Format> g_format{Format::kText};
std::atomic<void (*)(std::string_view)> g_sink{nullptr};

std::string_view BaseName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// "dir/file.cc", as the JSON form names callers.
std::string_view ShortPath(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return path;
  const size_t before = path.rfind('/', slash - 1);
  return before == std::string_view::npos ? path : path.substr(before + 1);
}

// Values of several lines stand between "=<" and " >", each line behind a tab.
void AppendTextValue(std::string* out, std::string_view value) {
  if (value.find('\n') == std::string_view::npos) {
    out->push_back('=');
    AppendGoQuote(out, value);
    return;
  }
  *out += "=<\n";
  while (!value.empty()) {
    const size_t end = value.find('\n');
    out->push_back('\t');
    out->append(value.substr(0, end));
    out->push_back('\n');
    value.remove_prefix(end == std::string_view::npos ? value.size() : end + 1);
  }
  *out += " >";
}

std::string TextLine(Severity severity, const char* file, int line, const Status* status, std::string_view message,
                     std::initializer_list<Field> fields) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  char head[64];
  snprintf(head, sizeof head, "%c%02d%02d %02d:%02d:%02d.%06ld %7ld ", "IWE"[static_cast<int>(severity)],
           local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec, now.tv_nsec / 1000,
           static_cast<long>(getpid()));
  std::string out = head;
  out.append(BaseName(file));
  absl::StrAppend(&out, ":", line, "] ");
  AppendGoQuote(&out, message);
  if (status != nullptr) {
    out += " err";
    AppendTextValue(&out, status->ok() ? "<nil>" : status->message());
  }
  for (const Field& field : fields) {
    out.push_back(' ');
    out.append(field.key);
    if (field.quoted) {
      AppendTextValue(&out, field.value);
    } else {
      out.push_back('=');
      out += field.value;
    }
  }
  out.push_back('\n');
  return out;
}

std::string JsonLine(Severity severity, int v, const char* file, int line, const Status* status,
                     std::string_view message, std::initializer_list<Field> fields) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  char head[48];
  snprintf(head, sizeof head,
           "{\"ts\":%lld.%06ld,\"caller\":", static_cast<long long>(now.tv_sec) * 1000 + now.tv_nsec / 1000000,
           now.tv_nsec % 1000000);
  std::string out = head;
  AppendJsonString(&out, absl::StrCat(ShortPath(file), ":", line));
  out += ",\"msg\":";
  AppendJsonString(&out, message);
  // Errors carry no verbosity, as with upstream's encoder.
  if (severity != Severity::kError) absl::StrAppend(&out, ",\"v\":", v);
  for (const Field& field : fields) {
    out.push_back(',');
    AppendJsonString(&out, field.key);
    out.push_back(':');
    // JSON has no inf and nan; those go out as text.
    if (field.quoted || field.value.find_first_of("iI") != std::string::npos || field.value.ends_with("nan")) {
      AppendJsonString(&out, field.value);
    } else {
      out += field.value;
    }
  }
  if (status != nullptr && !status->ok()) {
    out += ",\"err\":";
    AppendJsonString(&out, status->message());
  }
  out += "}\n";
  return out;
}

}  // namespace

void SetVerbosity(int v) { g_verbosity.store(v, std::memory_order_relaxed); }
int Verbosity() { return g_verbosity.load(std::memory_order_relaxed); }
void SetFormat(Format format) { g_format.store(format, std::memory_order_relaxed); }
void SetSink(void (*sink)(std::string_view line)) { g_sink.store(sink); }

void Write(Severity severity, int v, const char* file, int line, const Status* status, std::string_view message,
           std::initializer_list<Field> fields) {
  const int saved_errno = errno;
  const std::string text = g_format.load(std::memory_order_relaxed) == Format::kText
                               ? TextLine(severity, file, line, status, message, fields)
                               : JsonLine(severity, v, file, line, status, message, fields);
  if (auto* sink = g_sink.load()) {
    sink(text);
  } else {
    // One write a line, so that lines of several threads and processes do not mix. A line that cannot be written is
    // lost: a log must not stop the program.
    std::string_view rest = text;
    while (!rest.empty()) {
      const ssize_t n = write(STDERR_FILENO, rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      rest.remove_prefix(static_cast<size_t>(n));
    }
  }
  errno = saved_errno;
}

}  // namespace skiff::log
