// A whole machine's files, as the readers find them. The input is a list of files: a line "=PATH", then the text up to
// the next such line.
#include <cstdint>
#include <string>
#include <string_view>

#include "cadvisor/fake_tree.h"
#include "cadvisor/filesystem.h"
#include "cadvisor/machine.h"
#include "cadvisor/network.h"
#include "cadvisor/processes.h"

namespace {

// Paths that stay below the root and fit into a directory.
bool Usable(std::string_view path) {
  if (path.empty() || path.size() > 200 || path.find("..") != std::string_view::npos) return false;
  if (path.front() == '/' || path.back() == '/') return false;
  return path.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789/._-") == std::string_view::npos;
}

void Write(const skiff::cadvisor::FakeTree& tree, std::string_view path, std::string_view text) {
  const std::string full = tree.path() + "/" + std::string(path);
  // Mutations may want a file where a directory is, or the other way round.
  if (!skiff::MakeDirs(full.substr(0, full.rfind('/'))).ok()) return;
  FILE* out = fopen(full.c_str(), "w");
  if (out == nullptr) return;
  fwrite(text.data(), 1, text.size(), out);
  fclose(out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::cadvisor;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const FakeTree tree;
  for (int files = 0; files < 40 && rest.starts_with('='); ++files) {
    const size_t line = std::min(rest.find('\n'), rest.size());
    const std::string_view path = rest.substr(1, line - 1);
    rest.remove_prefix(std::min(line + 1, rest.size()));
    size_t next = rest.starts_with('=') ? 0 : rest.find("\n=");
    if (next != 0) next = next == std::string_view::npos ? rest.size() : next + 1;
    if (Usable(path)) Write(tree, path, rest.substr(0, next));
    rest.remove_prefix(next);
  }
  const Host host = tree.OpenHost();
  (void)ReadMachine(host).ok();
  (void)ReadMeminfo(host, "MemTotal").ok();
  (void)ReadBootTime(host).ok();
  (void)ReadTaskCounts(host).ok();
  (void)ReadFilesystems(host).ok();
  (void)ReadNetwork(host, 1).ok();
  (void)ReadMaxOpenFiles(host, 1).ok();
  if (const auto cgroups = tree.Cgroups(); cgroups.ok()) {
    for (const char* path : {"/", "/a"}) {
      (void)cgroups->ReadStats(path).ok();
      (void)cgroups->ReadSpec(path).ok();
      (void)cgroups->ReadCpuAndMemory(path).ok();
      (void)cgroups->Pids(path).ok();
    }
    (void)cgroups->List("/").ok();
  }
  return 0;
}
