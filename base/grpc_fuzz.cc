// The pieces of gRPC's framing: a runtime's bytes, cut at every place the input asks for.
#include "base/grpc_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  skiff::GrpcMessageReader reader(1 << 10);
  const size_t step = data[0] % 17 + 1;
  for (size_t i = 0; i < bytes.size(); i += step) {
    if (!reader.Feed(bytes.substr(i, step)).ok()) break;
    while (reader.HasMessage()) {
      if (reader.TakeMessage().size() > (1 << 10)) __builtin_trap();
    }
  }
  const std::string decoded = skiff::PercentDecodeGrpc(bytes);
  if (decoded.size() > bytes.size()) __builtin_trap();
  (void)skiff::GrpcStatusOfTrailers(bytes.substr(0, 3), bytes);
  return 0;
}
