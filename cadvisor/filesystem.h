// File systems: their size, their devices' traffic, and what a directory tree takes of them.
#ifndef SKIFF_CADVISOR_FILESYSTEM_H_
#define SKIFF_CADVISOR_FILESYSTEM_H_

#include <dirent.h>
#include <sys/stat.h>

#include <chrono>
#include <deque>
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
  // Of what is kept in memory, whatever a pod has made.
  struct Limits {
    size_t pending_bytes = 8 << 20;  // of names of directories to be looked at; the rest is listed again later
    size_t linked = 100'000;         // files of several names; of further ones each name counts for its share
  };
  DirWalk() : DirWalk(Limits{}) {}
  explicit DirWalk(Limits limits) : limits_(limits) {}

  // Goes on in `dir`, the same each time. True at the end, false when a bound was met before.
  StatusOr<bool> Go(const Dir& dir, const WalkBounds& bounds);
  const DirUsage& usage() const { return usage_; }  // of what was seen

 private:
  struct Close {
    void operator()(DIR* stream) const { closedir(stream); }
  };
  struct Pending {
    std::string path;
    uint64_t seen = 0;  // so many of its directories were taken before, and everything in it was counted
  };
  Status OpenNext(const Dir& dir);
  void Count(const struct stat& st);
  void Push(Pending pending, bool later);

  const Limits limits_;
  bool begun_ = false;
  dev_t device_ = 0;
  DirUsage usage_;
  std::unordered_set<ino_t> linked_;
  double link_shares_ = 0;
  std::deque<Pending> pending_;  // the last is next
  size_t pending_bytes_ = 0;
  Pending current_;
  uint64_t directories_ = 0, pushed_ = 0;  // of the current one, in this pass
  bool more_ = false;                      // it has some that were not taken
  std::unique_ptr<DIR, Close> stream_;
};

// The same at once; `complete` is false where a bound was met.
StatusOr<DirUsage> MeasureDir(const Dir& dir, WalkBounds bounds = {});

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_FILESYSTEM_H_
