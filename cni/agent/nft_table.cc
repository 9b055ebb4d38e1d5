#include "cni/agent/nft_table.h"

#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace skiff::cni {

StatusOr<std::optional<TableIdentity>> FindTable(uint8_t family, const std::string& name) {
  const std::string context = absl::StrCat("look up nftables table ", name);
  const std::unique_ptr<nl_sock, decltype(&nl_socket_free)> socket(nl_socket_alloc(), nl_socket_free);
  const std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(
      nlmsg_alloc_simple(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, NLM_F_REQUEST), nlmsg_free);
  if (socket == nullptr || message == nullptr) return ErrnoStatus(ENOMEM, context);
  if (const int error = nl_connect(socket.get(), NETLINK_NETFILTER); error < 0)
    return Internal(context, ": ", nl_geterror(error));
  nfgenmsg header{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0};
  nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO);
  nla_put_string(message.get(), NFTA_TABLE_NAME, name.c_str());
  if (const int sent = nl_send_auto(socket.get(), message.get()); sent < 0)
    return Internal(context, ": ", nl_geterror(sent));

  alignas(nlmsghdr) std::array<char, 4096> buffer;
  ssize_t n;
  do {
    n = recv(nl_socket_get_fd(socket.get()), buffer.data(), buffer.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return ErrnoStatus(errno, context);
  auto* answer = reinterpret_cast<nlmsghdr*>(buffer.data());
  if (!NLMSG_OK(answer, n)) return Internal(context, ": short netlink answer");
  if (answer->nlmsg_type == NLMSG_ERROR) {
    const int error = -static_cast<const nlmsgerr*>(nlmsg_data(answer))->error;
    // A kernel that has not loaded nftables yet knows no tables, nor the question.
    if (error == ENOENT || error == EOPNOTSUPP || error == EINVAL) return std::nullopt;
    return ErrnoStatus(error, context);
  }
  std::array<nlattr*, NFTA_TABLE_MAX + 1> a{};
  if (nlmsg_parse(answer, sizeof(nfgenmsg), a.data(), NFTA_TABLE_MAX, nullptr) < 0)
    return Internal(context, ": malformed netlink answer");
  TableIdentity identity;
  if (a[NFTA_TABLE_HANDLE] != nullptr) identity.handle = be64toh(nla_get_u64(a[NFTA_TABLE_HANDLE]));
  if (a[NFTA_TABLE_USE] != nullptr) identity.objects = ntohl(nla_get_u32(a[NFTA_TABLE_USE]));
  return identity;
}

}  // namespace skiff::cni
