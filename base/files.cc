#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "absl/strings/str_split.h"
#include "base/files_ordered.h"

namespace skiff {
namespace {

constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
// Subdirectories deeper than this are moved to the top before they are emptied, so that a tree of any depth is removed
// with a bounded number of open descriptors.
constexpr int kRemoveDepth = 48;
constexpr int kMostTempNames = 100;

int OpenAt2(int dir, const char* path, int flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = resolve;
  // EAGAIN: a rename raced with the walk; the kernel asks to try again.
  for (int i = 0;; i++) {
    const long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0 || (errno != EINTR && (errno != EAGAIN || i >= 128))) return static_cast<int>(fd);
  }
}

std::string NextTempName(std::string_view base) {
  static std::atomic<uint64_t> counter{0};
  // Short, so that a name of NAME_MAX bytes still has a neighbour.
  return absl::StrCat(".", base.substr(0, 32), ".", getpid(), ".", counter.fetch_add(1), ".tmp");
}

StatusOr<std::string> ReadAll(int fd, size_t limit, std::string_view name) {
  std::string data;
  size_t chunk = 4096;
  struct stat st {};
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
    chunk = std::min(static_cast<size_t>(st.st_size) + 1, limit + 1);
  }
  size_t have = 0;
  for (;;) {
    if (data.size() < have + chunk) data.resize(have + chunk);
    const ssize_t n = read(fd, data.data() + have, chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat("read ", name));
    if (n == 0) break;
    have += static_cast<size_t>(n);
    if (have > limit)
      return absl::ResourceExhaustedError(absl::StrCat("read ", name, ": larger than ", limit, " bytes"));
    chunk = std::max<size_t>(4096, std::min<size_t>(have, 1 << 20));
  }
  data.resize(have);
  if (data.capacity() > have + 4096) data.shrink_to_fit();
  return data;
}

Status WriteAll(int fd, std::string_view data, std::string_view name) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat("write ", name));
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<std::string>> ListFd(Fd fd, std::string_view name) {
  DIR* dir = fdopendir(fd.get());
  if (dir == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", name));
  fd.Release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir);
    if (entry == nullptr) break;
    const std::string_view entry_name = entry->d_name;
    if (entry_name != "." && entry_name != "..") names.emplace_back(entry_name);
  }
  const int err = errno;
  closedir(dir);
  if (err != 0) return ErrnoStatus(err, absl::StrCat("list ", name));
  std::sort(names.begin(), names.end());
  return names;
}

// Removes what is below `dir`. Directories at kRemoveDepth are renamed into `top` under fresh names; the caller repeats
// until a pass moved none.
Status RemoveChildren(int dir, int top, int depth, std::string_view name, bool* moved) {
  Fd readable(OpenAt2(dir, ".", O_RDONLY | O_DIRECTORY, 0, kBeneath));
  if (!readable.valid()) return ErrnoStatus(errno, absl::StrCat("open ", name));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFd(std::move(readable), name));
  Status first;
  for (const std::string& child : names) {
    if (unlinkat(dir, child.c_str(), 0) == 0 || errno == ENOENT) continue;
    const int err = errno;
    if (err != EISDIR && err != EPERM) {
      if (first.ok()) first = ErrnoStatus(err, absl::StrCat("unlink ", name, "/", child));
      continue;
    }
    if (unlinkat(dir, child.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
    const std::string child_name = absl::StrCat(name, "/", child);
    if (errno != ENOTEMPTY && errno != EEXIST) {
      if (first.ok()) first = ErrnoStatus(errno == ENOTDIR ? err : errno, absl::StrCat("unlink ", child_name));
      continue;
    }
    if (depth >= kRemoveDepth) {
      if (renameat(dir, child.c_str(), top, NextTempName("deep").c_str()) != 0) {
        if (first.ok()) first = ErrnoStatus(errno, absl::StrCat("rename ", child_name));
      } else {
        *moved = true;
      }
      continue;
    }
    const Fd sub(OpenAt2(dir, child.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath | RESOLVE_NO_XDEV));
    if (!sub.valid()) {
      if (errno == ENOENT) continue;
      // EXDEV: another file system is mounted there. Its content is not ours to delete.
      if (first.ok()) first = ErrnoStatus(errno == EXDEV ? EBUSY : errno, absl::StrCat("remove ", child_name));
      continue;
    }
    const Status status = RemoveChildren(sub.get(), top, depth + 1, child_name, moved);
    if (!status.ok()) {
      if (first.ok()) first = status;
      continue;
    }
    if (unlinkat(dir, child.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      if (first.ok()) first = ErrnoStatus(errno, absl::StrCat("remove ", child_name));
    }
  }
  return first;
}

struct Split {
  std::string parent;  // "." where none
  std::string base;
};

// "a/b/" -> {"a", "b"}. The last component must be a real name.
StatusOr<Split> SplitPath(std::string_view path) {
  std::string_view p = path;
  while (p.size() > 1 && p.back() == '/') p.remove_suffix(1);
  const size_t slash = p.rfind('/');
  Split out;
  out.base = std::string(slash == std::string_view::npos ? p : p.substr(slash + 1));
  out.parent = slash == std::string_view::npos ? "." : slash == 0 ? "/" : std::string(p.substr(0, slash));
  if (out.base.empty() || out.base == "." || out.base == ".." || out.base.find('\0') != std::string::npos) {
    return InvalidArgument("bad path \"", path, "\"");
  }
  return out;
}

// `sync_file`: the bytes are on the disk before the name is theirs; `sync_name`: and so is the name at the end.
Status WriteBeneath(const Dir& dir, const std::string& relative, std::string_view data, mode_t mode, bool sync_file,
                    bool sync_name) {
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  const std::string name = JoinPath(dir.path(), relative);
  const Fd parent(OpenAt2(dir.fd(), split.parent.c_str(), O_RDONLY | O_DIRECTORY, 0, kBeneath));
  if (!parent.valid()) return ErrnoStatus(errno, absl::StrCat("open ", JoinPath(dir.path(), split.parent)));
  std::string temp;
  Fd file;
  // A process that had our number and crashed may have left some: in a container it is always the same.
  for (int i = 0; i < kMostTempNames && !file.valid() && (i == 0 || errno == EEXIST); ++i) {
    temp = NextTempName(split.base);
    file = Fd(OpenAt2(parent.get(), temp.c_str(), O_WRONLY | O_CREAT | O_EXCL, mode, kBeneath));
  }
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("create ", name));
  Status status = WriteAll(file.get(), data, name);
  if (status.ok() && fchmod(file.get(), mode) != 0) status = ErrnoStatus(errno, absl::StrCat("chmod ", name));
  if (status.ok() && sync_file && fsync(file.get()) != 0) status = ErrnoStatus(errno, absl::StrCat("fsync ", name));
  if (status.ok() && renameat(parent.get(), temp.c_str(), parent.get(), split.base.c_str()) != 0) {
    status = ErrnoStatus(errno, absl::StrCat("rename ", name));
  }
  if (!status.ok()) {
    unlinkat(parent.get(), temp.c_str(), 0);
    return status;
  }
  if (sync_name && fsync(parent.get()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("fsync ", JoinPath(dir.path(), split.parent)));
  }
  return absl::OkStatus();
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.Release();
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

StatusOr<Dir> Dir::Open(const std::string& path) {
  Fd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return Dir(std::move(fd), path);
}

StatusOr<Dir> Dir::OpenDir(const std::string& relative) const {
  Fd fd(OpenAt2(fd_.get(), relative.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", JoinPath(path_, relative)));
  return Dir(std::move(fd), JoinPath(path_, relative));
}

StatusOr<Dir> Dir::FollowDir(const std::string& relative) const {
  Fd fd(OpenAt2(fd_.get(), relative.c_str(), O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", JoinPath(path_, relative)));
  return Dir(std::move(fd), JoinPath(path_, relative));
}

StatusOr<Fd> Dir::OpenFile(const std::string& relative, int flags, mode_t mode) const {
  Fd fd(OpenAt2(fd_.get(), relative.c_str(), flags, mode, kBeneath));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", JoinPath(path_, relative)));
  return fd;
}

StatusOr<std::string> Dir::Read(const std::string& relative, size_t limit) const {
  // O_NONBLOCK: a FIFO that someone put there must not hold the thread.
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(relative, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", JoinPath(path_, relative)));
  if (S_ISDIR(st.st_mode)) return ErrnoStatus(EISDIR, absl::StrCat("read ", JoinPath(path_, relative)));
  if (!S_ISREG(st.st_mode)) return InvalidArgument("read ", JoinPath(path_, relative), ": not a regular file");
  return ReadAll(fd.get(), limit, JoinPath(path_, relative));
}

Status Dir::WriteAtomic(const std::string& relative, std::string_view data, mode_t mode, Durable durable) const {
  const bool sync = durable == Durable::kYes;
  return WriteBeneath(*this, relative, data, mode, sync, sync);
}

Status Dir::Write(const std::string& relative, std::string_view data) const {
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(relative, O_WRONLY | O_NOCTTY));
  for (;;) {
    const ssize_t n = write(fd.get(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    const std::string name = JoinPath(path_, relative);
    if (n < 0) return ErrnoStatus(errno, absl::StrCat("write ", name));
    if (static_cast<size_t>(n) != data.size())
      return Internal("write ", name, ": took ", n, " of ", data.size(), " bytes");
    return absl::OkStatus();
  }
}

Status Dir::MakeDirs(const std::string& relative, mode_t mode) const {
  Fd current(OpenAt2(fd_.get(), ".", O_PATH | O_DIRECTORY, 0, kBeneath));
  if (!current.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path_));
  for (absl::string_view part : absl::StrSplit(relative, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    const std::string name(part);
    if (mkdirat(current.get(), name.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("mkdir ", JoinPath(path_, relative)));
    }
    Fd next(OpenAt2(current.get(), name.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath));
    if (!next.valid()) return ErrnoStatus(errno, absl::StrCat("mkdir ", JoinPath(path_, relative)));
    current = std::move(next);
  }
  return absl::OkStatus();
}

Status Dir::RemoveAll(const std::string& relative) const {
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  const std::string name = JoinPath(path_, relative);
  const Fd parent(OpenAt2(fd_.get(), split.parent.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath));
  if (!parent.valid()) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoStatus(errno, absl::StrCat("open ", JoinPath(path_, split.parent)));
  }
  if (unlinkat(parent.get(), split.base.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR && errno != EPERM) return ErrnoStatus(errno, absl::StrCat("unlink ", name));
  const Fd top(OpenAt2(parent.get(), split.base.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath | RESOLVE_NO_XDEV));
  if (!top.valid()) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoStatus(errno == EXDEV ? EBUSY : errno, absl::StrCat("remove ", name));
  }
  for (bool moved = true; moved;) {
    moved = false;
    const Status status = RemoveChildren(top.get(), top.get(), 0, name, &moved);
    // Parents of a moved directory may say ENOTEMPTY no longer in the next pass; other errors stay.
    if (!status.ok() && !moved) return status;
  }
  if (unlinkat(parent.get(), split.base.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, absl::StrCat("remove ", name));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<std::string>> Dir::List(const std::string& relative) const {
  ASSIGN_OR_RETURN(Fd fd, OpenFile(relative, O_RDONLY | O_DIRECTORY));
  return ListFd(std::move(fd), JoinPath(path_, relative));
}

bool Dir::Exists(const std::string& relative) const {
  // Without O_NOFOLLOW a symlink as the last component is refused like any other.
  return Fd(OpenAt2(fd_.get(), relative.c_str(), O_PATH, 0, kBeneath)).valid();
}

StatusOr<struct stat> Dir::Stat(const std::string& relative) const {
  struct stat st {};
  if (relative == "." || relative.empty()) {
    if (fstat(fd_.get(), &st) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", path_));
    return st;
  }
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  ASSIGN_OR_RETURN(const Dir parent, OpenDir(split.parent));
  if (fstatat(parent.fd(), split.base.c_str(), &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    return ErrnoStatus(errno, absl::StrCat("stat ", JoinPath(path_, relative)));
  }
  return st;
}

Status Dir::Rename(const std::string& from, const std::string& to) const {
  ASSIGN_OR_RETURN(const Split a, SplitPath(from));
  ASSIGN_OR_RETURN(const Split b, SplitPath(to));
  ASSIGN_OR_RETURN(const Dir from_dir, OpenDir(a.parent));
  ASSIGN_OR_RETURN(const Dir to_dir, OpenDir(b.parent));
  if (renameat(from_dir.fd(), a.base.c_str(), to_dir.fd(), b.base.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("rename ", JoinPath(path_, from), " ", JoinPath(path_, to)));
  }
  return absl::OkStatus();
}

Status Dir::Symlink(const std::string& target, const std::string& relative) const {
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  ASSIGN_OR_RETURN(const Dir parent, OpenDir(split.parent));
  if (symlinkat(target.c_str(), parent.fd(), split.base.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("symlink ", target, " ", JoinPath(path_, relative)));
  }
  return absl::OkStatus();
}

StatusOr<std::string> Dir::ReadLink(const std::string& relative) const {
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  ASSIGN_OR_RETURN(const Dir parent, OpenDir(split.parent));
  char buffer[4097];
  const ssize_t n = readlinkat(parent.fd(), split.base.c_str(), buffer, sizeof buffer);
  if (n < 0) return ErrnoStatus(errno, absl::StrCat("readlink ", JoinPath(path_, relative)));
  return std::string(buffer, static_cast<size_t>(n));
}

Status Dir::Unlink(const std::string& relative) const {
  ASSIGN_OR_RETURN(const Split split, SplitPath(relative));
  ASSIGN_OR_RETURN(const Dir parent, OpenDir(split.parent));
  if (unlinkat(parent.fd(), split.base.c_str(), 0) != 0) {
    return ErrnoStatus(errno, absl::StrCat("unlink ", JoinPath(path_, relative)));
  }
  return absl::OkStatus();
}

StatusOr<std::string> ReadFile(const std::string& path, size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return ReadAll(fd.get(), limit, path);
}

Status WriteFileAtomic(const std::string& path, std::string_view data, mode_t mode, Durable durable) {
  ASSIGN_OR_RETURN(const Split split, SplitPath(path));
  ASSIGN_OR_RETURN(const Dir parent, Dir::Open(split.parent));
  return parent.WriteAtomic(split.base, data, mode, durable);
}

Status WriteFileOrdered(const std::string& path, std::string_view data, mode_t mode) {
  ASSIGN_OR_RETURN(const Split split, SplitPath(path));
  ASSIGN_OR_RETURN(const Dir parent, Dir::Open(split.parent));
  return WriteBeneath(parent, split.base, data, mode, true, false);
}

Status SyncFileName(const std::string& path) {
  ASSIGN_OR_RETURN(const Split split, SplitPath(path));
  const Fd parent(open(split.parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid()) return ErrnoStatus(errno, absl::StrCat("open ", split.parent));
  return fsync(parent.get()) == 0 ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("fsync ", split.parent));
}

Status MakeDirs(const std::string& path, mode_t mode) {
  // It mostly exists.
  if (struct stat st{}; stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return absl::OkStatus();
  // Else what it lies in mostly does.
  if (mkdir(path.c_str(), mode) == 0) return absl::OkStatus();
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    struct stat st {};
    if (mkdir(part.c_str(), mode) != 0 && !(stat(part.c_str(), &st) == 0 && S_ISDIR(st.st_mode))) {
      return ErrnoStatus(errno == 0 ? ENOTDIR : errno, absl::StrCat("mkdir ", part));
    }
    if (slash == std::string::npos) return absl::OkStatus();
  }
}

Status RemoveAll(const std::string& path) {
  ASSIGN_OR_RETURN(const Split split, SplitPath(path));
  const StatusOr<Dir> parent = Dir::Open(split.parent);
  if (!parent.ok()) return ErrnoOf(parent.status()) == ENOENT ? absl::OkStatus() : parent.status();
  return parent->RemoveAll(split.base);
}

StatusOr<std::vector<std::string>> ListDir(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return ListFd(std::move(fd), path);
}

bool Exists(const std::string& path) { return faccessat(AT_FDCWD, path.c_str(), F_OK, AT_EACCESS) == 0; }

std::string JoinPath(std::string_view a, std::string_view b) {
  if (a.empty()) return std::string(b);
  while (!b.empty() && b.front() == '/') b.remove_prefix(1);
  if (b.empty() || b == ".") return std::string(a);
  if (a == ".") return std::string(b);
  while (a.size() > 1 && a.back() == '/') a.remove_suffix(1);
  return a == "/" ? absl::StrCat("/", b) : absl::StrCat(a, "/", b);
}

}  // namespace skiff
