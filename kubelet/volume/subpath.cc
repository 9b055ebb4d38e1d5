#include "kubelet/volume/subpath.h"
#include "kubelet/state/layout.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "kubelet/runtime/env.h"

namespace skiff::kubelet {
namespace {

constexpr char kMakingUrl[] = "skiff/subpath-making";

int OpenAt2(int dir, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  // The kernel gives up with EAGAIN when somebody renames beneath it; a hostile pod may do so for long, not for ever.
  for (int attempt = 0; attempt < 128; ++attempt) {
    const int fd = static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof(how)));
    if (fd >= 0 || errno != EAGAIN) return fd;
  }
  errno = EAGAIN;
  return -1;
}

// As it is known here: a file server, which may not answer, is not asked.
bool Look(int dir, const std::string& path, struct statx* out) {
  constexpr int kFlags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  return statx(dir, path.c_str(), kFlags, STATX_TYPE | STATX_INO, out) == 0;
}

bool SameFile(int a, const std::string& b) {
  struct statx one {
  }, two{};
  if (!Look(a, "", &one) || !Look(AT_FDCWD, b, &two)) return false;
  return one.stx_dev_major == two.stx_dev_major && one.stx_dev_minor == two.stx_dev_minor && one.stx_ino == two.stx_ino;
}

// Walks `relative`; an absolute link that leads back into the volume (as hosts have them: /opt/app/current ->
// /opt/app/v7) counts for what it says there. Such a path is taken apart by names, and what comes of it is walked again
// without following any link, so that one that was swapped in between leads nowhere. -1 and errno as openat2.
int Walk(int volume_fd, const std::string& relative, uint64_t flags) {
  const int fd = OpenAt2(volume_fd, relative.c_str(), flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
  if (fd >= 0 || errno != EXDEV) return fd;
  const std::string self = absl::StrCat("/proc/self/fd/", volume_fd);
  const std::unique_ptr<char, decltype(&free)> base(realpath(self.c_str(), nullptr), free);
  const std::unique_ptr<char, decltype(&free)> real(realpath(absl::StrCat(self, "/", relative).c_str(), nullptr), free);
  if (real == nullptr && errno == ENOENT) return -1;
  const std::string_view whole = real == nullptr || base == nullptr ? "" : real.get();
  const size_t inside = base == nullptr ? 0 : strlen(base.get());
  if (whole.empty() || !whole.starts_with(base.get()) || (whole.size() > inside && whole[inside] != '/')) {
    errno = EXDEV;
    return -1;
  }
  return OpenAt2(volume_fd, absl::StrCat(".", whole.substr(inside)).c_str(), flags,
                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

Status BindOpened(const SubPath& sub, int source, Mounter& mounter) {
  ASSIGN_OR_RETURN(const bool mounted, mounter.IsMountPoint(sub.target));
  if (mounted) {
    if (SameFile(source, sub.target)) return absl::OkStatus();
    RETURN_IF_ERROR(mounter.Unmount(sub.target));
  }
  const std::string parent = sub.target.substr(0, sub.target.rfind('/'));
  RETURN_IF_ERROR(MakeDirs(parent, 0750));
  struct statx st {};
  if (!Look(source, "", &st)) return ErrnoStatus(errno, sub.sub_path);
  if (S_ISDIR(st.stx_mode)) {
    // A target left over from an earlier life may be of the other kind.
    if (unlink(sub.target.c_str()) != 0 && errno != ENOENT && errno != EISDIR && errno != EPERM) {
      return ErrnoStatus(errno, sub.target);
    }
    if (mkdir(sub.target.c_str(), 0750) != 0 && errno != EEXIST) return ErrnoStatus(errno, sub.target);
  } else {
    rmdir(sub.target.c_str());
    const Fd file(open(sub.target.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
    if (!file.valid()) return ErrnoStatus(errno, sub.target);
  }
  return mounter.BindFd(source, sub.target);
}

}  // namespace

StatusOr<Fd> OpenBeneath(int volume_fd, const std::string& relative) {
  Fd fd(Walk(volume_fd, relative, O_PATH));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("openat2 ", relative));
  // O_PATH of a link itself cannot come back: without O_NOFOLLOW the last component was followed.
  return fd;
}

Status MakeDirsBeneath(int volume_fd, const std::string& relative, mode_t mode) {
  Fd parent(fcntl(volume_fd, F_DUPFD_CLOEXEC, 0));
  if (!parent.valid()) return ErrnoStatus(errno, "dup");
  std::string done;
  for (std::string_view part : absl::StrSplit(relative, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    const std::string name(part);
    const std::string next = done.empty() ? name : absl::StrCat(done, "/", name);
    // From the volume's root each time: a link in the middle may point elsewhere inside the volume.
    Fd child(Walk(volume_fd, next, O_PATH | O_DIRECTORY));
    if (!child.valid()) {
      if (errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("openat2 ", next));
      if (mkdirat(parent.get(), name.c_str(), mode & 07777) != 0 && errno != EEXIST) {
        return ErrnoStatus(errno, absl::StrCat("cannot create directory ", next));
      }
      child = Fd(OpenAt2(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
      if (!child.valid()) return ErrnoStatus(errno, absl::StrCat("cannot open ", next));
      if (fchmod(child.get(), mode & 07777) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", next));
    }
    parent = std::move(child);
    done = next;
  }
  return absl::OkStatus();
}

Status BindSubPath(const SubPath& sub, Mounter& mounter) {
  const Fd volume(open(sub.volume_path.c_str(), O_PATH | O_CLOEXEC));
  if (!volume.valid()) return ErrnoStatus(errno, absl::StrCat("open ", sub.volume_path));
  auto source = OpenBeneath(volume.get(), sub.sub_path);
  if (!source.ok() && ErrnoOf(source.status()) == ENOENT) {
    struct stat st {};
    if (fstatat(volume.get(), "", &st, AT_EMPTY_PATH) != 0) return ErrnoStatus(errno, sub.volume_path);
    if (Status made = MakeDirsBeneath(volume.get(), sub.sub_path, st.st_mode); !made.ok()) {
      made.SetPayload(kMakingUrl, absl::Cord());
      return made;
    }
    source = OpenBeneath(volume.get(), sub.sub_path);
  }
  RETURN_IF_ERROR(source.status());
  return sub.gate->Pass([&] { return BindOpened(sub, source->get(), mounter); });
}

bool FailedToMake(const Status& error) { return error.GetPayload(kMakingUrl).has_value(); }

Status CleanSubPaths(const std::string& pod_dir, Mounter& mounter) {
  const std::string root = layout::Subpaths(pod_dir);
  if (!Exists(root)) return absl::OkStatus();
  // Stacked mounts show up once each; a second look makes sure that nothing is left before anything is removed.
  for (int pass = 0; pass < 2; ++pass) {
    ASSIGN_OR_RETURN(const auto mounts, mounter.MountsBelow(root));
    for (const std::string& path : mounts) RETURN_IF_ERROR(mounter.Unmount(path));
  }
  ASSIGN_OR_RETURN(const auto left, mounter.MountsBelow(root));
  if (!left.empty()) return FailedPrecondition("still mounted: ", left.front());
  return RemoveAll(root);
}

StatusOr<std::string> ExpandSubPathExpr(const std::string& text, const std::map<std::string, std::string>& env) {
  std::set<std::string> missing;
  std::string out = Expand(text, [&](std::string_view name) -> const std::string* {
    auto found = env.find(std::string(name));
    if (found != env.end() && !found->second.empty()) return &found->second;
    missing.emplace(name);
    return nullptr;
  });
  if (!missing.empty()) return InvalidArgument("missing value for ", absl::StrJoin(missing, ", "));
  return out;
}

}  // namespace skiff::kubelet
