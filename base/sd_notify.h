// What a service tells systemd (sd_notify(3)): that it is ready, and that it lives. Any thread.
#ifndef SKIFF_BASE_SD_NOTIFY_H_
#define SKIFF_BASE_SD_NOTIFY_H_

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/async.h"
#include "base/clock.h"

namespace skiff {

// Sends "READY=1" or the like to NOTIFY_SOCKET; false where nobody asked for it.
StatusOr<bool> SdNotify(std::string_view state);

// WATCHDOG_USEC, where it is meant for this process (WATCHDOG_PID); 0: systemd does not watch.
StatusOr<std::chrono::microseconds> SdWatchdogTimeout();

// Sends WATCHDOG=1 every `interval`, at once first, while `unhealthy` says nothing; until cancelled.
Task<void> FeedSdWatchdog(std::chrono::nanoseconds interval, std::function<std::string()> unhealthy, Clock& clock);

}  // namespace skiff

#endif  // SKIFF_BASE_SD_NOTIFY_H_
