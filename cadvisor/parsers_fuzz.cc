// Every parser of a kernel file's text. The first byte chooses the file.
#include <cstdint>
#include <cstdlib>

#include "cadvisor/cgroup_dir.h"
#include "cadvisor/mounts.h"
#include "cadvisor/network.h"
#include "cadvisor/processes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::cadvisor;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<DiskIo> devices;
  switch (data[0] % 7) {
    case 0: (void)ParsePressure("pressure", text); break;
    case 1: (void)ParseBlkio("blkio", text, &DiskIo::bytes, &devices); break;
    case 2:
      if (ParseIoStat("io.stat", text, &devices).ok()) {
        for (const DiskIo& d : devices) {
          if (d.bytes.empty() && d.operations.empty() && !d.cost) std::abort();
        }
      }
      break;
    case 3:
      if (const auto interfaces = ParseNetDev(text); interfaces.ok()) {
        for (const InterfaceStats& i : *interfaces) {
          if (i.name == "lo") std::abort();
        }
      }
      break;
    case 4:
      if (const auto mounts = ParseMountinfo(text); mounts.ok()) {
        for (const Mount& m : *mounts) {
          if (m.mountpoint.empty() || m.mountpoint[0] != '/') std::abort();
        }
      }
      break;
    case 5: (void)ParseDiskstats(text); break;
    case 6: (void)ParseMaxOpenFiles(text); break;
  }
  return 0;
}
