// Bearer tokens of anybody, and claims in a token that our own key signed (another API server's, of another version).
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/fuzz_dir.h"
#include "base/tls.h"
#include "controlplane/apiserver/allocators.h"
#include "controlplane/apiserver/service_account_tokens.h"
#include "controlplane/storage/sqlite_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff;
  using namespace skiff::controlplane;
  static const std::string* const key = new std::string(*GenerateKey(/*rsa2048=*/false));
  static const auto* const tokens =
      new ServiceAccountTokens(*ServiceAccountTokens::Make("https://issuer", {}, *key, {}));
  static auto* const loop = new asio::io_context;
  static const Store* const store = [] {
    SqliteStoreOptions options;
    options.path = MakeFuzzDir() + "/store.db";
    auto opened = SqliteStore::Open(*loop, options);
    if (!opened.ok()) abort();
    return opened->release();
  }();
  static Allocators allocators{*AddressAllocator::Make("10.96.0.0/16"), PortAllocator(30000, 32767)};
  static const auto* const kinds = new Kinds(&allocators);
  static const auto* const objects = new Admission(*store, *kinds);

  const std::string text(reinterpret_cast<const char*>(data), size);
  const WallTime now{std::chrono::seconds(1700000000)};
  (void)tokens->IsOurs(text);
  (void)tokens->Verify(text, {}, *objects, now).ok();
  const std::string input = Base64UrlEncode(R"({"alg":"ES256"})") + "." + Base64UrlEncode(text);
  (void)tokens->Verify(input + "." + Base64UrlEncode(*SignJws(*key, input)), {}, *objects, now).ok();
  return 0;
}
