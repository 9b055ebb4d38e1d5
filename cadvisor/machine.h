// The machine itself: processors, memory, identity, block and network devices. From /proc/cpuinfo, /proc/meminfo,
// /sys/devices/system, /sys/class/dmi. Blocking.
#ifndef SKIFF_CADVISOR_MACHINE_H_
#define SKIFF_CADVISOR_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cadvisor/host.h"

namespace skiff::cadvisor {

struct HugePages {
  uint64_t page_size_kb = 0, count = 0;
};

struct NumaNode {
  int id = 0;
  uint64_t memory = 0;  // bytes
  std::vector<HugePages> huge_pages;
  struct Core {
    int id = 0, socket = 0;
    std::vector<int> threads;  // logical processors
  };
  std::vector<Core> cores;
};

struct BlockDevice {
  std::string name;  // "vda"
  uint32_t major = 0, minor = 0;
  uint64_t size = 0;  // bytes
  std::string scheduler;
};

struct NetworkDevice {
  std::string name, mac;
  int64_t mtu = 0, speed_mbit = 0;
};

struct MachineInfo {
  int cores = 0, physical_cores = 0, sockets = 0;  // cores: logical processors that are online
  std::string cpu_vendor;
  uint64_t cpu_khz = 0;
  uint64_t memory = 0, swap = 0;  // bytes
  std::vector<HugePages> huge_pages;
  std::vector<NumaNode> nodes;  // at least one
  std::string machine_id, system_uuid, boot_id;
  std::string kernel_version, os_image;  // "6.1.0-18-amd64", "Debian GNU/Linux 12 (bookworm)"
  std::vector<BlockDevice> block_devices;
  std::vector<NetworkDevice> network_devices;
};

// Identity, devices and topology that cannot be read are left out; memory that cannot be read is an error.
StatusOr<MachineInfo> ReadMachine(const Host& host);

// Figures of /proc/meminfo in bytes ("MemAvailable"), 0 where absent; an error for a malformed file.
StatusOr<uint64_t> ReadMeminfo(const Host& host, std::string_view field);

// When the machine was started (/proc/stat btime), seconds since the epoch.
StatusOr<int64_t> ReadBootTime(const Host& host);

// Tasks on the machine now and the most there may be (for node rlimit figures): /proc/loadavg, threads-max, pid_max.
struct TaskCounts {
  int64_t running = 0, max = 0;
};
StatusOr<TaskCounts> ReadTaskCounts(const Host& host);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_MACHINE_H_
