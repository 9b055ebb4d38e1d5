#include "cadvisor/filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "cadvisor/mounts.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

void Fill(const struct statvfs& st, FsStats* stats) {
  stats->capacity = static_cast<uint64_t>(st.f_blocks) * st.f_frsize;
  stats->free = static_cast<uint64_t>(st.f_bfree) * st.f_frsize;
  stats->available = static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
  stats->inodes = st.f_files;
  stats->inodes_free = st.f_ffree;
}

// Those that store something. Network file systems are left out on purpose: asking one whose server is gone blocks
// for ever.
bool Supported(std::string_view type) {
  if (type.starts_with("ext")) return true;
  for (const std::string_view name : {"tmpfs", "overlay", "btrfs", "zfs", "xfs", "squashfs", "f2fs", "jfs", "reiserfs",
                                      "hfs", "hfsplus", "ntfs", "vfat", "fat", "msdos", "exfat", "udf", "iso9660"}) {
    if (type == name) return true;
  }
  return false;
}

// What kubelets and runtimes mount for single pods. Upstream reads the table once, before these are there; listing them
// would add a sample a pod to every family.
bool BelongsToAPod(const Mount& mount) {
  if (mount.type != "tmpfs" && mount.type != "overlay") return false;
  for (const char* part : {"/volumes/kubernetes.io~", "/io.containerd.", "/containers/storage/overlay"}) {
    if (mount.mountpoint.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

StatusOr<FsStats> StatFilesystem(const std::string& path) {
  struct statvfs st {};
  if (statvfs(path.c_str(), &st) != 0) return ErrnoStatus(errno, absl::StrCat("statfs ", path));
  FsStats stats;
  stats.mountpoint = path;
  Fill(st, &stats);
  return stats;
}

StatusOr<std::vector<FsStats>> ReadFilesystems(const Host& host) {
  ASSIGN_OR_RETURN(const Dir self, host.proc.FollowDir("self"));
  ASSIGN_OR_RETURN(const std::string text, self.Read("mountinfo"));
  ASSIGN_OR_RETURN(const std::vector<Mount> mounts, ParseMountinfo(text));
  std::map<std::string, const Mount*> devices;
  for (const Mount& mount : mounts) {
    if (!Supported(mount.type) || BelongsToAPod(mount)) continue;
    if (mount.type == "tmpfs") {
      devices[mount.mountpoint] = &mount;  // every tmpfs has the same source
    } else if (mount.type == "overlay") {
      devices.emplace(absl::StrCat(mount.source, "_", mount.major, "-", mount.minor), &mount);
    } else {
      devices.emplace(mount.source, &mount);  // later ones are bind mounts of the same
    }
  }
  for (const Mount& mount : mounts) {
    if (mount.mountpoint == "/") devices[mount.source] = &mount;  // the root counts whatever it is
  }
  std::vector<DiskStats> disks;
  if (const StatusOr<std::string> diskstats = host.proc.Read("diskstats"); diskstats.ok()) {
    ASSIGN_OR_RETURN(disks, ParseDiskstats(*diskstats));
  }
  std::vector<FsStats> all;
  for (const auto& [device, mount] : devices) {
    const StatusOr<Dir> dir = host.root.FollowDir(mount->mountpoint == "/" ? "." : mount->mountpoint.substr(1));
    struct statvfs st {};
    if (!dir.ok() || fstatvfs(dir->fd(), &st) != 0) continue;
    FsStats& stats = all.emplace_back();
    stats.device = device;
    stats.mountpoint = mount->mountpoint;
    stats.type = mount->type;
    stats.major = mount->major;
    stats.minor = mount->minor;
    Fill(st, &stats);
    for (const DiskStats& disk : disks) {
      if (disk.major != mount->major || disk.minor != mount->minor) continue;
      stats.reads = disk.values[0];
      stats.reads_merged = disk.values[1];
      stats.sectors_read = disk.values[2];
      stats.read_ms = disk.values[3];
      stats.writes = disk.values[4];
      stats.writes_merged = disk.values[5];
      stats.sectors_written = disk.values[6];
      stats.write_ms = disk.values[7];
      stats.io_in_progress = disk.values[8];
      stats.io_ms = disk.values[9];
      stats.weighted_io_ms = disk.values[10];
      break;
    }
  }
  return all;
}

// One of the directory that is listed. Those of the directories above it give way, but one is taken in any case: the
// walk goes on.
bool DirWalk::Take(std::string_view name) {
  Level& level = levels_.back();
  const size_t bytes = sizeof(Pending) + name.size();
  while (pending_bytes_ + bytes > limits_.pending_bytes && pending_.size() > level.left) DropFirst();
  if (pending_bytes_ + bytes > limits_.pending_bytes && level.left > 0) return false;
  pending_.push_back({.name = std::string(name), .place = directories_});
  pending_bytes_ += bytes;
  most_pending_ = std::max(most_pending_, pending_bytes_);
  ++level.left;
  shallowest_ = std::min(shallowest_, levels_.size() - 1);
  return true;
}

// That is the one that would be gone into last.
void DirWalk::DropFirst() {
  while (levels_[shallowest_].left == 0) ++shallowest_;
  --levels_[shallowest_].left;
  levels_[shallowest_].more = true;
  pending_bytes_ -= sizeof(Pending) + pending_.front().name.size();
  pending_.pop_front();
}

void DirWalk::Count(const struct stat& st) {
  const uint64_t bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
    if (linked_.contains(st.st_ino)) return;
    if (linked_.size() >= limits_.linked) {
      usage_.bytes += bytes / st.st_nlink;
      link_shares_ += 1.0 / static_cast<double>(st.st_nlink);
      if (link_shares_ >= 1) {
        usage_.inodes++;
        link_shares_ -= 1;
      }
      return;
    }
    linked_.insert(st.st_ino);
  }
  usage_.inodes++;
  usage_.bytes += bytes;
}

// One step: leaves no stream where a directory is done, or gone meanwhile.
Status DirWalk::OpenNext(const Dir& dir) {
  path_.resize(levels_.back().path);
  if (levels_.back().left > 0) {
    Level& above = levels_.back();
    const Pending next = std::move(pending_.back());
    pending_.pop_back();
    pending_bytes_ -= sizeof(Pending) + next.name.size();
    --above.left;
    above.done = next.place;
    if (!path_.empty()) path_ += '/';
    path_ += next.name;
    levels_.push_back({.path = path_.size()});
  } else if (!levels_.back().more) {
    levels_.pop_back();
    return absl::OkStatus();
  }
  levels_.back().more = false;
  directories_ = 0;
  const std::string path = path_.empty() ? "." : path_;
  StatusOr<Fd> fd = dir.OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOATIME);
  if (!fd.ok() && ErrnoOf(fd.status()) == EPERM) fd = dir.OpenFile(path, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) {
    if (path_.empty()) return fd.status();
    // Gone, or replaced by something else, meanwhile. A path beyond what the kernel takes stays unseen.
    if (ErrnoOf(fd.status()) == ENAMETOOLONG) usage_.complete = false;
    levels_.pop_back();
    return absl::OkStatus();
  }
  stream_.reset(fdopendir(fd->get()));
  if (stream_ == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", dir.path()));
  fd->Release();
  return absl::OkStatus();
}

StatusOr<bool> DirWalk::Go(const Dir& dir, const WalkBounds& bounds) {
  if (!begun_) {
    ASSIGN_OR_RETURN(const struct stat root, dir.Stat("."));
    device_ = root.st_dev;
    usage_ = {.bytes = static_cast<uint64_t>(root.st_blocks) * 512, .inodes = 1, .complete = true};
    levels_.emplace_back();
    begun_ = true;
  }
  const auto deadline = std::chrono::steady_clock::now() + bounds.time;
  uint64_t entries = 0, steps = 0;
  const auto late = [&] { return ++steps % 64 == 0 && std::chrono::steady_clock::now() > deadline; };
  for (;;) {
    if (stream_ == nullptr) {
      if (levels_.empty()) return true;
      if (late()) return false;
      RETURN_IF_ERROR(OpenNext(dir));
      if (stream_ == nullptr) continue;
    }
    Level& level = levels_.back();
    while (entries < bounds.entries) {
      if (late()) return false;
      const dirent* entry = readdir(stream_.get());
      if (entry == nullptr) {
        level.counted = true;
        // The first listed is gone into first, so that those that are left are listed after it.
        std::reverse(pending_.end() - static_cast<ptrdiff_t>(level.left), pending_.end());
        stream_.reset();
        break;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      ++entries;
      bool directory = entry->d_type == DT_DIR;
      if (directory) ++directories_;
      if (level.counted && (directory ? directories_ <= level.done : entry->d_type != DT_UNKNOWN)) continue;
      struct stat st {};
      if (fstatat(dirfd(stream_.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) continue;
      if (entry->d_type == DT_UNKNOWN && S_ISDIR(st.st_mode)) {
        directory = true;
        ++directories_;
      }
      if (st.st_dev != device_) continue;  // something is mounted there
      if (!level.counted) Count(st);
      if (!directory || directories_ <= level.done || level.more) continue;
      level.more = !Take(name);
    }
    if (stream_ != nullptr) return false;
  }
}

StatusOr<DirUsage> MeasureDir(const Dir& dir, WalkBounds bounds) {
  DirWalk walk;
  ASSIGN_OR_RETURN(const bool ended, walk.Go(dir, bounds));
  DirUsage usage = walk.usage();
  if (!ended) usage.complete = false;
  return usage;
}

}  // namespace skiff::cadvisor
