#include "cadvisor/filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <map>
#include <unordered_set>

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

StatusOr<DirUsage> MeasureDir(const Dir& dir, WalkBounds bounds) {
  ASSIGN_OR_RETURN(const struct stat root, dir.Stat("."));
  DirUsage usage{.bytes = static_cast<uint64_t>(root.st_blocks) * 512, .inodes = 1, .complete = true};
  const auto deadline = std::chrono::steady_clock::now() + bounds.time;
  std::unordered_set<ino_t> linked;
  std::vector<std::string> pending{"."};
  uint64_t entries = 0;
  while (!pending.empty()) {
    const std::string current = std::move(pending.back());
    pending.pop_back();
    StatusOr<Fd> fd = dir.OpenFile(current, O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (!fd.ok() && ErrnoOf(fd.status()) == EPERM) fd = dir.OpenFile(current, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) {
      if (current == ".") return fd.status();
      // Gone, or replaced by something else, meanwhile. A path beyond what the kernel takes stays unseen.
      if (ErrnoOf(fd.status()) == ENAMETOOLONG) usage.complete = false;
      continue;
    }
    DIR* stream = fdopendir(fd->get());
    if (stream == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", dir.path()));
    fd->Release();
    while (const dirent* entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++entries > bounds.entries || (entries % 1024 == 0 && std::chrono::steady_clock::now() > deadline)) {
        usage.complete = false;
        closedir(stream);
        return usage;
      }
      struct stat st {};
      if (fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) continue;
      if (st.st_dev != root.st_dev) continue;  // something is mounted there
      if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !linked.insert(st.st_ino).second) continue;
      usage.inodes++;
      usage.bytes += static_cast<uint64_t>(st.st_blocks) * 512;
      if (S_ISDIR(st.st_mode)) pending.push_back(current == "." ? std::string(name) : absl::StrCat(current, "/", name));
    }
    closedir(stream);
  }
  return usage;
}

Task<StatusOr<DirUsage>> MeasureDirAsync(std::string path, WalkBounds bounds) {
  std::function<StatusOr<DirUsage>()> work = [path, bounds]() -> StatusOr<DirUsage> {
    ASSIGN_OR_RETURN(const Dir dir, Dir::Open(path));
    return MeasureDir(dir, bounds);
  };
  co_return co_await RunBlockingFor<DirUsage>(std::move(work));
}

}  // namespace skiff::cadvisor
