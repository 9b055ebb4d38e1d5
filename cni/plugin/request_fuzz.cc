// The plugin's outside bytes: network configurations.
#include "cni/plugin/request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto env = [](const char* name) -> const char* {
    const std::string_view key(name);
    return key == "CNI_COMMAND" ? "ADD" : key == "CNI_IFNAME" ? "eth0" : "x";
  };
  (void)skiff::cni::ParseRequest(env, {reinterpret_cast<const char*>(data), size});
  return 0;
}
