// Any bytes as a protobuf body: no crash, and what decodes can be normalized and encoded.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/codec.h"
#include "k8s/io/api/core/v1/pod.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  k8s::io::api::core::v1::Pod pod;
  skiff::api::GroupVersionKind gvk;
  if (!skiff::api::FromProtobuf(bytes, &pod, &gvk).ok()) return 0;
  const std::string json = skiff::api::ToJson(pod);
  skiff::api::Normalize(&pod);
  if (skiff::api::ToJson(pod) != json) std::abort();
  return 0;
}
