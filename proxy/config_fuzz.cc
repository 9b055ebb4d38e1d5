// A configuration file and addresses of any content: an error or a configuration, never more.
#include "proxy/address.h"
#include "proxy/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::proxy;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Config config;
  if (config.Read(text).ok()) {
    config.Complete();
    (void)config.Validate();
    (void)config.ToJson();
  }
  if (auto address = ParseAddress(text); address && ParseAddress(FormatAddress(*address)) != address) abort();
  if (auto prefix = ParsePrefix(text); prefix && !prefix->Contains(prefix->base)) abort();
  return 0;
}
