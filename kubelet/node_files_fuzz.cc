// Files and texts of the node that the kubelet reads: its own state after a crash, the resolver's, the kernel's log,
// variables from volumes, a runtime's answers about streams. The first byte chooses.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/files.h"
#include "base/fuzz_dir.h"
#include "base/go_text.h"
#include "kubelet/node/oom_watcher.h"
#include "kubelet/pod/allocations.h"
#include "kubelet/runtime/dns.h"
#include "kubelet/runtime/env_file.h"
#include "kubelet/runtime/user_namespaces.h"
#include "kubelet/server/stream.h"
#include "kubelet/server/stream_translator.h"
#include "kubelet/state/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::kubelet;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  static const auto* const dir = new std::string(skiff::MakeFuzzDir());
  switch (data[0] % 9) {
    case 0: (void)ParseResolvConf(text).ok(); break;
    case 1: (void)ParseSubIds(text).ok(); break;
    case 2: (void)ValueFromEnvFile(text, "KEY").ok(); break;
    case 3: {
      OomParser parser;
      for (size_t end; !text.empty(); text.remove_prefix(std::min(end + 1, text.size()))) {
        end = std::min(text.find('\n'), text.size());
        if (const auto kill = parser.Feed(text.substr(0, end))) (void)SystemOomMessage(*kill);
      }
      break;
    }
    case 4: (void)ParseStreamUrl(text).ok(); break;
    case 5: (void)TranslateStatus(text); break;
    case 6: {
      const std::string path = *dir + "/checkpoint";
      skiff::WriteFuzzFile(path, text);
      ResourceCheckpoint checkpoint(path);
      if (!checkpoint.Load().ok()) break;
      checkpoint.Set("uid", "c", {});
      ResourceCheckpoint again(path);
      if (!checkpoint.Save().ok() || !again.Load().ok() || again.Get("uid", "c") == nullptr) abort();
      break;
    }
    case 7: {
      // The same with a checksum that is right, so that what is inside is looked at.
      std::string file = "{\"data\":";
      skiff::AppendJsonString(&file, text);
      const std::string path = *dir + "/checkpoint";
      skiff::WriteFuzzFile(path, file + ",\"checksum\":" + std::to_string(CheckpointChecksum(text)) + "}");
      (void)ResourceCheckpoint(path).Load().ok();
      break;
    }
    default: {
      const std::string pod = layout::Pod(*dir, "uid");
      if (!skiff::MakeDirs(pod).ok()) abort();
      skiff::WriteFuzzFile(layout::UserNamespace(pod), text);
      const auto first = UserNamespaceOf(*dir, "uid", {65536, uint64_t{65536} * 100}, 65536);
      if (first.ok() && *first % 65536 != 0) abort();
    }
  }
  return 0;
}
