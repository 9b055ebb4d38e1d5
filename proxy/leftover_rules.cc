#include "proxy/leftover_rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/log.h"
#include "base/subprocess.h"

namespace skiff::proxy {

namespace {

constexpr char kTable[] = "kube-proxy";

bool IsUpstreams(std::string_view chain) {
  static const std::set<std::string_view> kNames = {
      "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-FORWARD",
      "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY",
      // of the mode ipvs
      "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER",
      "KUBE-IPVS-OUT-FILTER"};
  if (kNames.contains(chain)) return true;
  for (const char* prefix : {"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"}) {
    if (chain.starts_with(prefix)) return true;
  }
  return false;
}

// The chain that a rule jumps or goes to; "" if none.
std::string_view TargetOf(std::string_view rule) {
  for (const char* word : {" -j ", " -g "}) {
    // Comments may hold anything, but in quotes, and the target is behind them.
    size_t at = rule.rfind(word);
    if (at == std::string_view::npos) continue;
    std::string_view rest = rule.substr(at + 4);
    return rest.substr(0, rest.find(' '));
  }
  return "";
}

struct Message {
  template <typename T>
  void Put(const T& value) {
    const char* bytes = reinterpret_cast<const char*>(&value);
    data.insert(data.end(), bytes, bytes + sizeof(value));
  }
  // A header and the nfgenmsg behind it; the length is filled in by End.
  void Begin(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource, uint32_t sequence) {
    start = data.size();
    Put(nlmsghdr{.nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = sequence, .nlmsg_pid = 0});
    Put(nfgenmsg{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)});
  }
  void Text(uint16_t attribute, std::string_view text) {
    Put(nlattr{.nla_len = static_cast<uint16_t>(NLA_HDRLEN + text.size() + 1), .nla_type = attribute});
    data.insert(data.end(), text.begin(), text.end());
    data.push_back(0);
    while (data.size() % 4 != 0) data.push_back(0);
  }
  void End() {
    auto length = static_cast<uint32_t>(data.size() - start);
    std::memcpy(data.data() + start, &length, sizeof(length));
  }
  std::vector<char> data;
  size_t start = 0;
};

// 0, or the errno that the kernel answers with.
StatusOr<int> DeleteTable(int fd, uint8_t family) {
  Message m;
  m.Begin(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 1);
  m.End();
  m.Begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE, NLM_F_REQUEST | NLM_F_ACK, family, 0, 2);
  m.Text(NFTA_TABLE_NAME, kTable);
  m.End();
  m.Begin(NFNL_MSG_BATCH_END, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 3);
  m.End();
  if (send(fd, m.data.data(), m.data.size(), 0) < 0) return ErrnoStatus(errno, "netlink send");
  std::array<char, 8192> buffer;
  for (;;) {
    ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "netlink receive");
    auto left = static_cast<uint32_t>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == NLMSG_ERROR) return -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
    }
  }
}

// One program of iptables: what its tables hold of upstream's goes.
Task<Status> CleanIptables(std::string save, std::string restore) {
  Command command{.argv = {save}, .output_limit = size_t{1} << 30};
  auto saved = co_await RunCommand(command);
  if (absl::IsNotFound(saved.status())) co_return absl::OkStatus();  // not installed
  CO_RETURN_IF_ERROR(saved);
  // Without the kernel's part there is nothing to remove.
  if (saved->exit_code != 0) {
    VLOG(2, "Nothing to read by iptables-save", {"program", save}, {"err", saved->err});
    co_return absl::OkStatus();
  }
  std::string removal = RemovalOf(saved->out);
  saved = absl::CancelledError();  // may be large
  if (removal.empty()) co_return absl::OkStatus();
  Command change{.argv = {restore, "--noflush", "-w", "5"}, .input = std::move(removal)};
  auto result = co_await RunCommand(std::move(change));
  CO_RETURN_IF_ERROR(result);
  if (result->exit_code != 0) co_return absl::InternalError(absl::StrCat(restore, ": ", result->err));
  LOG_INFO("Removed the iptables rules of another kube-proxy", {"program", restore});
  co_return absl::OkStatus();
}

// Asking the legacy programs would load the kernel's modules.
bool HasLegacy(const char* names) {
  auto text = ReadFile(absl::StrCat("/proc/net/", names));
  return text.ok() && !text->empty();
}

}  // namespace

std::string RemovalOf(std::string_view saved) {
  std::string out, table;
  std::vector<std::string_view> chains, rules;
  auto finish = [&] {
    if (!chains.empty()) {
      absl::StrAppend(&out, "*", table, "\n");
      for (std::string_view chain : chains) absl::StrAppend(&out, ":", chain, " - [0:0]\n");
      for (std::string_view rule : rules) absl::StrAppend(&out, "-D", rule.substr(2), "\n");
      for (std::string_view chain : chains) absl::StrAppend(&out, "-X ", chain, "\n");
      out += "COMMIT\n";
    }
    chains.clear();
    rules.clear();
  };
  for (absl::string_view part : absl::StrSplit(saved, '\n')) {
    std::string_view line(part.data(), part.size());
    if (line.starts_with('*')) {
      finish();
      table = line.substr(1);
    } else if (line.starts_with(':')) {
      std::string_view chain = line.substr(1, line.find(' ') - 1);
      if (IsUpstreams(chain)) chains.push_back(chain);
    } else if (line.starts_with("-A ")) {
      std::string_view chain = line.substr(3);
      chain = chain.substr(0, chain.find(' '));
      if (!IsUpstreams(chain) && IsUpstreams(TargetOf(line))) rules.push_back(line);
    }
  }
  finish();
  return out;
}

StatusOr<int> DeleteNftTables() {
  Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd.valid()) {
    // A kernel without netfilter has no rules.
    if (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT) return 0;
    return ErrnoStatus(errno, "netlink socket");
  }
  timeval timeout{.tv_sec = 10, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  int deleted = 0;
  for (uint8_t family : {uint8_t{NFPROTO_IPV4}, uint8_t{NFPROTO_IPV6}}) {
    ASSIGN_OR_RETURN(int error, DeleteTable(fd.get(), family));
    if (error == 0)
      deleted++;
    else if (error != ENOENT && error != EOPNOTSUPP && error != EAFNOSUPPORT && error != EINVAL)
      return ErrnoStatus(error, absl::StrCat("delete nftables table ", kTable));
  }
  return deleted;
}

Task<Status> RemoveLeftoverRules() {
  std::vector<std::string> problems;
  auto note = [&](const Status& status) {
    if (!status.ok() && !absl::IsCancelled(status)) problems.push_back(std::string(status.message()));
  };
  auto tables = DeleteNftTables();
  note(tables.status());
  if (tables.ok() && *tables > 0) LOG_INFO("Removed the nftables tables of another kube-proxy", {"tables", *tables});
  for (const char* family : {"iptables", "ip6tables"}) {
    bool v6 = family[2] == '6';
    note(co_await CleanIptables(absl::StrCat(family, "-nft-save"), absl::StrCat(family, "-nft-restore")));
    if (HasLegacy(v6 ? "ip6_tables_names" : "ip_tables_names")) {
      note(co_await CleanIptables(absl::StrCat(family, "-legacy-save"), absl::StrCat(family, "-legacy-restore")));
    }
  }
  if (problems.empty()) co_return absl::OkStatus();
  co_return absl::InternalError(
      absl::StrCat("encountered an error while tearing down rules: ", absl::StrJoin(problems, "; ")));
}

}  // namespace skiff::proxy
