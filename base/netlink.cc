#include "base/netlink.h"

#include <arpa/inet.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/strings/numbers.h"

namespace skiff {
namespace {

struct FreeMessage {
  void operator()(nl_msg* m) const { nlmsg_free(m); }
};
using Msg = std::unique_ptr<nl_msg, FreeMessage>;

template <typename Header>
Msg NewMessage(int type, int flags, const Header& header) {
  Msg message(nlmsg_alloc_simple(type, NLM_F_REQUEST | flags));
  if (message != nullptr) nlmsg_append(message.get(), const_cast<Header*>(&header), sizeof header, NLMSG_ALIGNTO);
  return message;
}

struct Ip {
  int family = 0;
  unsigned char bytes[16] = {};
  int size() const { return family == AF_INET ? 4 : 16; }
};

StatusOr<Ip> ParseIp(const std::string& text) {
  Ip ip;
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, text.c_str(), ip.bytes) == 1) {
      ip.family = family;
      return ip;
    }
  }
  return InvalidArgument("invalid IP address \"", text, "\"");
}

std::string FormatIp(int family, const nlattr* attribute) {
  if (attribute == nullptr || nla_len(attribute) < (family == AF_INET ? 4 : 16)) return "";
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, nla_data(attribute), text, sizeof text);
  return text;
}

// Forwarding entries do not say the family of their destination; its size does.
std::string FormatIpBySize(const nlattr* attribute) {
  if (attribute == nullptr) return "";
  return FormatIp(nla_len(attribute) == 4 ? AF_INET : AF_INET6, attribute);
}

StatusOr<std::array<unsigned char, 6>> ParseMac(const std::string& text) {
  std::array<unsigned, 6> parts{};
  std::array<unsigned char, 6> mac{};
  int used = 0;
  if (text.size() != 17 ||
      sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
             &parts[5], &used) != 6 ||
      used != 17) {
    return InvalidArgument("invalid hardware address \"", text, "\"");
  }
  for (size_t i = 0; i < 6; i++) mac[i] = static_cast<unsigned char>(parts[i]);
  return mac;
}

std::string FormatMac(const nlattr* attribute) {
  if (attribute == nullptr || nla_len(attribute) != 6) return "";
  const auto* b = static_cast<const unsigned char*>(nla_data(attribute));
  char text[18];
  snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
  return text;
}

Status PutMac(nl_msg* message, int type, const std::string& mac) {
  if (mac.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto bytes, ParseMac(mac));
  nla_put(message, type, bytes.size(), bytes.data());
  return absl::OkStatus();
}

Status CheckName(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos || name == "." || name == "..") {
    return InvalidArgument("invalid link name \"", name, "\"");
  }
  return absl::OkStatus();
}

uint32_t GetU32(const nlattr* attribute) {
  return attribute != nullptr && nla_len(attribute) >= 4 ? nla_get_u32(attribute) : 0;
}

std::string GetString(const nlattr* attribute) {
  if (attribute == nullptr) return "";
  const auto* text = static_cast<const char*>(nla_data(attribute));
  return std::string(text, strnlen(text, static_cast<size_t>(nla_len(attribute))));
}

// The attributes behind a message's fixed header; false where the message is too short for it.
template <typename Header, size_t N>
bool Parse(const nlmsghdr& message, const Header** header, std::array<nlattr*, N>* attributes) {
  attributes->fill(nullptr);
  auto* raw = const_cast<nlmsghdr*>(&message);
  if (nlmsg_parse(raw, sizeof(Header), attributes->data(), static_cast<int>(N) - 1, nullptr) < 0) return false;
  *header = static_cast<const Header*>(nlmsg_data(raw));
  return true;
}

std::optional<Link> ParseLink(const nlmsghdr& message) {
  const ifinfomsg* info = nullptr;
  std::array<nlattr*, IFLA_MAX + 1> a{};
  if (message.nlmsg_type != RTM_NEWLINK || !Parse(message, &info, &a) || info->ifi_family != AF_UNSPEC) return {};
  Link link;
  link.index = info->ifi_index;
  link.flags = info->ifi_flags;
  link.name = GetString(a[IFLA_IFNAME]);
  link.mac = FormatMac(a[IFLA_ADDRESS]);
  link.mtu = GetU32(a[IFLA_MTU]);
  link.master = static_cast<int>(GetU32(a[IFLA_MASTER]));
  if (a[IFLA_LINKINFO] == nullptr) return link;
  std::array<nlattr*, IFLA_INFO_MAX + 1> kind{};
  nla_parse_nested(kind.data(), IFLA_INFO_MAX, a[IFLA_LINKINFO], nullptr);
  link.kind = GetString(kind[IFLA_INFO_KIND]);
  if (link.kind == "veth") link.peer_index = static_cast<int>(GetU32(a[IFLA_LINK]));
  if (link.kind == "vxlan" && kind[IFLA_INFO_DATA] != nullptr) {
    std::array<nlattr*, IFLA_VXLAN_MAX + 1> v{};
    nla_parse_nested(v.data(), IFLA_VXLAN_MAX, kind[IFLA_INFO_DATA], nullptr);
    Link::Vxlan& vxlan = link.vxlan.emplace();
    vxlan.vni = GetU32(v[IFLA_VXLAN_ID]);
    vxlan.device = static_cast<int>(GetU32(v[IFLA_VXLAN_LINK]));
    vxlan.local = v[IFLA_VXLAN_LOCAL] != nullptr ? FormatIp(AF_INET, v[IFLA_VXLAN_LOCAL])
                                                 : FormatIp(AF_INET6, v[IFLA_VXLAN_LOCAL6]);
    if (v[IFLA_VXLAN_PORT] != nullptr) vxlan.port = ntohs(nla_get_u16(v[IFLA_VXLAN_PORT]));
    vxlan.learning = v[IFLA_VXLAN_LEARNING] != nullptr && nla_get_u8(v[IFLA_VXLAN_LEARNING]) != 0;
  }
  return link;
}

// The kernel's answer to a request: 0 or an errno, with its explanation where it gives one.
Status AnswerOf(const nlmsghdr& message, const std::string& context) {
  const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(&message));
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof *error)) return Internal(context, ": short netlink answer");
  if (error->error == 0) return absl::OkStatus();
  std::string words;
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) != 0) {
    size_t offset = NLMSG_ALIGN(sizeof *error);
    if ((message.nlmsg_flags & NLM_F_CAPPED) == 0) offset += NLMSG_ALIGN(error->msg.nlmsg_len) - sizeof(nlmsghdr);
    if (message.nlmsg_len > NLMSG_HDRLEN + offset) {
      std::array<nlattr*, NLMSGERR_ATTR_MAX + 1> a{};
      auto* first = reinterpret_cast<nlattr*>(static_cast<char*>(nlmsg_data(&message)) + offset);
      nla_parse(a.data(), NLMSGERR_ATTR_MAX, first, static_cast<int>(message.nlmsg_len - NLMSG_HDRLEN - offset),
                nullptr);
      words = GetString(a[NLMSGERR_ATTR_MSG]);
    }
  }
  return ErrnoStatus(-error->error, words.empty() ? context : absl::StrCat(context, ": ", words));
}

}  // namespace

StatusOr<std::unique_ptr<Netlink>> Netlink::Open() {
  nl_sock* socket = nl_socket_alloc();
  if (socket == nullptr) return ErrnoStatus(ENOMEM, "netlink");
  std::unique_ptr<Netlink> netlink(new Netlink(socket));
  const int error = nl_connect(socket, NETLINK_ROUTE);
  if (error < 0) return Internal("netlink: ", nl_geterror(error));
  const int on = 1;
  const int fd = nl_socket_get_fd(socket);
  // Both are conveniences of newer kernels: explained errors, and dumps that the kernel filters.
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  return netlink;
}

StatusOr<std::unique_ptr<Netlink>> Netlink::OpenIn(int netns_fd) {
  StatusOr<std::unique_ptr<Netlink>> result = Internal("not run");
  // A socket stays in the namespace it was made in. A thread of its own goes there, so that the caller's thread can
  // never be left in the wrong one.
  std::thread([&] {
    if (setns(netns_fd, CLONE_NEWNET) != 0) {
      result = ErrnoStatus(errno, "enter network namespace");
    } else {
      result = Open();
    }
  }).join();
  return result;
}

Netlink::~Netlink() { nl_socket_free(socket_); }

Status Netlink::Request(nl_msg* message, const std::string& context) {
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nlmsg_hdr(message)->nlmsg_flags |= NLM_F_ACK;
  const int sent = nl_send_auto(socket_, message);
  if (sent < 0) return Internal(context, ": ", nl_geterror(sent));
  const uint32_t sequence = nlmsg_hdr(message)->nlmsg_seq;
  alignas(nlmsghdr) char buffer[8192];
  for (;;) {
    ssize_t n = recv(nl_socket_get_fd(socket_), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat(context, ": netlink"));
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_seq == sequence && h->nlmsg_type == NLMSG_ERROR) return AnswerOf(*h, context);
    }
  }
}

Status Netlink::Dump(nl_msg* message, const std::string& context, const std::function<void(const nlmsghdr&)>& each) {
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nlmsg_hdr(message)->nlmsg_flags |= NLM_F_DUMP;
  const int sent = nl_send_auto(socket_, message);
  if (sent < 0) return Internal(context, ": ", nl_geterror(sent));
  const uint32_t sequence = nlmsg_hdr(message)->nlmsg_seq;
  // The kernel fills what the reader offers, up to 32 KiB.
  constexpr size_t kSize = 32768;
  const std::unique_ptr<char[]> buffer(new char[kSize]);
  bool interrupted = false;
  for (;;) {
    ssize_t n = recv(nl_socket_get_fd(socket_), buffer.get(), kSize, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat(context, ": netlink"));
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.get()); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_seq != sequence) continue;
      interrupted |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (h->nlmsg_type == NLMSG_ERROR) return AnswerOf(*h, context);
      if (h->nlmsg_type == NLMSG_DONE) {
        // The tables changed meanwhile, so that the listing may miss entries: EINTR asks the caller for another try.
        return interrupted ? ErrnoStatus(EINTR, context) : absl::OkStatus();
      }
      each(*h);
    }
  }
}

namespace {

// Lists until a listing was not interrupted by changes; a busy host gets the last one as it is.
template <typename T, typename F>
StatusOr<std::vector<T>> Consistent(F dump) {
  std::vector<T> out;
  for (int i = 0;; i++) {
    out.clear();
    const Status status = dump(&out);
    if (status.ok()) return out;
    if (ErrnoOf(status) != EINTR) return status;
    if (i >= 10) return out;
  }
}

}  // namespace

StatusOr<std::vector<Link>> Netlink::Links() {
  return Consistent<Link>([this](std::vector<Link>* out) {
    const Msg message = NewMessage(RTM_GETLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC});
    if (message != nullptr) nla_put_u32(message.get(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return Dump(message.get(), "list links", [out](const nlmsghdr& h) {
      if (std::optional<Link> link = ParseLink(h)) out->push_back(std::move(*link));
    });
  });
}

StatusOr<Link> Netlink::LinkByName(const std::string& name) {
  const std::string context = absl::StrCat("link \"", name, "\"");
  RETURN_IF_ERROR(CheckName(name));
  const Msg message = NewMessage(RTM_GETLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC});
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nla_put_string(message.get(), IFLA_IFNAME, name.c_str());
  nla_put_u32(message.get(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  const int sent = nl_send_auto(socket_, message.get());
  if (sent < 0) return Internal(context, ": ", nl_geterror(sent));
  const uint32_t sequence = nlmsg_hdr(message.get())->nlmsg_seq;
  constexpr size_t kSize = 32768;
  const std::unique_ptr<char[]> buffer(new char[kSize]);
  std::optional<Link> found;
  for (;;) {
    ssize_t n = recv(nl_socket_get_fd(socket_), buffer.get(), kSize, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat(context, ": netlink"));
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.get()); NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_seq != sequence) continue;
      if (h->nlmsg_type == NLMSG_ERROR) {
        RETURN_IF_ERROR(AnswerOf(*h, context));
        if (found) return *std::move(found);
        return ErrnoStatus(ENODEV, context);
      }
      found = ParseLink(*h);
    }
  }
}

Status Netlink::AddVeth(const std::string& name, const std::string& peer, int peer_netns_fd, uint32_t mtu,
                        const std::string& peer_mac, const std::string& mac) {
  const std::string context = absl::StrCat("add veth \"", name, "\"");
  RETURN_IF_ERROR(CheckName(name), context);
  RETURN_IF_ERROR(CheckName(peer), context);
  const Msg message = NewMessage(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{.ifi_family = AF_UNSPEC});
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nl_msg* m = message.get();
  nla_put_string(m, IFLA_IFNAME, name.c_str());
  if (mtu != 0) nla_put_u32(m, IFLA_MTU, mtu);
  RETURN_IF_ERROR(PutMac(m, IFLA_ADDRESS, mac), context);
  nlattr* info = nla_nest_start(m, IFLA_LINKINFO);
  nla_put_string(m, IFLA_INFO_KIND, "veth");
  nlattr* data = nla_nest_start(m, IFLA_INFO_DATA);
  nlattr* other = nla_nest_start(m, VETH_INFO_PEER);
  ifinfomsg header{.ifi_family = AF_UNSPEC};
  nlmsg_append(m, &header, sizeof header, NLMSG_ALIGNTO);
  nla_put_string(m, IFLA_IFNAME, peer.c_str());
  if (mtu != 0) nla_put_u32(m, IFLA_MTU, mtu);
  if (peer_netns_fd >= 0) nla_put_u32(m, IFLA_NET_NS_FD, static_cast<uint32_t>(peer_netns_fd));
  RETURN_IF_ERROR(PutMac(m, IFLA_ADDRESS, peer_mac), context);
  nla_nest_end(m, other);
  nla_nest_end(m, data);
  nla_nest_end(m, info);
  return Request(m, context);
}

Status Netlink::AddBridge(const std::string& name, uint32_t mtu) {
  const std::string context = absl::StrCat("add bridge \"", name, "\"");
  RETURN_IF_ERROR(CheckName(name), context);
  const Msg message = NewMessage(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{.ifi_family = AF_UNSPEC});
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nl_msg* m = message.get();
  nla_put_string(m, IFLA_IFNAME, name.c_str());
  if (mtu != 0) nla_put_u32(m, IFLA_MTU, mtu);
  nlattr* info = nla_nest_start(m, IFLA_LINKINFO);
  nla_put_string(m, IFLA_INFO_KIND, "bridge");
  nla_nest_end(m, info);
  return Request(m, context);
}

Status Netlink::AddVxlan(const std::string& name, const Link::Vxlan& vxlan, const std::string& mac, uint32_t mtu) {
  const std::string context = absl::StrCat("add vxlan \"", name, "\"");
  RETURN_IF_ERROR(CheckName(name), context);
  const Msg message = NewMessage(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{.ifi_family = AF_UNSPEC});
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nl_msg* m = message.get();
  nla_put_string(m, IFLA_IFNAME, name.c_str());
  if (mtu != 0) nla_put_u32(m, IFLA_MTU, mtu);
  RETURN_IF_ERROR(PutMac(m, IFLA_ADDRESS, mac), context);
  nlattr* info = nla_nest_start(m, IFLA_LINKINFO);
  nla_put_string(m, IFLA_INFO_KIND, "vxlan");
  nlattr* data = nla_nest_start(m, IFLA_INFO_DATA);
  nla_put_u32(m, IFLA_VXLAN_ID, vxlan.vni);
  if (!vxlan.local.empty()) {
    ASSIGN_OR_RETURN(const Ip ip, ParseIp(vxlan.local), context);
    nla_put(m, ip.family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, ip.size(), ip.bytes);
  }
  if (vxlan.device != 0) nla_put_u32(m, IFLA_VXLAN_LINK, static_cast<uint32_t>(vxlan.device));
  if (vxlan.port != 0) nla_put_u16(m, IFLA_VXLAN_PORT, htons(vxlan.port));
  nla_put_u8(m, IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  nla_nest_end(m, data);
  nla_nest_end(m, info);
  return Request(m, context);
}

Status Netlink::DeleteLink(int index) {
  const Msg message = NewMessage(RTM_DELLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = index});
  return Request(message.get(), absl::StrCat("delete link ", index));
}

Status Netlink::ChangeLink(int index, const std::string& context, const std::function<void(nl_msg*)>& attributes,
                           uint32_t flags, uint32_t change) {
  const Msg message = NewMessage(
      RTM_NEWLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = flags, .ifi_change = change});
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  if (attributes) attributes(message.get());
  return Request(message.get(), context);
}

Status Netlink::SetUp(int index, bool up) {
  return ChangeLink(index, absl::StrCat("set link ", index, up ? " up" : " down"), nullptr, up ? IFF_UP : 0, IFF_UP);
}

Status Netlink::SetMtu(int index, uint32_t mtu) {
  return ChangeLink(index, absl::StrCat("set mtu ", mtu, " of link ", index),
                    [mtu](nl_msg* m) { nla_put_u32(m, IFLA_MTU, mtu); });
}

Status Netlink::SetMac(int index, const std::string& mac) {
  ASSIGN_OR_RETURN(const auto bytes, ParseMac(mac));
  return ChangeLink(index, absl::StrCat("set address ", mac, " of link ", index),
                    [&bytes](nl_msg* m) { nla_put(m, IFLA_ADDRESS, bytes.size(), bytes.data()); });
}

Status Netlink::SetMaster(int index, int master) {
  return ChangeLink(index, absl::StrCat("set master ", master, " of link ", index),
                    [master](nl_msg* m) { nla_put_u32(m, IFLA_MASTER, static_cast<uint32_t>(master)); });
}

Status Netlink::SetHairpin(int index, bool on) {
  const Msg message = NewMessage(RTM_SETLINK, 0, ifinfomsg{.ifi_family = AF_BRIDGE, .ifi_index = index});
  const std::string context = absl::StrCat("set hairpin of link ", index);
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nlattr* port = nla_nest_start(message.get(), IFLA_PROTINFO | NLA_F_NESTED);
  nla_put_u8(message.get(), IFLA_BRPORT_MODE, on ? 1 : 0);
  nla_nest_end(message.get(), port);
  return Request(message.get(), context);
}

StatusOr<std::vector<Address>> Netlink::Addresses(int link) {
  return Consistent<Address>([this, link](std::vector<Address>* out) {
    ifaddrmsg filter{};
    filter.ifa_index = static_cast<unsigned>(link);
    const Msg message = NewMessage(RTM_GETADDR, 0, filter);
    return Dump(message.get(), "list addresses", [out, link](const nlmsghdr& h) {
      const ifaddrmsg* info = nullptr;
      std::array<nlattr*, IFA_MAX + 1> a{};
      if (h.nlmsg_type != RTM_NEWADDR || !Parse(h, &info, &a)) return;
      if (link != 0 && static_cast<int>(info->ifa_index) != link) return;
      // On point-to-point links IFA_ADDRESS is the peer; IFA_LOCAL is ours wherever it is given.
      const nlattr* ip = a[IFA_LOCAL] != nullptr ? a[IFA_LOCAL] : a[IFA_ADDRESS];
      out->push_back({.link = static_cast<int>(info->ifa_index),
                      .address = FormatIp(info->ifa_family, ip),
                      .prefix = info->ifa_prefixlen,
                      .family = info->ifa_family});
    });
  });
}

Status Netlink::ChangeAddress(int type, int flags, const Address& address) {
  const std::string context = absl::StrCat(type == RTM_NEWADDR ? "add" : "delete", " address ", address.address, "/",
                                           address.prefix, " of link ", address.link);
  ASSIGN_OR_RETURN(const Ip ip, ParseIp(address.address), context);
  if (address.prefix < 0 || address.prefix > ip.size() * 8) return InvalidArgument(context, ": invalid prefix length");
  ifaddrmsg header{};
  header.ifa_family = static_cast<uint8_t>(ip.family);
  header.ifa_prefixlen = static_cast<uint8_t>(address.prefix);
  header.ifa_index = static_cast<unsigned>(address.link);
  // An address that is still being checked for duplicates cannot be bound to; nobody else has these.
  if (ip.family == AF_INET6) header.ifa_flags = IFA_F_NODAD;
  const Msg message = NewMessage(type, flags, header);
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nla_put(message.get(), IFA_LOCAL, ip.size(), ip.bytes);
  nla_put(message.get(), IFA_ADDRESS, ip.size(), ip.bytes);
  return Request(message.get(), context);
}

Status Netlink::AddAddress(const Address& address) {
  return ChangeAddress(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
}

Status Netlink::DeleteAddress(const Address& address) { return ChangeAddress(RTM_DELADDR, 0, address); }

StatusOr<std::vector<Route>> Netlink::Routes(int family) {
  return Consistent<Route>([this, family](std::vector<Route>* out) {
    rtmsg filter{};
    filter.rtm_family = static_cast<uint8_t>(family);
    filter.rtm_table = RT_TABLE_MAIN;
    const Msg message = NewMessage(RTM_GETROUTE, 0, filter);
    const Status status = Dump(message.get(), "list routes", [out](const nlmsghdr& h) {
      const rtmsg* info = nullptr;
      std::array<nlattr*, RTA_MAX + 1> a{};
      if (h.nlmsg_type != RTM_NEWROUTE || !Parse(h, &info, &a)) return;
      const uint32_t table = a[RTA_TABLE] != nullptr ? GetU32(a[RTA_TABLE]) : info->rtm_table;
      if (table != RT_TABLE_MAIN || (info->rtm_flags & RTM_F_CLONED) != 0) return;
      Route route;
      if (a[RTA_DST] != nullptr) {
        route.destination = absl::StrCat(FormatIp(info->rtm_family, a[RTA_DST]), "/", info->rtm_dst_len);
      } else {
        route.destination = info->rtm_family == AF_INET ? "default" : "::/0";
      }
      route.gateway = FormatIp(info->rtm_family, a[RTA_GATEWAY]);
      route.link = static_cast<int>(GetU32(a[RTA_OIF]));
      route.onlink = (info->rtm_flags & RTNH_F_ONLINK) != 0;
      if (a[RTA_MULTIPATH] != nullptr && nla_len(a[RTA_MULTIPATH]) >= static_cast<int>(sizeof(rtnexthop))) {
        const auto* hop = static_cast<const rtnexthop*>(nla_data(a[RTA_MULTIPATH]));
        if (hop->rtnh_len <= nla_len(a[RTA_MULTIPATH]) && hop->rtnh_len >= sizeof *hop) {
          std::array<nlattr*, RTA_MAX + 1> inner{};
          nla_parse(inner.data(), RTA_MAX, reinterpret_cast<nlattr*>(RTNH_DATA(const_cast<rtnexthop*>(hop))),
                    hop->rtnh_len - static_cast<int>(sizeof *hop), nullptr);
          route.gateway = FormatIp(info->rtm_family, inner[RTA_GATEWAY]);
          route.link = hop->rtnh_ifindex;
          route.onlink = (hop->rtnh_flags & RTNH_F_ONLINK) != 0;
        }
      }
      route.source = FormatIp(info->rtm_family, a[RTA_PREFSRC]);
      route.scope = info->rtm_scope;
      route.table = table;
      route.protocol = info->rtm_protocol;
      out->push_back(std::move(route));
    });
    // A family without any table yet answers ENOENT to a filtered dump.
    if (ErrnoOf(status) == ENOENT) return absl::OkStatus();
    return status;
  });
}

Status Netlink::ChangeRoute(int type, int flags, const Route& route) {
  const std::string context = absl::StrCat(type == RTM_NEWROUTE ? "set" : "delete", " route to ", route.destination,
                                           route.gateway.empty() ? "" : " via ", route.gateway);
  Ip destination, gateway, source;
  int prefix = 0;
  if (!route.gateway.empty()) {
    ASSIGN_OR_RETURN(gateway, ParseIp(route.gateway), context);
  }
  if (route.destination == "default") {
    destination.family = gateway.family != 0 ? gateway.family : AF_INET;
  } else {
    const size_t slash = route.destination.find('/');
    ASSIGN_OR_RETURN(destination, ParseIp(route.destination.substr(0, slash)), context);
    prefix = destination.size() * 8;
    if (slash != std::string::npos && (!absl::SimpleAtoi(route.destination.substr(slash + 1), &prefix) || prefix < 0 ||
                                       prefix > destination.size() * 8)) {
      return InvalidArgument(context, ": invalid prefix length");
    }
  }
  if (gateway.family != 0 && gateway.family != destination.family) {
    return InvalidArgument(context, ": gateway and destination are of different families");
  }
  rtmsg header{};
  header.rtm_family = static_cast<uint8_t>(destination.family);
  header.rtm_dst_len = static_cast<uint8_t>(prefix);
  header.rtm_table = route.table < 256 ? static_cast<uint8_t>(route.table) : RT_TABLE_UNSPEC;
  const bool adding = type == RTM_NEWROUTE;
  header.rtm_protocol = adding ? route.protocol : static_cast<uint8_t>(RTPROT_UNSPEC);
  header.rtm_type = adding ? RTN_UNICAST : RTN_UNSPEC;
  header.rtm_scope = route.scope;
  if (!adding) {
    header.rtm_scope = RT_SCOPE_NOWHERE;  // matches any
  } else if (route.scope == 0 && destination.family == AF_INET && route.gateway.empty()) {
    header.rtm_scope = RT_SCOPE_LINK;
  }
  if (route.onlink) header.rtm_flags = RTNH_F_ONLINK;
  const Msg message = NewMessage(type, flags, header);
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  nl_msg* m = message.get();
  if (prefix > 0) nla_put(m, RTA_DST, destination.size(), destination.bytes);
  if (gateway.family != 0) nla_put(m, RTA_GATEWAY, gateway.size(), gateway.bytes);
  if (route.link != 0) nla_put_u32(m, RTA_OIF, static_cast<uint32_t>(route.link));
  if (route.table >= 256) nla_put_u32(m, RTA_TABLE, route.table);
  if (!route.source.empty()) {
    ASSIGN_OR_RETURN(source, ParseIp(route.source), context);
    nla_put(m, RTA_PREFSRC, source.size(), source.bytes);
  }
  return Request(m, context);
}

Status Netlink::ReplaceRoute(const Route& route) {
  return ChangeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
}

Status Netlink::DeleteRoute(const Route& route) { return ChangeRoute(RTM_DELROUTE, 0, route); }

StatusOr<std::vector<Neighbour>> Netlink::Neighbours(int link, bool fdb) {
  return Consistent<Neighbour>([this, link, fdb](std::vector<Neighbour>* out) {
    ndmsg filter{};
    filter.ndm_family = fdb ? AF_BRIDGE : AF_UNSPEC;
    const Msg message = NewMessage(RTM_GETNEIGH, 0, filter);
    return Dump(message.get(), fdb ? "list forwarding entries" : "list neighbours", [=](const nlmsghdr& h) {
      const ndmsg* info = nullptr;
      std::array<nlattr*, NDA_MAX + 1> a{};
      if (h.nlmsg_type != RTM_NEWNEIGH || !Parse(h, &info, &a)) return;
      if (link != 0 && info->ndm_ifindex != link) return;
      // Multicast and loopback entries that the kernel makes for itself.
      if (!fdb && (info->ndm_state & NUD_NOARP) != 0) return;
      out->push_back({.link = info->ndm_ifindex,
                      .address = FormatIpBySize(a[NDA_DST]),
                      .mac = FormatMac(a[NDA_LLADDR]),
                      .fdb = fdb,
                      .permanent = (info->ndm_state & NUD_PERMANENT) != 0});
    });
  });
}

Status Netlink::ChangeNeighbour(int type, int flags, const Neighbour& neighbour) {
  const std::string context =
      absl::StrCat(type == RTM_NEWNEIGH ? "set" : "delete", neighbour.fdb ? " forwarding entry " : " neighbour ",
                   neighbour.address, neighbour.mac.empty() ? "" : " at ", neighbour.mac, " of link ", neighbour.link);
  Ip ip;
  if (!neighbour.address.empty()) {
    ASSIGN_OR_RETURN(ip, ParseIp(neighbour.address), context);
  }
  ndmsg header{};
  header.ndm_family = static_cast<uint8_t>(neighbour.fdb ? AF_BRIDGE : ip.family);
  header.ndm_ifindex = neighbour.link;
  header.ndm_state = neighbour.permanent ? NUD_PERMANENT : NUD_REACHABLE;
  if (neighbour.fdb) header.ndm_flags = NTF_SELF;
  const Msg message = NewMessage(type, flags, header);
  if (message == nullptr) return ErrnoStatus(ENOMEM, context);
  if (ip.family != 0) nla_put(message.get(), NDA_DST, ip.size(), ip.bytes);
  RETURN_IF_ERROR(PutMac(message.get(), NDA_LLADDR, neighbour.mac), context);
  return Request(message.get(), context);
}

Status Netlink::ReplaceNeighbour(const Neighbour& neighbour) {
  return ChangeNeighbour(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour);
}

Status Netlink::DeleteNeighbour(const Neighbour& neighbour) { return ChangeNeighbour(RTM_DELNEIGH, 0, neighbour); }

}  // namespace skiff
