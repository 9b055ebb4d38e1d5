#include "bpf/objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "absl/strings/str_split.h"
#include "bpf/log_scope.h"

namespace skiff::bpf {

namespace {

bool OnBpffs(const std::string& path) {
  struct statfs fs;
  return statfs(path.c_str(), &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

bool IsMountPoint(const std::string& path) {
  struct stat here, above;
  if (stat(path.c_str(), &here) != 0 || stat((path + "/..").c_str(), &above) != 0) return false;
  return here.st_dev != above.st_dev;
}

}  // namespace

Status EnsureBpffs(const std::string& dir) {
  constexpr std::string_view kUsual = "/sys/fs/bpf";
  bool usual = dir == kUsual || dir.starts_with(std::string(kUsual) + "/");
  std::string at = usual ? std::string(kUsual) : dir;
  if (!usual) {
    // A directory below a bpffs that is mounted elsewhere needs no mount of its own; mkdir works there too.
    RETURN_IF_ERROR(MakeDirs(dir, 0700));
  }
  if (!OnBpffs(at)) {
    if (mount("bpffs", at.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
      return ErrnoStatus(errno, absl::StrCat("mount bpffs at ", at));
    }
  }
  if (usual) RETURN_IF_ERROR(MakeDirs(dir, 0700));
  return absl::OkStatus();
}

Status RemoveBpffsDir(const std::string& dir) {
  if (IsMountPoint(dir) && OnBpffs(dir) && dir != "/sys/fs/bpf") {
    if (umount2(dir.c_str(), 0) != 0) return ErrnoStatus(errno, absl::StrCat("unmount ", dir));
  }
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("remove ", dir));
  return absl::OkStatus();
}

StatusOr<std::string> FindCgroup2(const std::string& mountinfo) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(mountinfo));
  std::string found;
  for (std::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // "35 24 0:30 /root /mount options... - type source super"
    std::vector<std::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2 || !halves[1].starts_with("cgroup2 ")) continue;
    std::vector<std::string_view> fields = absl::StrSplit(halves[0], ' ');
    if (fields.size() < 5) continue;
    if (fields[3] == "/") return std::string(fields[4]);
    if (found.empty()) found = fields[4];
  }
  if (found.empty()) return NotFound("no cgroup v2 hierarchy is mounted");
  return found;
}

StatusOr<uint64_t> NetnsCookie() {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
  if (getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return ErrnoStatus(errno, "SO_NETNS_COOKIE");
  }
  return cookie;
}

Status Load(bpf_object* object, const std::string& dir) {
  LogScope log;
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    if (dir.empty()) break;
    std::string name = bpf_map__name(map);
    if (name.find('.') != std::string::npos) continue;  // .rodata and the like belong to the program
    if (int err = bpf_map__set_pin_path(map, JoinPath(dir, name).c_str()); err != 0) {
      return log.Error(err, absl::StrCat("set pin path of map ", name));
    }
  }
  if (int err = bpf_object__load(object); err != 0) {
    return log.Error(err, absl::StrCat("load kernel programs ", bpf_object__name(object)));
  }
  return absl::OkStatus();
}

Status AttachCgroup(bpf_program* program, int cgroup_fd, const std::string& pin) {
  LogScope log;
  std::string_view name = bpf_program__name(program);
  struct stat cgroup;
  if (fstat(cgroup_fd, &cgroup) != 0) return ErrnoStatus(errno, "stat cgroup");
  if (bpf_link* link = bpf_link__open(pin.c_str()); link != nullptr) {
    // A removed cgroup reads as id 0. On cgroup v2 the id of a cgroup is its inode number.
    bpf_link_info info = {};
    __u32 size = sizeof(info);
    int err = bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &size);
    if (err == 0 && info.cgroup.cgroup_id == cgroup.st_ino)
      err = bpf_link__update_program(link, program);
    else
      err = -ENOLINK;
    if (err == 0) {
      bpf_link__destroy(link);  // closes our descriptor; the pin holds the link
      return absl::OkStatus();
    }
    bpf_link__unpin(link);
    bpf_link__destroy(link);
  }
  bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
  if (link == nullptr) return log.Error(-errno, absl::StrCat("attach ", name, " to the cgroup"));
  int err = bpf_link__pin(link, pin.c_str());
  if (err != 0) {
    bpf_link__destroy(link);
    return log.Error(err, absl::StrCat("pin ", pin));
  }
  bpf_link__destroy(link);
  return absl::OkStatus();
}

Status AttachIterator(bpf_program* program, int map_fd, const std::string& pin) {
  LogScope log;
  unlink(pin.c_str());
  bpf_iter_link_info info = {};
  info.map.map_fd = static_cast<__u32>(map_fd);
  LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
  bpf_link* link = bpf_program__attach_iter(program, &opts);
  if (link == nullptr) return log.Error(-errno, absl::StrCat("attach iterator ", bpf_program__name(program)));
  int err = bpf_link__pin(link, pin.c_str());
  bpf_link__destroy(link);
  if (err != 0) return log.Error(err, absl::StrCat("pin ", pin));
  return absl::OkStatus();
}

StatusOr<Fd> OpenPinned(const std::string& path) {
  Fd fd(bpf_obj_get(path.c_str()));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return fd;
}

Status RunIterator(const std::string& link_pin, const std::function<void(std::string_view)>& data) {
  ASSIGN_OR_RETURN(Fd link, OpenPinned(link_pin));
  Fd iter(bpf_iter_create(link.get()));
  if (!iter.valid()) return ErrnoStatus(errno, absl::StrCat("iterate ", link_pin));
  char buffer[16384];
  for (;;) {
    ssize_t n = read(iter.get(), buffer, sizeof(buffer));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat("read ", link_pin));
    if (n == 0) return absl::OkStatus();
    data(std::string_view(buffer, static_cast<size_t>(n)));
  }
}

}  // namespace skiff::bpf
