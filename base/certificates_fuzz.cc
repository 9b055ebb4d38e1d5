// PEM text of certificates and keys, as clients, files and secrets bring it; and signatures.
#include <cstdint>
#include <string>

#include "base/tls.h"

namespace {

void Read(const std::string& text) {
  (void)skiff::ReadCertificate(text).ok();
  (void)skiff::PublicKeyOf(text).ok();
  (void)skiff::VerifyJws(text, "a.b", text.substr(0, 64)).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Read(text);
  (void)skiff::TlsServerConfig::Make({text, text}, text).ok();
  // Also as what stands inside, which mutations would hardly reach through base64.
  for (const char* label : {"CERTIFICATE", "PRIVATE KEY", "PUBLIC KEY"}) {
    Read(std::string("-----BEGIN ") + label + "-----\n" + skiff::Base64Encode(text) + "\n-----END " + label +
         "-----\n");
  }
  return 0;
}
