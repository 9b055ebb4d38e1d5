#include "kubelet/volume/host_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"

namespace skiff::kubelet {

Status ValidateNoBacksteps(std::string_view path) {
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") return InvalidArgument("must not contain '..'");
  }
  return absl::OkStatus();
}

Status CheckHostPath(const std::string& path, const std::string& type) {
  if (Status status = ValidateNoBacksteps(path); !status.ok()) {
    return InvalidArgument("invalid HostPath `", path, "`: ", status.message());
  }
  if (type.empty()) return absl::OkStatus();
  struct stat st {};
  const bool exists = stat(path.c_str(), &st) == 0;
  if (type == "DirectoryOrCreate" && !exists) {
    RETURN_IF_ERROR(MakeDirs(path, 0755));
    return absl::OkStatus();
  }
  if (type == "FileOrCreate" && !exists) {
    const Fd fd(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
    return absl::OkStatus();
  }
  const mode_t format = exists ? st.st_mode & S_IFMT : 0;
  struct Kind {
    std::string_view type;
    mode_t format;
    std::string_view words;
  };
  static constexpr Kind kKinds[] = {
      {"Directory", S_IFDIR, "directory"},
      {"DirectoryOrCreate", S_IFDIR, "directory"},
      {"File", S_IFREG, "file"},
      {"FileOrCreate", S_IFREG, "file"},
      {"Socket", S_IFSOCK, "socket file"},
      {"CharDevice", S_IFCHR, "character device"},
      {"BlockDevice", S_IFBLK, "block device"},
  };
  for (const Kind& kind : kKinds) {
    if (type != kind.type) continue;
    if (format == kind.format) return absl::OkStatus();
    return FailedPrecondition("hostPath type check failed: ", path, " is not a ", kind.words);
  }
  return InvalidArgument(type, " is an invalid volume type");
}

}  // namespace skiff::kubelet
