// Tells of processes that the kernel killed because the machine as a whole had no memory left, from the kernel's log:
// upstream's SystemOOM events. (What dies at a container's own limit shows as OOMKilled in its status.) Loop only.
#ifndef SKIFF_KUBELET_NODE_OOM_WATCHER_H_
#define SKIFF_KUBELET_NODE_OOM_WATCHER_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/async.h"

namespace skiff::kubelet {

struct OomKill {
  std::string cgroup = "/";  // whose limit it was; "/" for the machine
  std::string process;       // "" where the log does not say
  int64_t pid = 0;
};

// Puts the lines of one kill together. Pure.
class OomParser {
 public:
  // A line of the kernel's log, without its prefix. The kill that this line completes.
  std::optional<OomKill> Feed(std::string_view line);

 private:
  std::optional<OomKill> open_;  // began, not complete
};

// "System OOM encountered, victim process: stress, pid: 17".
std::string SystemOomMessage(const OomKill& kill);

// Follows the log from now on, until cancelled. An error: it cannot be read here.
Task<Status> WatchSystemOoms(std::function<void(const OomKill&)> on_kill, std::string log = "/dev/kmsg");

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_OOM_WATCHER_H_
