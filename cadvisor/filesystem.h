// File systems: their size, their devices' traffic, and what a directory tree takes of them.
#ifndef SKIFF_CADVISOR_FILESYSTEM_H_
#define SKIFF_CADVISOR_FILESYSTEM_H_

#include <dirent.h>

#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/files.h"
#include "cadvisor/host.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

// statvfs of the file system that holds `path` (a real path, not below Host::root). Only the sizes are filled.
// Blocking.
StatusOr<FsStats> StatFilesystem(const std::string& path);

// Every mounted file system that stores something (ext*, xfs, btrfs, tmpfs, overlay, ..), once a device, with its
// device's /proc/diskstats; without those mounted for single pods. One that cannot be asked is left out. Blocking.
StatusOr<std::vector<FsStats>> ReadFilesystems(const Host& host);

struct DirUsage {
  uint64_t bytes = 0;    // blocks taken, not lengths
  uint64_t inodes = 0;   // a file of several names counts once
  bool complete = true;  // false: the walk met its bound, the figures are what it saw
};

struct WalkBounds {
  uint64_t entries = 2'000'000;
  std::chrono::nanoseconds time = std::chrono::minutes(2);
};

// Usage of a directory tree, in pieces. Follows no symlink and leaves the file system of its root for no other. What
// vanishes during the walk is not counted. Between pieces one descriptor is held. Blocking.
class DirWalk {
 public:
  // Goes on in `dir`, the same each time. True at the end, false when a bound was met before.
  StatusOr<bool> Go(const Dir& dir, const WalkBounds& bounds);
  const DirUsage& usage() const { return usage_; }  // of what was seen

 private:
  struct Close {
    void operator()(DIR* stream) const { closedir(stream); }
  };
  bool begun_ = false;
  dev_t device_ = 0;
  DirUsage usage_;
  std::unordered_set<ino_t> linked_;
  std::vector<std::string> pending_;
  std::string current_;
  std::unique_ptr<DIR, Close> stream_;
};

// The same at once; `complete` is false where a bound was met.
StatusOr<DirUsage> MeasureDir(const Dir& dir, WalkBounds bounds = {});

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_FILESYSTEM_H_
