// A static pod's manifest, from a file and from a URL: what is read has a mirror that shows it.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kubelet/pod/static_pods.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::kubelet;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool file : {true, false}) {
    const auto pods = ParseManifest(text, {file, file ? "/etc/a.yaml" : "http://a/b", "n1"});
    if (!pods.ok()) continue;
    for (const Pod& pod : *pods) {
      (void)ApiObjectReference(pod);
      if (!IsMirrorOf(MirrorOf(pod, "n1", "uid"), pod)) std::abort();
    }
  }
  return 0;
}
