#include "proxy/conntrack_settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/log.h"

namespace skiff::proxy {

namespace {

constexpr int64_t kMostEntries = 1048576;

StatusOr<int64_t> ReadNumber(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  int64_t value = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &value)) return InvalidArgument(path, ": not a number");
  return value;
}

}  // namespace

std::map<std::string, int64_t> ConntrackSysctls(const Config::Conntrack& config, int cores) {
  std::map<std::string, int64_t> out;
  if (config.max_per_core > 0) {
    int64_t scaled = int64_t{config.max_per_core} * cores;
    out["nf_conntrack_max"] = scaled > kMostEntries ? kMostEntries : std::max<int64_t>(scaled, config.min);
  }
  auto seconds = [&](const char* name, Config::Duration value) {
    if (value.count() > 0) out[name] = std::chrono::duration_cast<std::chrono::seconds>(value).count();
  };
  seconds("nf_conntrack_tcp_timeout_established", config.tcp_established);
  seconds("nf_conntrack_tcp_timeout_close_wait", config.tcp_close_wait);
  if (config.tcp_be_liberal) out["nf_conntrack_tcp_be_liberal"] = 1;
  seconds("nf_conntrack_udp_timeout", config.udp);
  seconds("nf_conntrack_udp_timeout_stream", config.udp_stream);
  return out;
}

void ApplyConntrackSysctls(const std::map<std::string, int64_t>& sysctls, const std::string& root) {
  for (const auto& [name, value] : sysctls) {
    std::string path = JoinPath(root, name);
    auto now = ReadNumber(path);
    if (now.ok() && *now == value) continue;
    Status status = now.status();
    if (status.ok()) {
      std::string text = absl::StrCat(value);
      Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (!fd.valid() || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        status = ErrnoStatus(errno, absl::StrCat("write ", path));
      }
    }
    if (status.ok()) {
      LOG_INFO("Set sysctl", {"entry", absl::StrCat("net/netfilter/", name)}, {"value", value});
    } else {
      LOG_WARNING("Could not set conntrack parameter", {"entry", name}, {"value", value}, {"err", status});
    }
  }
}

StatusOr<ConntrackFill> ReadConntrackFill(const std::string& root) {
  ConntrackFill out;
  ASSIGN_OR_RETURN(out.entries, ReadNumber(JoinPath(root, "nf_conntrack_count")));
  ASSIGN_OR_RETURN(out.limit, ReadNumber(JoinPath(root, "nf_conntrack_max")));
  return out;
}

}  // namespace skiff::proxy
