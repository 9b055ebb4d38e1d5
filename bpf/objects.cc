#include "bpf/objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/pkt_sched.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <functional>

#include "absl/strings/str_split.h"

namespace skiff::bpf {

namespace {

constexpr size_t kMaxLog = 64 * 1024;
// Where our filters stand on a device.
constexpr uint32_t kTcHandle = 1, kTcPriority = 23583;
std::string* log_sink = nullptr;

int KeepLog(enum libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || log_sink == nullptr) return 0;
  char line[4096];
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(line, sizeof(line), format, args);
  if (n >= static_cast<int>(sizeof(line))) {
    // A verifier log comes as one long message; its end is where the reason stands.
    std::string whole(static_cast<size_t>(n) + 1, '\0');
    vsnprintf(whole.data(), whole.size(), format, again);
    whole.pop_back();
    log_sink->append(whole);
  } else if (n > 0) {
    log_sink->append(line, static_cast<size_t>(n));
  }
  va_end(again);
  if (log_sink->size() > kMaxLog) log_sink->erase(0, log_sink->size() - kMaxLog);
  return n;
}

// While one lives, libbpf's messages are kept, not printed.
class LogScope {
 public:
  LogScope() {
    libbpf_set_print(KeepLog);
    log_sink = &log_;
  }
  ~LogScope() { log_sink = nullptr; }
  // libbpf returns -errno.
  Status Error(int err, std::string_view what) const {
    std::string context(what);
    if (!log_.empty()) absl::StrAppend(&context, " (", log_, ")");
    return ErrnoStatus(-err, context);
  }

 private:
  std::string log_;
};

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

namespace {

using EachTc = std::function<void(const tcmsg& message, std::string_view kind)>;

int OnTc(nl_msg* message, void* each) {
  const nlmsghdr* header = nlmsg_hdr(message);
  if (!nlmsg_valid_hdr(header, sizeof(tcmsg))) return NL_SKIP;
  const nlattr* kind = nlmsg_find_attr(nlmsg_hdr(message), sizeof(tcmsg), TCA_KIND);
  (*static_cast<EachTc*>(each))(*static_cast<const tcmsg*>(nlmsg_data(header)),
                                kind == nullptr ? std::string_view() : nla_get_string(kind));
  return NL_OK;
}

// The kernel's qdiscs (RTM_GETQDISC, of all devices) or filters (RTM_GETTFILTER). False if it does not tell. Read by
// hand: libnl-route's objects for them find their tables only in its shared library.
bool DumpTc(int type, int ifindex, uint32_t parent, EachTc each) {
  nl_sock* socket = nl_socket_alloc();
  if (socket == nullptr) return false;
  tcmsg ask = {};
  ask.tcm_ifindex = ifindex;
  ask.tcm_parent = parent;
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, OnTc, &each);
  bool told = nl_connect(socket, NETLINK_ROUTE) == 0 &&
              nl_send_simple(socket, type, NLM_F_DUMP, &ask, sizeof(ask)) >= 0 && nl_recvmsgs_default(socket) >= 0;
  nl_socket_free(socket);
  return told;
}

// Whether the device has the qdisc "ingress", as the bandwidth plugin makes it. It takes filters for the other
// direction without a word, and runs them on what comes in.
bool HasIngressQdisc(int ifindex) {
  bool out = false;
  DumpTc(RTM_GETQDISC, ifindex, 0, [&](const tcmsg& message, std::string_view kind) {
    out |= message.tcm_ifindex == ifindex && kind == "ingress";
  });
  return out;
}

}  // namespace

Status AttachTc(int ifindex, bool ingress, int program_fd) {
  LogScope log;
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
  int err = bpf_tc_hook_create(&hook);
  if (err != 0 && err != -EEXIST) return log.Error(err, absl::StrCat("make clsact qdisc on device ", ifindex));
  if (err == -EEXIST && HasIngressQdisc(ifindex)) {
    return FailedPrecondition("device ", ifindex,
                              " has an ingress qdisc of somebody else's, which clsact would replace");
  }
  LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program_fd, .flags = BPF_TC_F_REPLACE, .handle = kTcHandle,
              .priority = kTcPriority);
  if (err = bpf_tc_attach(&hook, &opts); err != 0) {
    return log.Error(err, absl::StrCat("attach program to device ", ifindex));
  }
  return absl::OkStatus();
}

namespace {

// Whether any filter is left in a direction; true where that cannot be told.
bool HasFilters(int ifindex, uint32_t parent) {
  bool any = false;
  bool told = DumpTc(RTM_GETTFILTER, ifindex, parent, [&](const tcmsg&, std::string_view) { any = true; });
  return any || !told;
}

}  // namespace

Status DetachTc(int ifindex, const std::string& name) {
  LogScope log;
  bool removed = false;
  for (auto point : {BPF_TC_INGRESS, BPF_TC_EGRESS}) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = kTcHandle, .priority = kTcPriority);
    if (bpf_tc_query(&hook, &opts) != 0) continue;
    Fd program(bpf_prog_get_fd_by_id(opts.prog_id));
    bpf_prog_info info = {};
    __u32 size = sizeof(info);
    if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) continue;
    if (!std::string_view(info.name).starts_with(name)) continue;
    opts.prog_id = 0;
    opts.prog_fd = 0;
    opts.flags = 0;
    if (int err = bpf_tc_detach(&hook, &opts); err != 0) {
      return log.Error(err, absl::StrCat("detach program from device ", ifindex));
    }
    removed = true;
  }
  if (removed && !HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) &&
      !HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
                .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    bpf_tc_hook_destroy(&hook);
  }
  return absl::OkStatus();
}

namespace {

// The name of the program at the driver; "" if there is none.
std::string XdpProgram(int ifindex) {
  LIBBPF_OPTS(bpf_xdp_query_opts, opts);
  if (bpf_xdp_query(ifindex, XDP_FLAGS_DRV_MODE, &opts) != 0 || opts.drv_prog_id == 0) return "";
  Fd program(bpf_prog_get_fd_by_id(opts.drv_prog_id));
  bpf_prog_info info = {};
  __u32 size = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) return "?";
  return info.name;
}

}  // namespace

Status AttachXdp(int ifindex, int program_fd, const std::string& name) {
  LogScope log;
  std::string there = XdpProgram(ifindex);
  if (!there.empty() && !there.starts_with(name)) {
    return absl::AlreadyExistsError(absl::StrCat("device ", ifindex, " has the XDP program ", there));
  }
  if (int err = bpf_xdp_attach(ifindex, program_fd, XDP_FLAGS_DRV_MODE, nullptr); err != 0) {
    return log.Error(err, absl::StrCat("attach XDP program to device ", ifindex));
  }
  return absl::OkStatus();
}

Status DetachXdp(int ifindex, const std::string& name) {
  LogScope log;
  std::string there = XdpProgram(ifindex);
  if (there.empty() || !there.starts_with(name)) return absl::OkStatus();
  if (int err = bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, nullptr); err != 0) {
    return log.Error(err, absl::StrCat("detach XDP program from device ", ifindex));
  }
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
