#include "proxy/leftover_rules.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "base/subprocess.h"

namespace skiff::proxy {
namespace {

// As upstream's iptables mode writes them: one service of two endpoints, with a NodePort, and one without endpoints;
// among them the kubelet's chains and an operator's rules.
constexpr char kRules[] = R"(*mangle
:PREROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-EXT-ABCDEFGHIJKLMNOP - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]
:KUBE-SEP-BBBBBBBBBBBBBBBB - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABCDEFGHIJKLMNOP - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.9.9.9:443
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -s 10.8.0.0/16 -m comment --comment "not -j KUBE-SERVICES" -j MASQUERADE
-A KUBE-EXT-ABCDEFGHIJKLMNOP -m comment --comment "masquerade traffic for ns/web external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-ABCDEFGHIJKLMNOP -j KUBE-SVC-ABCDEFGHIJKLMNOP
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp -m comment --comment "ns/web" -m tcp --dport 30080 -j KUBE-EXT-ABCDEFGHIJKLMNOP
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE
-A KUBE-SEP-AAAAAAAAAAAAAAAA -s 10.1.0.1/32 -m comment --comment "ns/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m comment --comment "ns/web" -m tcp -j DNAT --to-destination 10.1.0.1:8080
-A KUBE-SEP-BBBBBBBBBBBBBBBB -p tcp -m comment --comment "ns/web" -m tcp -j DNAT --to-destination 10.1.0.2:8080
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "ns/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMNOP
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-ABCDEFGHIJKLMNOP -m comment --comment "ns/web -> 10.1.0.1:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-AAAAAAAAAAAAAAAA
-A KUBE-SVC-ABCDEFGHIJKLMNOP -m comment --comment "ns/web -> 10.1.0.2:8080" -j KUBE-SEP-BBBBBBBBBBBBBBBB
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -d 10.96.0.2/32 -p tcp -m comment --comment "ns/none has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
)";

TEST(LeftoverRulesTest, Removal) {
  EXPECT_EQ(RemovalOf(""), "");
  EXPECT_EQ(
      RemovalOf("*nat\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n"), "");
  EXPECT_EQ(RemovalOf("*nat\n:OUTPUT ACCEPT [1:2]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-X - [0:0]\n"
                      "-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
                      "-A KUBE-SERVICES -d 10.0.0.1/32 -j KUBE-SVC-X\nCOMMIT\n"),
            "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-X - [0:0]\n"
            "-D OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
            "-X KUBE-SERVICES\n-X KUBE-SVC-X\nCOMMIT\n");
}

class LeftoverRulesKernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    home_ = Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace";
  }
  void TearDown() override {
    if (home_.valid()) ASSERT_EQ(setns(home_.get(), CLONE_NEWNET), 0);
  }
  // Output, or nullopt if the program is missing or fails.
  std::optional<std::string> Do(std::vector<std::string> argv, std::string input = "") {
    Command command{.argv = std::move(argv), .input = std::move(input)};
    auto result = RunTask(loop_, RunCommand(std::move(command)));
    if (!result.ok() || result->exit_code != 0) return std::nullopt;
    return result->out;
  }
  asio::io_context loop_;
  Fd home_;
};

TEST_F(LeftoverRulesKernelTest, ROOT_IptablesChainsGoAndOthersStay) {
  bool any = false;
  for (const std::string backend : {"nft", "legacy"}) {
    if (!Do({"iptables-" + backend + "-restore"}, kRules)) continue;
    any = true;
    Status status = RunTask(loop_, RemoveLeftoverRules());
    EXPECT_TRUE(status.ok()) << status;
    std::string left = Do({"iptables-" + backend + "-save"}).value_or("");
    for (const char* gone : {"KUBE-SERVICES ", "KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-PROXY-", "KUBE-MARK-MASQ",
                             "KUBE-POSTROUTING", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-EXTERNAL"}) {
      EXPECT_EQ(left.find(absl::StrCat(":", gone)), std::string::npos) << backend << ": " << gone << "\n" << left;
    }
    for (const char* kept :
         {":KUBE-KUBELET-CANARY", "-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL",
          "--to-destination 10.9.9.9:443", "-s 10.8.0.0/16", "block incoming localnet connections"}) {
      EXPECT_NE(left.find(kept), std::string::npos) << backend << ": " << kept << "\n" << left;
    }
    EXPECT_TRUE(RunTask(loop_, RemoveLeftoverRules()).ok()) << "again, with nothing to do";
  }
  if (!any) GTEST_SKIP() << "no iptables here";
}

TEST_F(LeftoverRulesKernelTest, ROOT_NftTablesGo) {
  auto recorded = ReadFile("../shared/goldens/proxy/15-kube-proxy/nft-ruleset.nft");
  std::string rules = recorded.ok() ? *recorded : "add table ip kube-proxy\n";
  rules += "\nadd table ip6 kube-proxy\nadd table ip mine\n";
  if (!Do({"nft", "-f", "-"}, rules)) GTEST_SKIP() << "nft cannot load the rules here";
  auto deleted = DeleteNftTables();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(*deleted, 2);
  std::string left = Do({"nft", "list", "tables"}).value_or("");
  EXPECT_EQ(left.find("kube-proxy"), std::string::npos) << left;
  EXPECT_NE(left.find("table ip mine"), std::string::npos) << left;
  EXPECT_EQ(*DeleteNftTables(), 0);
}

}  // namespace
}  // namespace skiff::proxy
