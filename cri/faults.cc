#include "cri/faults.h"

namespace skiff::cri {

std::chrono::milliseconds FaultPlan::Delay() {
  auto up_to = [this](std::chrono::milliseconds longest) {
    return std::chrono::milliseconds(std::uniform_int_distribution<int64_t>(0, longest.count())(random_));
  };
  if (Chance(rates_.freeze)) return up_to(rates_.longest_freeze);
  return Chance(rates_.delay) ? up_to(rates_.longest_delay) : std::chrono::milliseconds(0);
}

CallFaults FaultPlan::Draw(std::string_view method) {
  CallFaults out;
  if (!on_) return out;
  out.before = Delay();
  out.after = Delay();
  out.fail = Chance(rates_.fail);
  out.lose = !out.fail && Chance(rates_.lose);
  out.twice = !out.fail && Chance(rates_.twice);
  out.second_answer = Chance(0.5);
  switch (random_() % 4) {
    case 0: out.error = absl::UnavailableError("error reading from server: EOF"); break;
    case 1: out.error = absl::DeadlineExceededError("context deadline exceeded"); break;
    case 2: out.error = absl::CancelledError("the server was cancelled"); break;
    default: out.error = absl::UnknownError(absl::StrCat("injected fault in ", method)); break;
  }
  if (out.fail || out.lose || out.twice || out.before.count() > 0 || out.after.count() > 0) ++drawn_;
  return out;
}

}  // namespace skiff::cri
