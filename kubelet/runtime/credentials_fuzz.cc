// What credentials come in: pull secrets in both forms, plugins' answers and their configuration; and names of images.
// The first byte chooses.
#include <cstdint>
#include <string>

#include "base/fuzz_dir.h"
#include "kubelet/runtime/credential_plugins.h"
#include "kubelet/runtime/keyring.h"
#include "kubelet/runtime/pull_records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::kubelet;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Keyring keyring;
  switch (data[0] % 5) {
    case 0: (void)AddSecret(&keyring, "kubernetes.io/dockerconfigjson", {{".dockerconfigjson", text}}, {}).ok(); break;
    case 1: (void)AddSecret(&keyring, "kubernetes.io/dockercfg", {{".dockercfg", text}}, {}).ok(); break;
    case 2: (void)ParseCredentialAnswer(text, "credentialprovider.kubelet.k8s.io/v1").ok(); break;
    case 3: {
      static const auto* const path = new std::string(skiff::MakeFuzzDir() + "/config.yaml");
      skiff::WriteFuzzFile(*path, text);
      (void)ReadCredentialProviders(*path).ok();
      break;
    }
    default: {
      const std::string pattern = text.substr(0, text.find('\n'));
      const std::string image = text.substr(std::min(pattern.size() + 1, text.size()));
      (void)ImageMatches(pattern, RepositoryOf(image));
      (void)WithoutTag(image);
      (void)CheckAllowlistPattern(pattern).ok();
      keyring.Add(pattern, "u", "p", "", {});
      (void)keyring.Lookup(RepositoryOf(image));
    }
  }
  (void)keyring.Lookup("registry.example/a/b");
  return 0;
}
