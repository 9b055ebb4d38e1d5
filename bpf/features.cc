#include "bpf/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "bpf/devices.h"
#include "bpf/objects.h"

namespace skiff::bpf {

namespace {

// libbpf answers 1, 0 or -errno where it cannot tell.
bool HasHelper(bpf_prog_type type, bpf_func_id helper) { return libbpf_probe_bpf_helper(type, helper, nullptr) != 0; }
bool HasMapType(bpf_map_type type) { return libbpf_probe_bpf_map_type(type, nullptr) != 0; }

bool HasSetRetval() { return HasHelper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval); }
bool HasNetnsCookieHelper() { return HasHelper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie); }
bool HasSocketStorage() { return HasMapType(BPF_MAP_TYPE_SK_STORAGE); }
bool HasPacketPrograms() { return HasHelper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect); }
bool HasNetnsCookie() { return ErrnoOf(NetnsCookie().status()) != ENOPROTOOPT; }
bool HasTypeInformation() { return access("/sys/kernel/btf/vmlinux", F_OK) == 0; }
bool HasPidfdGetfd() {
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
  return syscall(SYS_pidfd_getfd, -1, -1, 0) == 0 || errno != ENOSYS;
}

// Asks for a socket that cannot be: a kernel that can destroy sockets looks for it (ENOENT), one that cannot says so.
bool HasSocketDestroy() {
  Fd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return errno != EPROTONOSUPPORT;
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message = {};
  message.header.nlmsg_len = sizeof(message);
  message.header.nlmsg_type = SOCK_DESTROY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.request.sdiag_family = AF_INET;
  message.request.sdiag_protocol = IPPROTO_UDP;
  message.request.id.idiag_cookie[0] = message.request.id.idiag_cookie[1] = 0x5f1ff;
  if (send(fd.get(), &message, sizeof(message), 0) < 0) return true;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer = {};
  if (recv(fd.get(), &answer, sizeof(answer), 0) < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr)))
    return true;
  return answer.header.nlmsg_type != NLMSG_ERROR || answer.error.error != -EOPNOTSUPP;
}

}  // namespace

const std::vector<Feature>& Features() {
  static const std::vector<Feature> features = {
      {"kernel type information (/sys/kernel/btf/vmlinux)", "5.4", "no kernel program can be loaded", true,
       HasTypeInformation},
      {"socket storage maps", "5.2", "no socket is served", true, HasSocketStorage},
      {"bpf_get_netns_cookie for socket hooks", "5.7", "no socket is served", true, HasNetnsCookieHelper},
      {"bpf_set_retval", "5.18", "no socket is served", true, HasSetRetval},
      {"SO_NETNS_COOKIE", "5.14", "no socket is served", true, HasNetnsCookie},
      {"tc programs", "4.1", "nothing from outside is served", true, HasPacketPrograms},
      {"pidfd_getfd", "5.6", "connected UDP sockets of endpoints that are gone are aborted, not moved", false,
       HasPidfdGetfd},
      {"tcx", "6.6", "pods' devices with somebody else's ingress qdisc (the bandwidth plugin's) are left out", false,
       HasTcx},
      {"SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY)", "4.5",
       "connected UDP sockets stay with endpoints that are gone where no other is left", false, HasSocketDestroy},
  };
  return features;
}

std::vector<Feature> Missing(const std::vector<Feature>& features) {
  std::vector<Feature> out;
  for (const Feature& feature : features) {
    if (!feature.probe()) out.push_back(feature);
  }
  return out;
}

Status Explain(const Status& status, const std::vector<Feature>& missing) {
  std::string names = RequiredNames(missing);
  if (status.ok() || names.empty()) return status;
  return Annotate(status, absl::StrCat("this kernel lacks ", names));
}

std::string RequiredNames(const std::vector<Feature>& missing) {
  std::string out;
  for (const Feature& feature : missing) {
    if (feature.required) absl::StrAppend(&out, out.empty() ? "" : ", ", feature.name, " (Linux ", feature.since, ")");
  }
  return out;
}

}  // namespace skiff::bpf
