#include "kubelet/volume/mounter.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "base/log.h"
#include "kubelet/volume/mount_options.h"

namespace skiff::kubelet {
namespace {

// mountinfo writes space, tab, newline and backslash as octal escapes.
std::string Unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      int value = 0;
      bool octal = true;
      for (size_t j = i + 1; j <= i + 3; ++j) {
        if (text[j] < '0' || text[j] > '7') octal = false;
        value = value * 8 + (text[j] - '0');
      }
      if (octal) {
        out.push_back(static_cast<char>(value));
        i += 3;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

struct MountEntry {
  std::string path;
  bool shared = false;
};

// Mounts of the calling thread, in the order of mountinfo (a later one lies on or below an earlier one).
StatusOr<std::vector<MountEntry>> Mounts() {
  ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/thread-self/mountinfo"));
  std::vector<MountEntry> out;
  for (std::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    std::vector<std::string_view> fields = absl::StrSplit(line, absl::MaxSplits(' ', 5));
    if (fields.size() < 6) continue;
    const std::string_view optional = fields[5].substr(0, fields[5].find(" - "));
    out.push_back({Unescape(fields[4]), optional.find(" shared:") != std::string_view::npos});
  }
  return out;
}

StatusOr<std::vector<std::string>> MountPoints() {
  ASSIGN_OR_RETURN(auto mounts, Mounts());
  std::vector<std::string> out;
  for (MountEntry& entry : mounts) out.push_back(std::move(entry.path));
  return out;
}

bool Below(std::string_view path, std::string_view base) {
  return path.size() > base.size() + 1 && path.substr(0, base.size()) == base && path[base.size()] == '/';
}

class LinuxMounter final : public Mounter {
 public:
  Status MountTmpfs(const std::string& target, const std::string& options) override {
    if (mount("tmpfs", target.c_str(), "tmpfs", 0, options.c_str()) != 0) {
      return ErrnoStatus(errno, absl::StrCat("mount tmpfs at ", target));
    }
    return absl::OkStatus();
  }

  Status MountHugetlbfs(const std::string& target, const std::string& options) override {
    if (mount("nodev", target.c_str(), "hugetlbfs", 0, options.c_str()) != 0) {
      return ErrnoStatus(errno, absl::StrCat("mount hugetlbfs at ", target));
    }
    return absl::OkStatus();
  }

  Status BindFd(int source_fd, const std::string& target) override {
    const std::string source = absl::StrCat("/proc/self/fd/", source_fd);
    if (mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return ErrnoStatus(errno, absl::StrCat("bind mount at ", target));
    }
    return absl::OkStatus();
  }

  Status SetOptions(const std::string& target, const std::vector<std::string>& options) override {
    const MountAttributes wanted = AttributesOf(options);
    for (const std::string& option : wanted.ignored) {
      LOG_WARNING("A mount option means nothing for a bind mount", {"option", option}, {"path", target});
    }
    if (wanted.set == 0 && wanted.clear == 0) return absl::OkStatus();
    mount_attr attributes = {};
    attributes.attr_set = wanted.set;
    attributes.attr_clr = wanted.clear;
    if (mount_setattr(AT_FDCWD, target.c_str(), AT_SYMLINK_NOFOLLOW, &attributes, sizeof attributes) != 0) {
      return ErrnoStatus(errno, absl::StrCat("set mount options ", absl::StrJoin(options, ","), " at ", target));
    }
    return absl::OkStatus();
  }

  Status Unmount(const std::string& target) override {
    // Lazily: a container that is just ending may still hold the mount in its own namespace.
    if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT) {
      return ErrnoStatus(errno, absl::StrCat("unmount ", target));
    }
    return absl::OkStatus();
  }

  StatusOr<bool> IsMountPoint(const std::string& path) override {
    struct statx st {};
    // Without asking a file server, which may not answer.
    constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    if (statx(AT_FDCWD, path.c_str(), kFlags, STATX_BASIC_STATS, &st) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return false;
      return ErrnoStatus(errno, path);
    }
    // Tells bind mounts of the same filesystem too, which comparing device numbers does not.
    if (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    ASSIGN_OR_RETURN(const auto points, MountPoints());
    return std::find(points.begin(), points.end(), path) != points.end();
  }

  StatusOr<std::vector<std::string>> MountsBelow(const std::string& path) override {
    ASSIGN_OR_RETURN(const auto points, MountPoints());
    std::vector<std::string> out;
    for (auto it = points.rbegin(); it != points.rend(); ++it) {
      if (Below(*it, path)) out.push_back(*it);
    }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
    return out;
  }

  Status MakeShared(const std::string& path) override {
    ASSIGN_OR_RETURN(const auto mounts, Mounts());
    bool shared = false;
    for (const MountEntry& entry : mounts) {
      if (entry.path == "/" || entry.path == path || Below(path, entry.path)) shared = entry.shared;
    }
    if (shared) return absl::OkStatus();
    for (const MountEntry& entry : mounts) {
      if (Below(entry.path, path)) {
        return FailedPrecondition("share mounts below ", path, ": ", entry.path, " is mounted there already");
      }
    }
    if (mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
      return ErrnoStatus(errno, absl::StrCat("bind mount ", path, " onto itself"));
    }
    if (mount(nullptr, path.c_str(), nullptr, MS_SHARED | MS_REC, nullptr) != 0) {
      return ErrnoStatus(errno, absl::StrCat("share the mount at ", path));
    }
    return absl::OkStatus();
  }

  bool TmpfsNoswap() override {
    std::call_once(probed_, [this] {
      // fsopen needs no target directory: the option is either taken or refused.
      const int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
      if (fs < 0) return;
      noswap_ = fsconfig(fs, FSCONFIG_SET_FLAG, "noswap", nullptr, 0) == 0;
      close(fs);
    });
    return noswap_;
  }

 private:
  std::once_flag probed_;
  bool noswap_ = false;
};

}  // namespace

std::unique_ptr<Mounter> NewMounter() { return std::make_unique<LinuxMounter>(); }

Status FakeMounter::MountTmpfs(const std::string& target, const std::string& options) {
  std::lock_guard lock(mutex_);
  if (!fail_.ok()) return std::exchange(fail_, absl::OkStatus());
  mounts_[target] = absl::StrCat("tmpfs ", options);
  return absl::OkStatus();
}

Status FakeMounter::MountHugetlbfs(const std::string& target, const std::string& options) {
  std::lock_guard lock(mutex_);
  if (!fail_.ok()) return std::exchange(fail_, absl::OkStatus());
  mounts_[target] = absl::StrCat("hugetlbfs ", options);
  return absl::OkStatus();
}

Status FakeMounter::BindFd(int source_fd, const std::string& target) {
  std::lock_guard lock(mutex_);
  if (!fail_.ok()) return std::exchange(fail_, absl::OkStatus());
  char path[4096];
  const ssize_t n = readlink(absl::StrCat("/proc/self/fd/", source_fd).c_str(), path, sizeof(path));
  if (n < 0) return ErrnoStatus(errno, "readlink");
  mounts_[target] = absl::StrCat("bind ", std::string_view(path, n));
  return absl::OkStatus();
}

Status FakeMounter::SetOptions(const std::string& target, const std::vector<std::string>& options) {
  std::lock_guard lock(mutex_);
  if (!fail_.ok()) return std::exchange(fail_, absl::OkStatus());
  absl::StrAppend(&mounts_[target], " ", absl::StrJoin(options, ","));
  return absl::OkStatus();
}

Status FakeMounter::Unmount(const std::string& target) {
  std::lock_guard lock(mutex_);
  mounts_.erase(target);
  return absl::OkStatus();
}

StatusOr<bool> FakeMounter::IsMountPoint(const std::string& path) {
  std::lock_guard lock(mutex_);
  return mounts_.contains(path);
}

StatusOr<std::vector<std::string>> FakeMounter::MountsBelow(const std::string& path) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (auto it = mounts_.rbegin(); it != mounts_.rend(); ++it) {
    if (Below(it->first, path)) out.push_back(it->first);
  }
  return out;
}

std::map<std::string, std::string> FakeMounter::mounts() const {
  std::lock_guard lock(mutex_);
  return mounts_;
}

void FakeMounter::FailNext(Status status) {
  std::lock_guard lock(mutex_);
  fail_ = std::move(status);
}

}  // namespace skiff::kubelet
