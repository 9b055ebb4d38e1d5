// WithTimeout and Wakeup::WaitFor (async.h) on a Clock instead of real time. Loop only.
#ifndef SKIFF_BASE_TIMED_WAIT_H_
#define SKIFF_BASE_TIMED_WAIT_H_

#include <string_view>

#include "base/clock.h"

namespace skiff {

Task<Status> WithTimeout(Clock& clock, std::chrono::nanoseconds limit, std::string_view what, Task<Status> task);
Task<Status> WaitFor(Clock& clock, Wakeup& wakeup, std::chrono::nanoseconds timeout);

}  // namespace skiff

#endif  // SKIFF_BASE_TIMED_WAIT_H_
