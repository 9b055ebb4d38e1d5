#include "kubelet/volume/atomic_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <random>
#include <set>

#include "base/files.h"

namespace skiff::kubelet {
namespace {

constexpr char kData[] = "..data";
constexpr char kDataTmp[] = "..data_tmp";

// "a//b/./c" -> "a/b/c": the paths were checked to have no "..".
std::string Clean(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part != ".") parts.push_back(part);
  }
  return absl::StrJoin(parts, "/");
}

StatusOr<std::string> ReadLink(int dir, const char* name) {
  char target[4096];
  const ssize_t n = readlinkat(dir, name, target, sizeof(target));
  if (n < 0) return ErrnoStatus(errno, absl::StrCat("readlink ", name));
  return std::string(target, n);
}

// Every path below the directory, files and directories, relative to it.
Status Walk(const Dir& dir, const std::string& prefix, std::set<std::string>* out) {
  ASSIGN_OR_RETURN(const auto names, dir.List());
  for (const std::string& name : names) {
    std::string path = prefix.empty() ? name : absl::StrCat(prefix, "/", name);
    struct stat st {};
    if (fstatat(dir.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoStatus(errno, path);
    out->insert(path);
    if (S_ISDIR(st.st_mode)) {
      ASSIGN_OR_RETURN(const Dir child, dir.OpenDir(name));
      RETURN_IF_ERROR(Walk(child, path, out));
    }
  }
  return absl::OkStatus();
}

// The payload's paths with all their parent directories.
std::set<std::string> PathsOf(const Payload& payload) {
  std::set<std::string> out;
  for (const auto& [path, file] : payload) {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      out.insert(path.substr(0, slash));
    }
    out.insert(path);
  }
  return out;
}

bool SameContent(const Dir& dir, const Payload& payload) {
  for (const auto& [path, file] : payload) {
    auto fd = dir.OpenFile(path, O_RDONLY | O_NONBLOCK);
    if (!fd.ok()) return false;
    struct stat st {};
    if (fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != static_cast<off_t>(file.data.size())) {
      return false;
    }
    char buffer[16384];
    size_t at = 0;
    for (;;) {
      const ssize_t n = read(fd->get(), buffer, sizeof(buffer));
      if (n < 0) return false;
      if (n == 0) break;
      if (at + n > file.data.size() || file.data.compare(at, n, buffer, n) != 0) return false;
      at += n;
    }
    if (at != file.data.size()) return false;
  }
  return true;
}

StatusOr<std::string> MakeTimestampDir(const Dir& dir, std::chrono::system_clock::time_point now) {
  const time_t seconds = std::chrono::system_clock::to_time_t(now);
  struct tm tm {};
  gmtime_r(&seconds, &tm);
  char stamp[40];
  strftime(stamp, sizeof(stamp), "..%Y_%m_%d_%H_%M_%S.", &tm);
  std::random_device random;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    std::string name = absl::StrCat(stamp, random());
    if (mkdirat(dir.fd(), name.c_str(), 0700) == 0) {
      if (fchmodat(dir.fd(), name.c_str(), 0755, 0) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", name));
      return name;
    }
    if (errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("mkdir ", dir.path(), "/", name));
  }
  return ErrnoStatus(EEXIST, absl::StrCat("mkdir ", dir.path(), "/", stamp));
}

Status WriteFiles(const Dir& dir, const Payload& payload) {
  for (const auto& [path, file] : payload) {
    if (const size_t slash = path.rfind('/'); slash != std::string::npos) {
      RETURN_IF_ERROR(dir.MakeDirs(path.substr(0, slash), 0755));
    }
    ASSIGN_OR_RETURN(const Fd fd, dir.OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    std::string_view rest = file.data;
    while (!rest.empty()) {
      const ssize_t n = write(fd.get(), rest.data(), rest.size());
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, absl::StrCat("write ", path));
      }
      rest.remove_prefix(n);
    }
    if (file.user && fchown(fd.get(), *file.user, -1) != 0) return ErrnoStatus(errno, absl::StrCat("chown ", path));
    if (fchmod(fd.get(), file.mode & 07777) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", path));
  }
  return absl::OkStatus();
}

Status MakeLinks(const Dir& dir, const Payload& payload) {
  for (const auto& [path, file] : payload) {
    const std::string name = path.substr(0, path.find('/'));
    const std::string target = absl::StrCat(kData, "/", name);
    if (symlinkat(target.c_str(), dir.fd(), name.c_str()) != 0) {
      if (errno == EEXIST) continue;
      return ErrnoStatus(errno, absl::StrCat("symlink ", name));
    }
    if (file.user && fchownat(dir.fd(), name.c_str(), *file.user, -1, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoStatus(errno, absl::StrCat("chown ", name));
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status ValidatePayloadPath(const std::string& path) {
  if (path.empty()) return InvalidArgument("invalid path: must not be empty: \"\"");
  if (path[0] == '/') return InvalidArgument("invalid path: must be relative path: ", path);
  if (path.size() > 4096) return InvalidArgument("invalid path: must be less than or equal to 4096 characters");
  bool first = true;
  for (std::string_view item : absl::StrSplit(path, '/')) {
    if (item == "..") return InvalidArgument("invalid path: must not contain '..': ", path);
    if (item.size() > 255) {
      return InvalidArgument("invalid path: filenames must be less than or equal to 255 characters");
    }
    if (first && item.substr(0, 2) == "..") return InvalidArgument("invalid path: must not start with '..': ", path);
    first = false;
  }
  if (Clean(path).empty()) return InvalidArgument("invalid path: must not be empty: \"", path, "\"");
  return absl::OkStatus();
}

StatusOr<bool> WriteAtomically(const std::string& path, const Payload& raw,
                               const std::function<Status()>& set_ownership,
                               std::chrono::system_clock::time_point now) {
  Payload cleaned;
  bool is_clean = true;
  for (const auto& [name, file] : raw) {
    RETURN_IF_ERROR(ValidatePayloadPath(name));
    if (Clean(name) != name) is_clean = false;
  }
  if (!is_clean) {
    for (const auto& [name, file] : raw) cleaned[Clean(name)] = file;
  }
  const Payload& payload = is_clean ? raw : cleaned;

  ASSIGN_OR_RETURN(const Dir dir, Dir::Open(path));
  std::string old_name;
  if (auto link = ReadLink(dir.fd(), kData); link.ok()) {
    // The link is ours alone; anything that is not a plain sibling name is not followed.
    if (!absl::StrContains(*link, '/') && *link != ".." && *link != ".") old_name = *std::move(link);
  } else if (ErrnoOf(link.status()) != ENOENT) {
    return link.status();
  }

  std::set<std::string> stale;
  bool must_write = true;
  if (!old_name.empty()) {
    auto old_dir = dir.OpenDir(old_name);
    if (old_dir.ok()) {
      RETURN_IF_ERROR(Walk(*old_dir, "", &stale));
      for (const std::string& keep : PathsOf(payload)) stale.erase(keep);
      must_write = !stale.empty() || !SameContent(*old_dir, payload);
    } else if (!absl::IsNotFound(old_dir.status())) {
      return old_dir.status();
    }
  }

  if (must_write) {
    ASSIGN_OR_RETURN(const std::string name, MakeTimestampDir(dir, now));
    auto fill = [&]() -> Status {
      ASSIGN_OR_RETURN(const Dir fresh, dir.OpenDir(name));
      RETURN_IF_ERROR(WriteFiles(fresh, payload));
      if (set_ownership) RETURN_IF_ERROR(set_ownership());
      // A crash between symlink and rename leaves the temporary link: it is ours to replace.
      if (unlinkat(dir.fd(), kDataTmp, 0) != 0 && errno != ENOENT) return ErrnoStatus(errno, kDataTmp);
      if (symlinkat(name.c_str(), dir.fd(), kDataTmp) != 0) return ErrnoStatus(errno, absl::StrCat("symlink ", name));
      if (renameat(dir.fd(), kDataTmp, dir.fd(), kData) != 0) return ErrnoStatus(errno, absl::StrCat("rename ", kData));
      return absl::OkStatus();
    };
    if (Status status = fill(); !status.ok()) {
      unlinkat(dir.fd(), kDataTmp, 0);
      dir.RemoveAll(name).IgnoreError();
      return status;
    }
  }

  RETURN_IF_ERROR(MakeLinks(dir, payload));
  for (const std::string& name : stale) {
    if (absl::StrContains(name, '/')) continue;
    if (unlinkat(dir.fd(), name.c_str(), 0) != 0 && errno != ENOENT) {
      return ErrnoStatus(errno, absl::StrCat("remove ", name));
    }
  }
  if (must_write && !old_name.empty()) RETURN_IF_ERROR(dir.RemoveAll(old_name));
  return must_write;
}

}  // namespace skiff::kubelet
