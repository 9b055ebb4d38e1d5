#include "cni/plugin/stale_flows.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "base/netlink.h"

namespace skiff::cni {
namespace {

struct FreeSocket {
  void operator()(nl_sock* s) const { nl_socket_free(s); }
};
struct FreeMessage {
  void operator()(nl_msg* m) const { nlmsg_free(m); }
};

using Message = std::unique_ptr<nl_msg, FreeMessage>;

Message Request(int type, int flags, uint8_t family) {
  Message message(nlmsg_alloc_simple(NFNL_SUBSYS_CTNETLINK << 8 | type, NLM_F_REQUEST | flags));
  nfgenmsg header{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0};
  if (message != nullptr) nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO);
  return message;
}

template <size_t N>
std::array<nlattr*, N + 1> Nested(nlattr* attribute) {
  std::array<nlattr*, N + 1> out{};
  if (attribute != nullptr && nla_parse_nested(out.data(), N, attribute, nullptr) < 0) out.fill(nullptr);
  return out;
}

// A flow's first direction, as bytes that name it to the kernel.
struct Flow {
  uint8_t family;
  std::string tuple;
  uint16_t zone;
};

struct Wanted {
  std::set<uint16_t> ports;
  std::set<std::string> addresses;
};

void Take(nlmsghdr* header, const Wanted& wanted, std::vector<Flow>* out) {
  std::array<nlattr*, CTA_MAX + 1> a{};
  if (nlmsg_parse(header, sizeof(nfgenmsg), a.data(), CTA_MAX, nullptr) < 0 || a[CTA_TUPLE_ORIG] == nullptr) return;
  const auto tuple = Nested<CTA_TUPLE_MAX>(a[CTA_TUPLE_ORIG]);
  const auto protocol = Nested<CTA_PROTO_MAX>(tuple[CTA_TUPLE_PROTO]);
  const auto ip = Nested<CTA_IP_MAX>(tuple[CTA_TUPLE_IP]);
  nlattr* port = protocol[CTA_PROTO_DST_PORT];
  if (protocol[CTA_PROTO_NUM] == nullptr || nla_get_u8(protocol[CTA_PROTO_NUM]) != IPPROTO_UDP || port == nullptr ||
      nla_len(port) < 2 || !wanted.ports.contains(ntohs(nla_get_u16(port))))
    return;
  const uint8_t family = static_cast<const nfgenmsg*>(nlmsg_data(header))->nfgen_family;
  nlattr* destination = ip[family == AF_INET ? CTA_IP_V4_DST : CTA_IP_V6_DST];
  char text[INET6_ADDRSTRLEN] = "";
  if (destination == nullptr || nla_len(destination) < (family == AF_INET ? 4 : 16) ||
      inet_ntop(family, nla_data(destination), text, sizeof text) == nullptr || !wanted.addresses.contains(text))
    return;
  const uint16_t zone = a[CTA_ZONE] != nullptr ? nla_get_u16(a[CTA_ZONE]) : 0;
  out->push_back({family,
                  std::string(static_cast<const char*>(nla_data(a[CTA_TUPLE_ORIG])),
                              static_cast<size_t>(nla_len(a[CTA_TUPLE_ORIG]))),
                  zone});
}

// Reads answers until the request with this number has had its last one; `each` sees the others.
template <typename F>
Status Receive(nl_sock* socket, uint32_t sequence, F each) {
  constexpr size_t kSize = 32768;
  const std::unique_ptr<char[]> buffer(new char[kSize]);
  for (;;) {
    ssize_t n = recv(nl_socket_get_fd(socket), buffer.get(), kSize, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "conntrack: netlink");
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.get()); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_seq != sequence) continue;
      if (h->nlmsg_type == NLMSG_DONE) return absl::OkStatus();
      if (h->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(nlmsg_data(h))->error;
        return error == 0 ? absl::OkStatus() : ErrnoStatus(error, "conntrack");
      }
      each(h);
    }
  }
}

}  // namespace

Status ForgetUdpFlows(const std::set<uint16_t>& ports) {
  if (ports.empty()) return absl::OkStatus();
  Wanted wanted{ports, {}};
  ASSIGN_OR_RETURN(const auto routes, Netlink::Open());
  ASSIGN_OR_RETURN(const std::vector<Address> addresses, routes->Addresses(0));
  for (const Address& address : addresses) wanted.addresses.insert(address.address);

  const std::unique_ptr<nl_sock, FreeSocket> socket(nl_socket_alloc());
  if (socket == nullptr) return ErrnoStatus(ENOMEM, "conntrack");
  if (nl_connect(socket.get(), NETLINK_NETFILTER) < 0) return absl::OkStatus();
  const Message list = Request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
  if (list == nullptr || nl_send_auto(socket.get(), list.get()) < 0) return absl::OkStatus();
  std::vector<Flow> flows;
  if (!Receive(socket.get(), nlmsg_hdr(list.get())->nlmsg_seq, [&](nlmsghdr* h) { Take(h, wanted, &flows); }).ok())
    return absl::OkStatus();
  for (const Flow& flow : flows) {
    const Message remove = Request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, flow.family);
    if (remove == nullptr) return ErrnoStatus(ENOMEM, "conntrack");
    nla_put(remove.get(), CTA_TUPLE_ORIG | NLA_F_NESTED, static_cast<int>(flow.tuple.size()), flow.tuple.data());
    if (flow.zone != 0) nla_put_u16(remove.get(), CTA_ZONE, flow.zone);
    if (nl_send_auto(socket.get(), remove.get()) < 0) return Internal("conntrack: cannot send");
    const Status removed = Receive(socket.get(), nlmsg_hdr(remove.get())->nlmsg_seq, [](nlmsghdr*) {});
    if (!removed.ok() && ErrnoOf(removed) != ENOENT) return removed;  // gone by itself is as good
  }
  return absl::OkStatus();
}

}  // namespace skiff::cni
