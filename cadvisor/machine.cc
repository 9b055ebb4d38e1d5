#include "cadvisor/machine.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

// A short file below /sys or /proc, trimmed; "" where it cannot be read.
std::string Line(const Dir& dir, const std::string& file) {
  const StatusOr<std::string> text = dir.Read(file, 1 << 16);
  return text.ok() ? std::string(Trim(*text)) : "";
}

template <typename T>
bool NumberIn(const Dir& dir, const std::string& file, T* out) {
  return ParseNumber(std::string_view(Line(dir, file)), out);
}

// "0-3,5" as its numbers. At most `limit`: more processors than any kernel takes.
std::vector<int> ParseList(std::string_view text, size_t limit = 8192) {
  std::vector<int> numbers;
  for (absl::string_view part : absl::StrSplit(absl::string_view(text), ',', absl::SkipEmpty())) {
    const std::string_view range = part;
    const size_t dash = range.find('-');
    int first = 0, last = 0;
    if (!ParseNumber(Trim(range.substr(0, dash)), &first)) return {};
    last = first;
    if (dash != std::string_view::npos && !ParseNumber(Trim(range.substr(dash + 1)), &last)) return {};
    for (int i = first; i <= last && numbers.size() < limit; i++) numbers.push_back(i);
  }
  return numbers;
}

StatusOr<std::map<std::string, uint64_t, std::less<>>> Meminfo(const Host& host) {
  std::map<std::string, uint64_t, std::less<>> fields;
  ASSIGN_OR_RETURN(const std::string text, host.proc.Read("meminfo"));
  std::string_view rest = text, line;
  while (NextLine(&rest, &line)) {
    const std::string_view whole = line;
    std::string_view key, value, unit;
    if (!NextWord(&line, &key)) continue;
    uint64_t number = 0;
    if (!key.ends_with(':') || !NextWord(&line, &value) || !ParseNumber(value, &number)) {
      return Malformed("meminfo", whole);
    }
    if (NextWord(&line, &unit) && unit == "kB") number *= 1024;
    key.remove_suffix(1);
    fields.emplace(key, number);
  }
  return fields;
}

void ReadCpuinfo(const Host& host, MachineInfo* info) {
  const StatusOr<std::string> text = host.proc.Read("cpuinfo");
  if (!text.ok()) return;
  std::set<std::string, std::less<>> cores, sockets;
  std::string_view rest = *text, line;
  while (NextLine(&rest, &line)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = Trim(line.substr(0, colon)), value = Trim(line.substr(colon + 1));
    if (key == "core id") cores.emplace(value);
    if (key == "physical id") sockets.emplace(value);
    if (key == "vendor_id" && info->cpu_vendor.empty()) info->cpu_vendor = value;
    if ((key == "cpu MHz" || key == "CPU MHz" || key == "clock") && info->cpu_khz == 0) {
      double mhz = 0;
      if (ParseNumber(value.substr(0, value.find("MHz")), &mhz) && mhz > 0) {
        info->cpu_khz = static_cast<uint64_t>(mhz * 1000);
      }
    }
  }
  info->physical_cores = static_cast<int>(cores.size());
  info->sockets = static_cast<int>(sockets.size());
  uint64_t khz = 0;
  if (NumberIn(host.sys, "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", &khz)) info->cpu_khz = khz;
}

std::vector<HugePages> ReadHugePages(const Dir& sys, const std::string& directory) {
  std::vector<HugePages> all;
  const StatusOr<std::vector<std::string>> names = sys.List(directory);
  if (!names.ok()) return all;
  for (const std::string& name : *names) {  // "hugepages-2048kB"
    HugePages pages;
    std::string_view size = name;
    if (!size.starts_with("hugepages-") || !size.ends_with("kB")) continue;
    size = size.substr(10, size.size() - 12);
    if (!ParseNumber(size, &pages.page_size_kb)) continue;
    if (!NumberIn(sys, absl::StrCat(directory, "/", name, "/nr_hugepages"), &pages.count)) continue;
    all.push_back(pages);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.page_size_kb < b.page_size_kb; });
  return all;
}

void AddProcessor(const Host& host, int cpu, NumaNode* node) {
  const std::string topology = absl::StrCat("devices/system/cpu/cpu", cpu, "/topology/");
  int core = cpu, socket = 0;
  NumberIn(host.sys, topology + "core_id", &core);
  NumberIn(host.sys, topology + "physical_package_id", &socket);
  for (NumaNode::Core& existing : node->cores) {
    if (existing.id == core && existing.socket == socket) {
      existing.threads.push_back(cpu);
      return;
    }
  }
  node->cores.push_back({.id = core, .socket = socket, .threads = {cpu}});
}

void ReadTopology(const Host& host, MachineInfo* info) {
  std::vector<int> online = ParseList(Line(host.sys, "devices/system/cpu/online"));
  const std::vector<int> node_ids = ParseList(Line(host.sys, "devices/system/node/online"));
  std::set<int> placed;
  for (const int id : node_ids) {
    const std::string directory = absl::StrCat("devices/system/node/node", id);
    NumaNode node{.id = id, .memory = 0, .huge_pages = {}, .cores = {}};
    // "Node 0 MemTotal:  24684000 kB"
    const StatusOr<std::string> meminfo = host.sys.Read(directory + "/meminfo");
    if (!meminfo.ok()) continue;
    const size_t at = meminfo->find("MemTotal:");
    if (at != std::string::npos) {
      std::string_view line = std::string_view(*meminfo).substr(at + 9), word;
      uint64_t kb = 0;
      if (NextWord(&line, &word) && ParseNumber(word, &kb)) node.memory = kb * 1024;
    }
    node.huge_pages = ReadHugePages(host.sys, directory + "/hugepages");
    for (const int cpu : ParseList(Line(host.sys, directory + "/cpulist"))) {
      if (!online.empty() && std::find(online.begin(), online.end(), cpu) == online.end()) continue;
      if (placed.insert(cpu).second) AddProcessor(host, cpu, &node);
    }
    info->nodes.push_back(std::move(node));
  }
  if (info->nodes.empty()) {
    // No NUMA in this kernel: everything is node 0.
    NumaNode node{.id = 0, .memory = info->memory, .huge_pages = info->huge_pages, .cores = {}};
    for (const int cpu : online) {
      placed.insert(cpu);
      AddProcessor(host, cpu, &node);
    }
    info->nodes.push_back(std::move(node));
  }
  info->cores = static_cast<int>(placed.empty() ? online.size() : placed.size());
  if (info->cores == 0) {
    // Neither topology nor list: count the processors of /proc/stat.
    const StatusOr<std::string> stat = host.proc.Read("stat");
    std::string_view rest = stat.ok() ? std::string_view(*stat) : std::string_view(), line;
    while (NextLine(&rest, &line)) {
      if (line.starts_with("cpu") && line.size() > 3 && line[3] >= '0' && line[3] <= '9') info->cores++;
    }
  }
  std::set<int> cores, sockets;
  for (const NumaNode& node : info->nodes) {
    for (const NumaNode::Core& core : node.cores) {
      cores.insert(core.id);
      sockets.insert(core.socket);
    }
  }
  // Not every architecture tells these in cpuinfo.
  if (info->physical_cores == 0) info->physical_cores = static_cast<int>(cores.size());
  if (info->sockets == 0) info->sockets = static_cast<int>(sockets.size());
}

void ReadBlockDevices(const Host& host, std::vector<BlockDevice>* devices) {
  const StatusOr<std::vector<std::string>> names = host.sys.List("block");
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with("loop") || name.starts_with("ram") || name.starts_with("sr")) continue;
    const StatusOr<Dir> dir = host.sys.FollowDir("block/" + name);
    if (!dir.ok() || Line(*dir, "hidden") == "1") continue;
    BlockDevice device{.name = name, .major = 0, .minor = 0, .size = 0, .scheduler = "none"};
    const std::string numbers = Line(*dir, "dev");
    const size_t colon = numbers.find(':');
    if (colon == std::string::npos || !ParseNumber(std::string_view(numbers).substr(0, colon), &device.major) ||
        !ParseNumber(std::string_view(numbers).substr(colon + 1), &device.minor)) {
      continue;
    }
    uint64_t sectors = 0;
    if (NumberIn(*dir, "size", &sectors)) device.size = sectors * 512;
    const std::string scheduler = Line(*dir, "queue/scheduler");  // "mq-deadline [none]"
    const size_t open = scheduler.find('['), close = scheduler.find(']');
    if (open != std::string::npos && close != std::string::npos && open < close) {
      device.scheduler = scheduler.substr(open + 1, close - open - 1);
    }
    devices->push_back(std::move(device));
  }
}

void ReadNetworkDevices(const Host& host, std::vector<NetworkDevice>* devices) {
  const StatusOr<std::vector<std::string>> names = host.sys.List("class/net");
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with("lo") || name.starts_with("veth") || name.starts_with("docker") ||
        name.starts_with("nerdctl")) {
      continue;
    }
    const StatusOr<Dir> dir = host.sys.FollowDir("class/net/" + name);
    if (!dir.ok()) continue;  // bonding_masters is a file
    NetworkDevice device{.name = name, .mac = Line(*dir, "address"), .mtu = 0, .speed_mbit = 0};
    NumberIn(*dir, "mtu", &device.mtu);
    NumberIn(*dir, "speed", &device.speed_mbit);
    devices->push_back(std::move(device));
  }
}

// PRETTY_NAME of os-release, quotes removed. /etc/os-release is often a symlink, so it is opened within the root.
std::string OsImage(const Host& host) {
  for (const auto& [directory, file] : {std::pair("etc", "os-release"), std::pair("usr/lib", "os-release")}) {
    const StatusOr<Dir> dir = host.root.FollowDir(directory);
    const StatusOr<std::string> text = dir.ok() ? dir->Read(file, 1 << 16) : dir.status();
    if (!text.ok()) continue;
    std::string_view rest = *text, line;
    while (NextLine(&rest, &line)) {
      if (!line.starts_with("PRETTY_NAME=")) continue;
      std::string_view value = Trim(line.substr(12));
      if (value.size() >= 2 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0]) {
        value = value.substr(1, value.size() - 2);
      }
      return std::string(value);
    }
  }
  return "Linux";
}

// A file below the root whose directory may be a symlink.
std::string RootLine(const Host& host, const std::string& directory, const std::string& file) {
  const StatusOr<Dir> dir = host.root.FollowDir(directory);
  return dir.ok() ? Line(*dir, file) : "";
}

void ReadIdentity(const Host& host, MachineInfo* info) {
  info->machine_id = RootLine(host, "etc", "machine-id");
  if (info->machine_id.empty()) info->machine_id = RootLine(host, "var/lib/dbus", "machine-id");
  info->boot_id = Line(host.proc, "sys/kernel/random/boot_id");
  if (const StatusOr<Dir> dmi = host.sys.FollowDir("class/dmi/id"); dmi.ok()) {
    info->system_uuid = Line(*dmi, "product_uuid");
  }
  if (info->system_uuid.empty()) info->system_uuid = Line(host.proc, "device-tree/system-id");
  if (info->system_uuid.empty()) info->system_uuid = Line(host.proc, "device-tree/vm,uuid");
  if (info->system_uuid.empty()) info->system_uuid = info->machine_id;
  info->kernel_version = Line(host.proc, "sys/kernel/osrelease");
  info->os_image = OsImage(host);
}

}  // namespace

StatusOr<MachineInfo> ReadMachine(const Host& host) {
  MachineInfo info;
  ASSIGN_OR_RETURN(const auto meminfo, Meminfo(host));
  const auto memory = meminfo.find("MemTotal");
  if (memory == meminfo.end()) return NotFound("meminfo: no MemTotal");
  info.memory = memory->second;
  if (const auto swap = meminfo.find("SwapTotal"); swap != meminfo.end()) info.swap = swap->second;
  info.huge_pages = ReadHugePages(host.sys, "kernel/mm/hugepages");
  ReadCpuinfo(host, &info);
  ReadTopology(host, &info);
  ReadIdentity(host, &info);
  ReadBlockDevices(host, &info.block_devices);
  ReadNetworkDevices(host, &info.network_devices);
  return info;
}

StatusOr<uint64_t> ReadMeminfo(const Host& host, std::string_view field) {
  ASSIGN_OR_RETURN(const auto meminfo, Meminfo(host));
  const auto it = meminfo.find(field);
  return it == meminfo.end() ? 0 : it->second;
}

StatusOr<int64_t> ReadBootTime(const Host& host) {
  ASSIGN_OR_RETURN(const std::string text, host.proc.Read("stat"));
  std::string_view rest = text, line;
  while (NextLine(&rest, &line)) {
    if (!line.starts_with("btime ")) continue;
    int64_t seconds = 0;
    if (!ParseNumber(Trim(line.substr(6)), &seconds)) return Malformed("stat", line);
    return seconds;
  }
  return NotFound("stat: no btime");
}

StatusOr<TaskCounts> ReadTaskCounts(const Host& host) {
  TaskCounts counts;
  // Both limit: the number of threads, and the range that their ids come from.
  int64_t pid_max = 0;
  for (const auto& [file, value] :
       {std::pair("sys/kernel/pid_max", &pid_max), std::pair("sys/kernel/threads-max", &counts.max)}) {
    ASSIGN_OR_RETURN(const std::string text, host.proc.Read(file));
    if (!ParseNumber(Trim(text), value)) return Malformed(file, text);
  }
  counts.max = std::min(counts.max, pid_max);
  ASSIGN_OR_RETURN(const std::string load, host.proc.Read("loadavg"));  // "0.00 0.01 0.05 1/336 12345"
  std::string_view line = load, word;
  for (int i = 0; i < 4; i++) {
    if (!NextWord(&line, &word)) return Malformed("loadavg", load);
  }
  const size_t slash = word.find('/');
  if (slash == std::string_view::npos || !ParseNumber(word.substr(slash + 1), &counts.running)) {
    return Malformed("loadavg", load);
  }
  return counts;
}

}  // namespace skiff::cadvisor
