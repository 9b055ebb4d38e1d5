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
    size_t pending_bytes = 256 << 10;  // of names of directories to be looked at; the rest is listed again later
    size_t linked = 10'000;            // files of several names; of further ones each name counts for its share
  };
  DirWalk() : DirWalk(Limits{}) {}
  explicit DirWalk(Limits limits) : limits_(limits) {}

  // Goes on in `dir`, the same each time. True at the end, false when a bound was met before.
  StatusOr<bool> Go(const Dir& dir, const WalkBounds& bounds);
  const DirUsage& usage() const { return usage_; }             // of what was seen
  size_t most_pending_bytes() const { return most_pending_; }  // that there were at any time

 private:
  struct Close {
    void operator()(DIR* stream) const { closedir(stream); }
  };
  struct Pending {
    std::string name;
    uint64_t place = 0;  // among the directories of its directory as they are listed, from 1
  };
  // The directory that is looked at and those above it; no more than a path that the kernel takes has parts.
  struct Level {
    size_t path = 0;       // so much of path_ is its
    uint64_t done = 0;     // place of the last of its directories that was gone into
    size_t left = 0;       // so many of pending_ are its
    bool more = true;      // there are, or may be, some beyond those: to be listed again
    bool counted = false;  // was listed to its end once
  };
  Status OpenNext(const Dir& dir);
  void Count(const struct stat& st);
  bool Take(std::string_view name);
  void DropFirst();

  const Limits limits_;
  bool begun_ = false;
  dev_t device_ = 0;
  DirUsage usage_;
  std::unordered_set<ino_t> linked_;
  double link_shares_ = 0;
  std::vector<Level> levels_;    // the last is looked at
  std::string path_;             // "" for the root
  std::deque<Pending> pending_;  // of all levels, the deepest last; the last is next
  size_t pending_bytes_ = 0, most_pending_ = 0;
  size_t shallowest_ = 0;     // no level above it has any pending
  uint64_t directories_ = 0;  // of the current one, in this listing
  std::unique_ptr<DIR, Close> stream_;
};

// The same at once; `complete` is false where a bound was met.
StatusOr<DirUsage> MeasureDir(const Dir& dir, WalkBounds bounds = {});

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_FILESYSTEM_H_
