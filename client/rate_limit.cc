#include "client/rate_limit.h"

#include <algorithm>
#include <random>

namespace skiff::client {

TokenBucket::TokenBucket(double qps, int burst, Clock& clock)
    : qps_(qps), burst_(std::max(burst, 1)), clock_(clock), tokens_(burst_), last_(clock.Steady()) {}

void TokenBucket::Refill() {
  const SteadyTime now = clock_.Steady();
  tokens_ = std::min(burst_, tokens_ + std::chrono::duration<double>(now - last_).count() * qps_);
  last_ = now;
}

std::chrono::nanoseconds TokenBucket::Reserve() {
  const auto wait = Wait();
  if (qps_ > 0) tokens_ -= 1;
  return wait;
}

std::chrono::nanoseconds TokenBucket::Wait() {
  if (qps_ <= 0) return std::chrono::nanoseconds(0);
  Refill();
  if (tokens_ >= 1) return std::chrono::nanoseconds(0);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>((1 - tokens_) / qps_));
}

void TokenBucket::Cancel() {
  if (qps_ > 0) tokens_ = std::min(burst_, tokens_ + 1);
}

bool TokenBucket::TryTake() {
  if (qps_ <= 0) return true;
  Refill();
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

double RandomFraction() {
  static thread_local std::minstd_rand engine(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

std::chrono::nanoseconds Jitter(std::chrono::nanoseconds base, double part) {
  return std::chrono::nanoseconds(
      static_cast<int64_t>(static_cast<double>(base.count()) * (1 + part * (2 * RandomFraction() - 1))));
}

std::chrono::nanoseconds Backoff::Next() {
  const auto out = Jitter(next_, jitter_);
  next_ = std::min(most_, std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(next_.count()) * factor_)));
  return out;
}

}  // namespace skiff::client
