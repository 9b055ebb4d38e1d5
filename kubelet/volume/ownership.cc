#include "kubelet/volume/ownership.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

// `fd` is an O_PATH descriptor of the object itself: what is changed is what was looked at.
void Apply(int fd, const struct stat& st, gid_t group, bool read_only, const std::string& path) {
  if (fchownat(fd, "", -1, group, AT_EMPTY_PATH) != 0) {
    LOG_WARNING("Cannot change the group of a volume's file", {"path", path}, {"errno", errno});
  }
  if (S_ISLNK(st.st_mode)) return;
  mode_t mask = read_only ? 0440 : 0660;
  if (S_ISDIR(st.st_mode)) mask |= S_ISGID | 0110;
  // chown clears setuid bits, so the mode comes second; fchmod refuses O_PATH descriptors, /proc/self/fd does not.
  if (chmod(absl::StrCat("/proc/self/fd/", fd).c_str(), (st.st_mode & 07777) | mask) != 0) {
    LOG_WARNING("Cannot change the mode of a volume's file", {"path", path}, {"errno", errno});
  }
}

Status Walk(int parent, const char* name, gid_t group, bool read_only, const std::string& path, int depth,
            OwnershipProgress* progress) {
  if (depth > 200) return InvalidArgument(path, ": directories nest too deep");
  const Fd fd(openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoStatus(errno, path);
  }
  struct stat st {};
  if (fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0) return ErrnoStatus(errno, path);
  if (S_ISDIR(st.st_mode)) {
    const int readable = openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (readable < 0) return ErrnoStatus(errno, path);
    DIR* dir = fdopendir(readable);
    if (dir == nullptr) {
      const int err = errno;
      close(readable);
      return ErrnoStatus(err, path);
    }
    Status status;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view child = entry->d_name;
      if (child == "." || child == "..") continue;
      status = Walk(fd.get(), entry->d_name, group, read_only, absl::StrCat(path, "/", child), depth + 1, progress);
      if (!status.ok()) break;
    }
    closedir(dir);
    RETURN_IF_ERROR(status);
  }
  Apply(fd.get(), st, group, read_only, path);
  if (progress != nullptr) ++progress->files;
  return absl::OkStatus();
}

}  // namespace

Status SetVolumeOwnership(const std::string& dir, gid_t group, bool read_only, OwnershipProgress* progress) {
  if (progress != nullptr) progress->walking = true;
  return Walk(AT_FDCWD, dir.c_str(), group, read_only, dir, 0, progress);
}

bool OwnershipFits(const std::string& dir, gid_t group, bool read_only) {
  struct stat st {};
  if (lstat(dir.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return false;
  const mode_t mask = (read_only ? 0440 : 0660) | S_ISGID | 0110;
  return st.st_gid == group && (st.st_mode & mask) == mask;
}

}  // namespace skiff::kubelet
