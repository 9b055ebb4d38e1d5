// Whatever a Service and an EndpointSlice hold (the API server is trusted with much, not with our memory): digests, the
// model and the reconciler stay well-formed, and the maps never lead to a dead slot.
#include <cstdlib>

#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/reconcile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::proxy;
  if (size < 2) return 0;
  size_t middle = size * data[0] / 256;
  k8s::io::api::core::v1::Service service;
  k8s::io::api::discovery::v1::EndpointSlice slice;
  if (!service.ParsePartialFromArray(data + 1, static_cast<int>(middle > 0 ? middle - 1 : 0))) return 0;
  if (!slice.ParsePartialFromArray(data + std::max<size_t>(middle, 1),
                                   static_cast<int>(size - std::max<size_t>(middle, 1)))) {
    return 0;
  }
  auto digest = Digest(service);
  if (!digest) return 0;
  auto ends = Digest(slice, "n1");
  const SliceDigest* pointer = ends ? &*ends : nullptr;
  auto model = Build(*digest, {&pointer, pointer != nullptr ? 1u : 0u}, {"n1", "zone"});
  FakeBpfMaps maps;
  Reconciler reconciler(maps);
  if (!reconciler.ApplyAll({{"ns/a", model}}).ok()) abort();
  for (bool outside : {false, true}) {
    for (const std::string& line : maps.ShowAll(outside)) {
      if (line.find("BROKEN") != std::string::npos) abort();
    }
  }
  if (!reconciler.Apply({{"ns/a", std::nullopt}}).ok()) abort();
  if (!maps.frontends.empty() || !maps.backends.empty() || !maps.ranges.empty()) abort();
  return 0;
}
