// A token bucket: `qps` tokens a second, at most `burst` saved up. Takers are served in the order of asking. Loop
// thread only.
#ifndef SKIFF_CLIENT_RATE_LIMIT_H_
#define SKIFF_CLIENT_RATE_LIMIT_H_

#include "base/clock.h"

namespace skiff::client {

class TokenBucket {
 public:
  // qps <= 0: unlimited.
  TokenBucket(double qps, int burst, Clock& clock);
  // Takes one token, now or later; returns how long the taker has to wait for it.
  std::chrono::nanoseconds Reserve();
  // What Reserve would return.
  std::chrono::nanoseconds Wait();
  // Gives a token back for which its taker did not wait. Who came after it waits no shorter for that.
  void Cancel();
  // Takes one only if there is one.
  bool TryTake();

 private:
  void Refill();
  const double qps_;
  const double burst_;
  Clock& clock_;
  double tokens_;  // negative: reserved ahead
  SteadyTime last_;
};

// `base` +- up to `part` of itself.
std::chrono::nanoseconds Jitter(std::chrono::nanoseconds base, double part);
// In [0, 1).
double RandomFraction();

// Exponential waiting times with jitter, starting again after a success.
class Backoff {
 public:
  Backoff(std::chrono::nanoseconds first, std::chrono::nanoseconds most, double factor = 2, double jitter = 0.25)
      : first_(first), most_(most), factor_(factor), jitter_(jitter), next_(first) {}
  std::chrono::nanoseconds Next();
  void Reset() { next_ = first_; }

 private:
  std::chrono::nanoseconds first_, most_;
  double factor_, jitter_;
  std::chrono::nanoseconds next_;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_RATE_LIMIT_H_
