// For tests: a directory with the files of a machine, as an initialiser list of paths and contents.
#ifndef SKIFF_CADVISOR_FAKE_TREE_H_
#define SKIFF_CADVISOR_FAKE_TREE_H_

#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/files.h"
#include "cadvisor/cgroup.h"
#include "cadvisor/host.h"

namespace skiff::cadvisor {

class FakeTree {
 public:
  using Files = std::initializer_list<std::pair<std::string, std::string>>;

  FakeTree() {
    const char* parent = getenv("TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/skiff-cadvisor-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) abort();
    Must(MakeDirs(path_ + "/proc"));
    Must(MakeDirs(path_ + "/sys/fs/cgroup"));
  }
  ~FakeTree() { RemoveAll(path_).IgnoreError(); }
  FakeTree(const FakeTree&) = delete;
  FakeTree& operator=(const FakeTree&) = delete;

  // Missing directories are made; existing files are replaced.
  void Add(Files files) {
    for (const auto& [file, text] : files) {
      const std::string full = path_ + "/" + file;
      Must(MakeDirs(full.substr(0, full.rfind('/'))));
      // Not WriteFileAtomic: a fixture of a hundred files need not reach the disk.
      FILE* out = fopen(full.c_str(), "w");
      if (out == nullptr || fwrite(text.data(), 1, text.size(), out) != text.size() || fclose(out) != 0) abort();
    }
  }
  void Remove(const std::string& file) { Must(RemoveAll(path_ + "/" + file)); }
  void Link(const std::string& target, const std::string& name) {
    Must(MakeDirs((path_ + "/" + name).substr(0, (path_ + "/" + name).rfind('/'))));
    Must(Dir::Open(path_)->Symlink(target, name));
  }
  Host OpenHost() const { return *Host::Open(path_); }
  StatusOr<CgroupTree> Cgroups() const { return CgroupTree::Detect(*Dir::Open(path_ + "/sys")); }
  const std::string& path() const { return path_; }

 private:
  static void Must(const Status& status) {
    if (status.ok()) return;
    fprintf(stderr, "fake tree: %s\n", std::string(status.message()).c_str());
    abort();
  }
  std::string path_;
};

// A machine with two processors, 4 GiB, one disk, one interface.
void AddMachine(FakeTree& tree);
// Below it, cgroups / and /pods/a in every v1 hierarchy (cpu and cpuacct mounted together).
void AddCgroupsV1(FakeTree& tree);
// The same figures as v2 tells them, with pressure.
void AddCgroupsV2(FakeTree& tree);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_FAKE_TREE_H_
