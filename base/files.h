// Files relative to held directories. A Dir is an open O_PATH|O_DIRECTORY descriptor; a recreated directory of the same
// name is another Dir. Anything below a directory that a pod can write goes through a Dir (openat2 with
// RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), which is what every relative path here means unless
// it says otherwise. Errors carry the errno (ErrnoOf): ELOOP for a symlink on the way, EXDEV for a path that leaves the
// directory. Blocking; thread-safe (no shared state).
#ifndef SKIFF_BASE_FILES_H_
#define SKIFF_BASE_FILES_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace skiff {

// An owned file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

// Whether a written file has reached the disk when the call returns. kNo: it costs no wait, and readers still see the
// old or the new file, but a machine that crashes soon after may keep an empty one.
enum class Durable { kYes, kNo };

class Dir {
 public:
  static StatusOr<Dir> Open(const std::string& path);
  StatusOr<Dir> OpenDir(const std::string& relative) const;  // beneath, no symlinks
  // Beneath, but symlinks are followed: for trees that only the kernel or root writes (/sys/class, cgroup mounts).
  StatusOr<Dir> FollowDir(const std::string& relative) const;
  StatusOr<Fd> OpenFile(const std::string& relative, int flags, mode_t mode = 0) const;  // beneath, no symlinks
  // The whole regular file, at most `limit` bytes (kResourceExhausted beyond). Files of /proc and /sys have no size;
  // fine.
  StatusOr<std::string> Read(const std::string& relative, size_t limit = 16 << 20) const;
  // write + fsync + rename + fsync of the directory: readers and crashes see the old or the new file, never a part.
  Status WriteAtomic(const std::string& relative, std::string_view data, mode_t mode = 0644,
                     Durable durable = Durable::kYes) const;
  Status Write(const std::string& relative, std::string_view data) const;  // existing file, one write (cgroup files)
  Status MakeDirs(const std::string& relative, mode_t mode = 0755) const;
  Status RemoveAll(const std::string& relative) const;  // gone is fine; EBUSY at a mount; bounded descriptors
  StatusOr<std::vector<std::string>> List(const std::string& relative = ".") const;  // sorted, without . and ..
  bool Exists(const std::string& relative) const;                                    // a symlink does not count
  // These act on the name itself (lstat); its parent is reached beneath, without symlinks.
  StatusOr<struct stat> Stat(const std::string& relative) const;
  Status Rename(const std::string& from, const std::string& to) const;
  Status Symlink(const std::string& target, const std::string& relative) const;
  StatusOr<std::string> ReadLink(const std::string& relative) const;
  Status Unlink(const std::string& relative) const;
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }  // for messages only

 private:
  Dir(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

// Plain-path forms for trusted paths (configuration, state directories).
StatusOr<std::string> ReadFile(const std::string& path, size_t limit = 64 << 20);
Status WriteFileAtomic(const std::string& path, std::string_view data, mode_t mode = 0644,
                       Durable durable = Durable::kYes);
Status MakeDirs(const std::string& path, mode_t mode = 0755);
Status RemoveAll(const std::string& path);
StatusOr<std::vector<std::string>> ListDir(const std::string& path);
bool Exists(const std::string& path);
std::string JoinPath(std::string_view a, std::string_view b);

}  // namespace skiff

#endif  // SKIFF_BASE_FILES_H_
