#include "bpf/log_scope.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace skiff::bpf {

namespace {

constexpr size_t kMaxLog = 64 * 1024;
thread_local std::string* log_sink = nullptr;

int KeepLog(enum libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || log_sink == nullptr) return 0;
  char line[4096];
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(line, sizeof(line), format, args);
  if (n >= static_cast<int>(sizeof(line))) {
    // A verifier log comes as one long message; its end is where the reason stands.
    std::string whole(static_cast<size_t>(n) + 1, '\0');
    vsnprintf(whole.data(), whole.size(), format, again);
    whole.pop_back();
    log_sink->append(whole);
  } else if (n > 0) {
    log_sink->append(line, static_cast<size_t>(n));
  }
  va_end(again);
  if (log_sink->size() > kMaxLog) log_sink->erase(0, log_sink->size() - kMaxLog);
  return n;
}

}  // namespace

LogScope::LogScope() {
  static const auto before = libbpf_set_print(KeepLog);
  (void)before;
  log_sink = &log_;
}

LogScope::~LogScope() { log_sink = nullptr; }

Status LogScope::Error(int err, std::string_view what) const {
  std::string context(what);
  if (!log_.empty()) absl::StrAppend(&context, " (", log_, ")");
  return ErrnoStatus(-err, context);
}

}  // namespace skiff::bpf
