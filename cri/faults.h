// What may go wrong between a kubelet and its runtime, drawn from a seed so that a run can be had again: a call fails
// before it takes effect, takes effect and loses its answer, takes effect twice, or is late so that later ones pass it.
// Loop only. For tests.
#ifndef SKIFF_CRI_FAULTS_H_
#define SKIFF_CRI_FAULTS_H_

#include <chrono>
#include <cstdint>
#include <random>
#include <string_view>

#include "base/status.h"

namespace skiff::cri {

// Probabilities of each fault for one call.
struct FaultRates {
  double fail = 0;    // no effect, an error
  double lose = 0;    // takes effect, an error
  double twice = 0;   // takes effect twice; either answer comes back
  double delay = 0;   // on the way there, and as often on the way back
  double freeze = 0;  // the same, for up to `longest_freeze`
  std::chrono::milliseconds longest_delay{2000}, longest_freeze{0};
};

struct CallFaults {
  bool fail = false, lose = false, twice = false, second_answer = false;
  std::chrono::milliseconds before{0}, after{0};
  Status error;  // of `fail` and `lose`
};

class FaultPlan {
 public:
  FaultPlan(uint64_t seed, FaultRates rates) : random_(seed), rates_(rates) {}
  CallFaults Draw(std::string_view method);
  void SetOn(bool on) { on_ = on; }
  bool on() const { return on_; }
  uint64_t drawn() const { return drawn_; }  // calls that had a fault

 private:
  bool Chance(double p) { return std::uniform_real_distribution<double>(0, 1)(random_) < p; }
  std::chrono::milliseconds Delay();

  std::mt19937_64 random_;
  FaultRates rates_;
  bool on_ = true;
  uint64_t drawn_ = 0;
};

}  // namespace skiff::cri

#endif  // SKIFF_CRI_FAULTS_H_
