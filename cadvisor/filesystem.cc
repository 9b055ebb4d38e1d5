#include "cadvisor/filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

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

void DirWalk::Push(Pending pending, bool later) {
  pending_bytes_ += sizeof(Pending) + pending.path.size();
  if (later) {
    pending_.push_front(std::move(pending));
  } else {
    pending_.push_back(std::move(pending));
  }
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

// Leaves no stream where the directory is gone meanwhile.
Status DirWalk::OpenNext(const Dir& dir) {
  current_ = std::move(pending_.back());
  pending_.pop_back();
  pending_bytes_ -= sizeof(Pending) + current_.path.size();
  directories_ = pushed_ = 0;
  more_ = false;
  StatusOr<Fd> fd = dir.OpenFile(current_.path, O_RDONLY | O_DIRECTORY | O_NOATIME);
  if (!fd.ok() && ErrnoOf(fd.status()) == EPERM) fd = dir.OpenFile(current_.path, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) {
    if (current_.path == ".") return fd.status();
    // Gone, or replaced by something else, meanwhile. A path beyond what the kernel takes stays unseen.
    if (ErrnoOf(fd.status()) == ENAMETOOLONG) usage_.complete = false;
    return absl::OkStatus();
  }
  stream_.reset(fdopendir(fd->get()));
  if (stream_ == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", dir.path()));
  fd->Release();
  return absl::OkStatus();
}

StatusOr<bool> DirWalk::Go(const Dir& dir, const WalkBounds& bounds) {
  constexpr uint64_t kLeast = 64;  // directories that a listing is good for, however many wait
  if (!begun_) {
    ASSIGN_OR_RETURN(const struct stat root, dir.Stat("."));
    device_ = root.st_dev;
    usage_ = {.bytes = static_cast<uint64_t>(root.st_blocks) * 512, .inodes = 1, .complete = true};
    Push({.path = "."}, false);
    begun_ = true;
  }
  const auto deadline = std::chrono::steady_clock::now() + bounds.time;
  uint64_t entries = 0, steps = 0;
  const auto late = [&] { return ++steps % 1024 == 0 && std::chrono::steady_clock::now() > deadline; };
  for (;;) {
    if (stream_ == nullptr) {
      if (pending_.empty()) return true;
      if (late()) return false;
      RETURN_IF_ERROR(OpenNext(dir));
      if (stream_ == nullptr) continue;
    }
    while (entries < bounds.entries) {
      if (late()) return false;
      const dirent* entry = readdir(stream_.get());
      if (entry == nullptr) {
        if (more_) Push({.path = std::move(current_.path), .seen = current_.seen + pushed_}, true);
        stream_.reset();
        break;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      ++entries;
      struct stat st {};
      if (fstatat(dirfd(stream_.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) continue;
      if (st.st_dev != device_) continue;  // something is mounted there
      if (current_.seen == 0) Count(st);
      if (!S_ISDIR(st.st_mode) || ++directories_ <= current_.seen) continue;
      if (more_ || (pending_bytes_ >= limits_.pending_bytes && pushed_ >= kLeast)) {
        more_ = true;
        continue;
      }
      ++pushed_;
      Push({.path = current_.path == "." ? std::string(name) : absl::StrCat(current_.path, "/", name)}, false);
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
