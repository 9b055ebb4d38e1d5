// Our programs on network devices. They stay when this process goes, and go with the device. Where the kernel has tcx
// (Linux 6.6) they are attached by it: they run before every tc filter whoever made it, and need no qdisc, so that a
// device with somebody else's ingress qdisc (the bandwidth plugin's) works too. Elsewhere they are tc filters at the
// clsact qdisc, at a place of their own among others'. Blocking (microseconds); for the calling thread's network
// namespace.
#ifndef SKIFF_BPF_DEVICES_H_
#define SKIFF_BPF_DEVICES_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace skiff::bpf {

enum class Direction { kIn, kOut };  // the node's sides of a device

// Whether the kernel has tcx.
bool HasTcx();

// One of ours that is there already is replaced atomically, or by an atomic step from tc to tcx with both in between;
// others' programs and filters are left alone. kFailedPrecondition where a foreign ingress qdisc is in the way. Ours
// are those that tc keeps at our place, and of tcx those whose name starts with `name` and that use a map of ours.
// `tcx`: false for kernels without it, and for tests.
Status AttachProgram(int ifindex, Direction direction, int program_fd, const std::string& name, bool tcx = HasTcx());
// Removes ours, and the clsact qdisc if it is empty then. OK if there is none.
Status DetachProgram(int ifindex, Direction direction, const std::string& name);
// The names of ours there: by tcx, then by tc.
std::vector<std::string> AttachedPrograms(int ifindex, Direction direction, const std::string& name);

// A program at a device's driver (XDP, native mode). One of ours, whose name starts with `name`, is replaced
// atomically. kAlreadyExists where another's program is; the driver's errno where it has no native mode.
Status AttachXdp(int ifindex, int program_fd, const std::string& name);
// Removes ours. OK if there is none.
Status DetachXdp(int ifindex, const std::string& name);

}  // namespace skiff::bpf

#endif  // SKIFF_BPF_DEVICES_H_
