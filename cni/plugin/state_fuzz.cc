// What a crash, another version or a full disk may leave in the address files: an error, or addresses that are free.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/fuzz_dir.h"
#include "cni/plugin/ipam.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::cni;
  const std::string text(reinterpret_cast<const char*>(data), size);
  static const auto* const dir = new std::string(skiff::MakeFuzzDir());
  {
    const Attachment attachment{"c", "eth0"};
    auto ipam = Ipam::Open(*dir, "net", "boot");
    if (!ipam.ok()) abort();
    skiff::WriteFuzzFile(*dir + "/net/10.1.0.2", text);
    skiff::WriteFuzzFile(*dir + "/net/last.v4", text);
    (void)ipam->HostPorts().ok();
    (void)ipam->Unlisted({attachment}).ok();
    if (const auto ip = ipam->Allocate(*Prefix::Parse("10.1.0.0/29"), attachment); ip.ok()) {
      const auto found = ipam->Find(attachment);
      if (!found.ok() || found->size() != 1 || found->front().ip != *ip) abort();
    }
  }
  if (!skiff::RemoveAll(*dir + "/net").ok()) abort();
  return 0;
}
