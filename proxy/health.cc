#include "proxy/health.h"

#include <cstdio>
#include <ctime>

#include "absl/strings/str_cat.h"

namespace skiff::proxy {

std::string Rfc3339Nano(WallTime time) {
  auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  auto seconds = static_cast<time_t>(ns / 1000000000);
  tm parts;
  gmtime_r(&seconds, &parts);
  char buffer[40];
  size_t n = strftime(buffer, sizeof(buffer), "%Y-%m-%dT%H:%M:%S", &parts);
  if (auto fraction = static_cast<int>(ns % 1000000000); fraction != 0) {
    n += static_cast<size_t>(snprintf(buffer + n, sizeof(buffer) - n, ".%09d", fraction));
    while (buffer[n - 1] == '0') n--;
  }
  buffer[n++] = 'Z';
  return std::string(buffer, n);
}

void Health::Queued() {
  if (!pending_since_) pending_since_ = clock_.Steady();
}

void Health::Updated() {
  pending_since_.reset();
  updated_ = clock_.Now();
}

bool Health::healthy() const { return !updated_ || !pending_since_ || clock_.Steady() - *pending_since_ < timeout_; }

Health::Answer Health::Say(bool with_node) const {
  bool now_healthy = healthy();
  bool good = now_healthy && (!with_node || node_eligible_);
  std::string now = Rfc3339Nano(clock_.Now());
  std::string updated = updated_ ? Rfc3339Nano(*updated_) : "0001-01-01T00:00:00Z";
  auto word = [](bool b) { return b ? "true" : "false"; };
  // One pass writes both families, so their states are the same.
  std::string family = absl::StrCat("{\"lastUpdated\":\"", updated, "\",\"healthy\":", word(now_healthy), "}");
  Answer out;
  out.status = good ? 200 : 503;
  out.body = absl::StrCat(
      "{\"lastUpdated\":\"", good ? now : updated, "\",\"currentTime\":\"", now, "\"",
      with_node ? absl::StrCat(",\"nodeEligible\":", word(node_eligible_)) : "", ",\"healthy\":", word(now_healthy),
      updated_ ? absl::StrCat(",\"status\":{\"IPv4\":", family, ",\"IPv6\":", family, "}") : "", "}");
  return out;
}

}  // namespace skiff::proxy
