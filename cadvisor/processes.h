// Figures of single processes. Blocking.
#ifndef SKIFF_CADVISOR_PROCESSES_H_
#define SKIFF_CADVISOR_PROCESSES_H_

#include <optional>
#include <string_view>

#include "cadvisor/host.h"

namespace skiff::cadvisor {

// Adds the open files, and those of them that are sockets, of a process. One that has ended adds nothing.
void CountDescriptors(const Host& host, pid_t pid, uint64_t* descriptors, uint64_t* sockets);

// The soft limit "Max open files" of /proc/PID/limits; -1 for unlimited, none where the process has ended.
StatusOr<std::optional<int64_t>> ReadMaxOpenFiles(const Host& host, pid_t pid);
StatusOr<std::optional<int64_t>> ParseMaxOpenFiles(std::string_view limits);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_PROCESSES_H_
