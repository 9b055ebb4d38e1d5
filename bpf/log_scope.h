// What libbpf says on this thread while something is done with it: kept for the error, not printed. Internal to bpf/;
// one at a time on a thread.
#ifndef SKIFF_BPF_LOG_SCOPE_H_
#define SKIFF_BPF_LOG_SCOPE_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::bpf {

class LogScope {
 public:
  LogScope();
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;
  // `err` as libbpf returns it: -errno.
  Status Error(int err, std::string_view what) const;

 private:
  std::string log_;
};

}  // namespace skiff::bpf

#endif  // SKIFF_BPF_LOG_SCOPE_H_
