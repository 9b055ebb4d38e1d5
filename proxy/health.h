// Whether the proxy keeps up, as its health check server says it (upstream's proxy health, port 10256): unhealthy when
// a change has waited for more than the time-out. Loop thread only.
#ifndef SKIFF_PROXY_HEALTH_H_
#define SKIFF_PROXY_HEALTH_H_

#include <optional>
#include <string>

#include "base/clock.h"

namespace skiff::proxy {

class Health {
 public:
  // Upstream's time-out: twice the sync period of 30 s.
  explicit Health(Clock& clock, std::chrono::nanoseconds timeout = std::chrono::seconds(60))
      : clock_(clock), timeout_(timeout) {}

  void Queued();   // a change came
  void Updated();  // all changes are in the kernel
  void SetNode(bool exists, bool eligible) { node_eligible_ = exists && eligible; }

  struct Answer {
    int status = 200;
    std::string body;
  };
  Answer Healthz() const { return Say(true); }
  Answer Livez() const { return Say(false); }
  bool healthy() const;

 private:
  Answer Say(bool with_node) const;

  Clock& clock_;
  std::chrono::nanoseconds timeout_;
  std::optional<SteadyTime> pending_since_;
  std::optional<WallTime> updated_;
  bool node_eligible_ = false;
};

// "2026-11-21T05:14:32.663798483Z", as Go prints times in JSON; the zero time is "0001-01-01T00:00:00Z".
std::string Rfc3339Nano(WallTime time);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_HEALTH_H_
