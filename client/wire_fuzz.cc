// What an API server, or somebody in its place, may answer: objects, lists, watch frames and errors in both forms. The
// first byte chooses.
#include <cstdint>
#include <string_view>

#include "client/wire.h"
#include "k8s/io/api/core/v1/pod.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::client;
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool protobuf = (data[0] & 1) != 0;
  const std::string_view type = protobuf ? "application/vnd.kubernetes.protobuf" : "application/json";
  k8s::io::api::core::v1::Pod pod;
  switch (data[0] >> 1 & 3) {
    case 0: (void)DecodeObject(type, body, &pod); break;
    case 1: (void)DecodeList(type, body, pod, [](std::shared_ptr<Message>) {}); break;
    case 2: (void)DecodeWatchEvent(protobuf, body, pod); break;
    case 3: (void)DecodeError(400 + data[0] % 199, type, body, "GET", std::string(body.substr(0, 20))); break;
  }
  return 0;
}
