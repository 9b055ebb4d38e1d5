#include "bpf/devices.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "base/files.h"
#include "bpf/log_scope.h"

namespace skiff::bpf {

namespace {

// Where our filters stand on a device.
constexpr uint32_t kTcHandle = 1, kTcPriority = 23583;
// Of enum bpf_attach_type, which the floor distribution's headers and libbpf do not have yet.
constexpr uint32_t kTcxIngress = 46, kTcxEgress = 47;
constexpr size_t kMaxTcx = 64;  // the kernel's limit is 63

uint32_t TcxPoint(Direction direction) { return direction == Direction::kIn ? kTcxIngress : kTcxEgress; }
bpf_tc_attach_point TcPoint(Direction direction) {
  return direction == Direction::kIn ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

// 0 or -errno.
int Bpf(bpf_cmd command, bpf_attr* attr) { return syscall(SYS_bpf, command, attr, sizeof(*attr)) < 0 ? -errno : 0; }

int QueryTcx(int ifindex, uint32_t point, std::vector<uint32_t>* ids) {
  ids->assign(kMaxTcx, 0);
  bpf_attr attr = {};
  attr.query.target_fd = static_cast<uint32_t>(ifindex);  // a device's number here
  attr.query.attach_type = point;
  attr.query.prog_ids = reinterpret_cast<uintptr_t>(ids->data());
  attr.query.prog_cnt = kMaxTcx;
  int err = Bpf(BPF_PROG_QUERY, &attr);
  ids->resize(err == 0 ? attr.query.prog_cnt : 0);
  return err;
}

struct Program {
  Fd fd;
  uint32_t id = 0;
  std::string name;
  bool uses_our_maps = false;
};

Program Describe(Fd fd) {
  Program out{.fd = std::move(fd)};
  uint32_t maps[64] = {};
  bpf_prog_info info = {};
  info.nr_map_ids = std::size(maps);
  info.map_ids = reinterpret_cast<uintptr_t>(maps);
  uint32_t size = sizeof(info);
  if (!out.fd.valid() || bpf_obj_get_info_by_fd(out.fd.get(), &info, &size) != 0) return out;
  out.id = info.id;
  out.name = info.name;
  for (uint32_t i = 0; i < std::min<uint32_t>(info.nr_map_ids, std::size(maps)); i++) {
    Fd map(bpf_map_get_fd_by_id(maps[i]));
    bpf_map_info map_info = {};
    size = sizeof(map_info);
    if (!map.valid() || bpf_obj_get_info_by_fd(map.get(), &map_info, &size) != 0) continue;
    std::string_view name = map_info.name;
    out.uses_our_maps |= name == "frontends" || name == "flows";
  }
  return out;
}

// Ours among the device's tcx programs.
std::vector<Program> OurTcx(int ifindex, Direction direction, const std::string& name) {
  std::vector<Program> out;
  std::vector<uint32_t> ids;
  if (QueryTcx(ifindex, TcxPoint(direction), &ids) != 0) return out;
  for (uint32_t id : ids) {
    Program program = Describe(Fd(bpf_prog_get_fd_by_id(id)));
    if (program.name.starts_with(name) && program.uses_our_maps) out.push_back(std::move(program));
  }
  return out;
}

Status AttachTcx(int ifindex, Direction direction, int program_fd, const std::string& name) {
  std::vector<Program> had = OurTcx(ifindex, direction, name);
  uint32_t id = Describe(Fd(dup(program_fd))).id;
  for (const Program& program : had) {
    if (program.id == id) return absl::OkStatus();
  }
  bpf_attr attr = {};
  attr.target_fd = static_cast<uint32_t>(ifindex);
  attr.attach_bpf_fd = static_cast<uint32_t>(program_fd);
  attr.attach_type = TcxPoint(direction);
  if (!had.empty()) {
    attr.attach_flags = BPF_F_REPLACE;
    attr.replace_bpf_fd = static_cast<uint32_t>(had[0].fd.get());
  }
  if (int err = Bpf(BPF_PROG_ATTACH, &attr); err != 0) {
    return ErrnoStatus(-err, absl::StrCat("attach program to device ", ifindex));
  }
  return absl::OkStatus();
}

Status DetachTcx(int ifindex, Direction direction, const std::string& name) {
  for (const Program& program : OurTcx(ifindex, direction, name)) {
    bpf_attr attr = {};
    attr.target_fd = static_cast<uint32_t>(ifindex);
    attr.attach_bpf_fd = static_cast<uint32_t>(program.fd.get());
    attr.attach_type = TcxPoint(direction);
    if (int err = Bpf(BPF_PROG_DETACH, &attr); err != 0 && err != -ENOENT) {
      return ErrnoStatus(-err, absl::StrCat("detach program from device ", ifindex));
    }
  }
  return absl::OkStatus();
}

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

// Whether any filter is left in a direction; true where that cannot be told.
bool HasFilters(int ifindex, uint32_t parent) {
  bool any = false;
  bool told = DumpTc(RTM_GETTFILTER, ifindex, parent, [&](const tcmsg&, std::string_view) { any = true; });
  return any || !told;
}

// The name of the program at our place among the filters; "" if there is none.
std::string TcProgram(int ifindex, Direction direction) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = TcPoint(direction));
  LIBBPF_OPTS(bpf_tc_opts, opts, .handle = kTcHandle, .priority = kTcPriority);
  if (bpf_tc_query(&hook, &opts) != 0) return "";
  return Describe(Fd(bpf_prog_get_fd_by_id(opts.prog_id))).name;
}

Status AttachTc(const LogScope& log, int ifindex, Direction direction, int program_fd) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = TcPoint(direction));
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

Status DetachTc(const LogScope& log, int ifindex, Direction direction, const std::string& name) {
  std::string there = TcProgram(ifindex, direction);
  if (there.empty() || !there.starts_with(name)) return absl::OkStatus();
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = TcPoint(direction));
  LIBBPF_OPTS(bpf_tc_opts, opts, .handle = kTcHandle, .priority = kTcPriority);
  if (int err = bpf_tc_detach(&hook, &opts); err != 0) {
    return log.Error(err, absl::StrCat("detach program from device ", ifindex));
  }
  if (!HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) &&
      !HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))) {
    LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = ifindex,
                .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    bpf_tc_hook_destroy(&both);
  }
  return absl::OkStatus();
}

}  // namespace

bool HasTcx() {
  static const bool has = [] {
    std::vector<uint32_t> ids;
    return QueryTcx(1, kTcxIngress, &ids) == 0;  // the loopback device is always number 1
  }();
  return has;
}

Status AttachProgram(int ifindex, Direction direction, int program_fd, const std::string& name, bool tcx) {
  LogScope log;
  if (!tcx) return AttachTc(log, ifindex, direction, program_fd);
  RETURN_IF_ERROR(AttachTcx(ifindex, direction, program_fd, name));
  // Of a version before tcx. What it translates has been translated, so both may be there for a moment.
  return DetachTc(log, ifindex, direction, name);
}

Status DetachProgram(int ifindex, Direction direction, const std::string& name) {
  LogScope log;
  RETURN_IF_ERROR(DetachTcx(ifindex, direction, name));
  return DetachTc(log, ifindex, direction, name);
}

std::vector<std::string> AttachedPrograms(int ifindex, Direction direction, const std::string& name) {
  LogScope log;
  std::vector<std::string> out;
  for (const Program& program : OurTcx(ifindex, direction, name)) out.push_back(program.name);
  if (std::string there = TcProgram(ifindex, direction); !there.empty() && there.starts_with(name)) {
    out.push_back(std::move(there));
  }
  return out;
}

namespace {

// The name of the program at the driver; "" if there is none.
std::string XdpProgram(int ifindex) {
  LIBBPF_OPTS(bpf_xdp_query_opts, opts);
  if (bpf_xdp_query(ifindex, XDP_FLAGS_DRV_MODE, &opts) != 0 || opts.drv_prog_id == 0) return "";
  const Program program = Describe(Fd(bpf_prog_get_fd_by_id(opts.drv_prog_id)));
  return program.id == 0 ? "?" : program.name;
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

}  // namespace skiff::bpf
