// Against a small iptables that keeps its chains in files, and, as root, against the machine's in an own network.
#include "kubelet/node/iptables_chains.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "client/testing.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr char kMartians[] =
    "-m comment --comment block incoming localnet connections --dst 127.0.0.0/8 ! --src 127.0.0.0/8 -m conntrack ! "
    "--ctstate RELATED,ESTABLISHED,DNAT -j DROP\n";

// A chain is a file PROGRAM.TABLE.CHAIN, its lines are its rules. Exit codes are iptables'.
constexpr char kFake[] = R"(#!/bin/sh
state=$(dirname "$0"); program=$(basename "$0")
[ "$1 $2" = "-w 5" ] || exit 2
operation=$3; file="$state/$program.$6.$4"; shift 6
echo "$program $operation ${file##*/}" >> "$state/calls"
case $operation in
  -N) [ -e "$file" ] && exit 1; : > "$file" ;;
  -S) [ -e "$file" ] || exit 1 ;;
  -C) grep -qxF -e "$*" "$file" || exit 1 ;;
  -A) echo "$*" >> "$file" ;;
  -I) { echo "$*"; cat "$file"; } > "$file.new"; mv "$file.new" "$file" ;;
  *) exit 2 ;;
esac
)";

class IptablesChainsTest : public testing::Test {
 protected:
  void SetUp() override { path_before_ = getenv("PATH"); }
  void TearDown() override { setenv("PATH", path_before_.c_str(), 1); }

  void Install(const std::string& program) {
    setenv("PATH", (dir_.path() + ":" + path_before_).c_str(), 1);
    ASSERT_TRUE(WriteFileAtomic(dir_ / program, kFake, 0755).ok());
    Flush(program);
  }
  // As a fresh kernel: the chains that are always there, with somebody's rule in one.
  void Flush(const std::string& program) {
    const auto files = *ListDir(dir_.path());
    for (const auto& file : files) {
      if (file.starts_with(program + ".")) unlink((dir_ / file).c_str());
    }
    Put(program + ".nat.POSTROUTING", "");
    Put(program + ".filter.INPUT", "-j OTHER\n");
    Put(program + ".filter.OUTPUT", "");
  }
  void Put(const std::string& name, const std::string& text) { ASSERT_TRUE(WriteFileAtomic(dir_ / name, text).ok()); }
  std::string Chain(const std::string& name) {
    auto text = ReadFile(dir_ / name);
    return text.ok() ? *text : "none";
  }
  void Start() { group_.Spawn("chains", KeepIptablesChains(loop_.get_executor(), clock_)); }
  void Stop() {
    group_.Cancel();
    EXPECT_TRUE(client::RunUntil(loop_, [&] { return group_.size() == 0; }));
  }
  // Until what runs sleeps, in `n` tasks.
  void Settle(size_t n) {
    ASSERT_TRUE(client::RunUntil(loop_, [&] { return clock_.sleepers() == n; }));
  }

  TempDir dir_;
  std::string path_before_;
  asio::io_context loop_;
  FakeClock clock_;
  TaskGroup group_{loop_.get_executor()};
};

TEST_F(IptablesChainsTest, AreMadeForBothFamilies) {
  Install("iptables");
  Install("ip6tables");
  Start();
  Settle(2);
  EXPECT_EQ(Chain("iptables.mangle.KUBE-IPTABLES-HINT"), "");
  EXPECT_EQ(Chain("ip6tables.mangle.KUBE-IPTABLES-HINT"), "");
  EXPECT_EQ(Chain("iptables.filter.KUBE-FIREWALL"), kMartians);
  EXPECT_EQ(Chain("ip6tables.filter.KUBE-FIREWALL"), "none");
  EXPECT_EQ(Chain("iptables.filter.INPUT"), "-j KUBE-FIREWALL\n-j OTHER\n");
  EXPECT_EQ(Chain("iptables.filter.OUTPUT"), "-j KUBE-FIREWALL\n");
  for (const char* table : {"mangle", "nat", "filter"}) {
    EXPECT_EQ(Chain(absl::StrCat("iptables.", table, ".KUBE-KUBELET-CANARY")), "") << table;
  }
  Stop();
  // The next kubelet finds them and adds nothing.
  Start();
  Settle(2);
  EXPECT_EQ(Chain("iptables.filter.KUBE-FIREWALL"), kMartians);
  EXPECT_EQ(Chain("iptables.filter.INPUT"), "-j KUBE-FIREWALL\n-j OTHER\n");
  Stop();
}

TEST_F(IptablesChainsTest, ComeBackAfterAFlush) {
  Install("iptables");
  Put("ip6tables", "#!/bin/sh\nexit 3\n");  // a kernel without IPv6
  chmod((dir_ / "ip6tables").c_str(), 0755);
  Start();
  Settle(1);
  unlink((dir_ / "calls").c_str());
  clock_.Advance(1min, loop_);
  Settle(1);
  EXPECT_EQ(Chain("calls"), "iptables -S iptables.mangle.KUBE-KUBELET-CANARY\n") << "a look is one call";

  // Two tables of three: the rest of the flush is waited for.
  Flush("iptables");
  Put("iptables.nat.KUBE-KUBELET-CANARY", "");
  clock_.Advance(1min, loop_);
  Settle(1);
  EXPECT_EQ(Chain("iptables.mangle.KUBE-IPTABLES-HINT"), "none");
  Flush("iptables");
  clock_.Advance(100ms, loop_);
  ASSERT_TRUE(client::RunUntil(loop_, [&] { return Chain("iptables.filter.KUBE-KUBELET-CANARY") != "none"; }));
  Settle(1);
  EXPECT_EQ(Chain("iptables.mangle.KUBE-IPTABLES-HINT"), "");
  EXPECT_EQ(Chain("iptables.filter.KUBE-FIREWALL"), kMartians);
  EXPECT_EQ(Chain("iptables.filter.INPUT"), "-j KUBE-FIREWALL\n-j OTHER\n");
  Stop();
}

TEST_F(IptablesChainsTest, WithoutIptablesThereIsNothingToDo) {
  setenv("PATH", dir_.path().c_str(), 1);
  Start();
  EXPECT_TRUE(client::RunUntil(loop_, [&] { return group_.size() == 0; }));
}

TEST_F(IptablesChainsTest, ROOT_TheMachinesIptablesTakesThem) {
  if (access("/usr/sbin/iptables", X_OK) != 0) GTEST_SKIP() << "no iptables";
  setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  const Fd home(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(unshare(CLONE_NEWNET), 0);
  auto rules = [&](const std::string& program) {
    std::string all;
    for (const char* table : {"mangle", "filter"}) {
      auto listed = RunTask(loop_, RunCommand({.argv = {program, "-w", "5", "-t", table, "-S"}}));
      if (listed.ok()) all += listed->out;
      loop_.restart();
    }
    return all;
  };
  Command probe{.argv = {"iptables", "-w", "5", "-t", "nat", "-S", "POSTROUTING"}};
  const auto works = RunTask(loop_, RunCommand(probe));
  loop_.restart();
  if (works.ok() && works->exit_code == 0) {
    Start();
    EXPECT_TRUE(client::RunUntil(loop_, [&] { return clock_.sleepers() > 0; }));
    Stop();
    loop_.restart();
    const std::string made = rules("iptables");
    EXPECT_THAT(made, HasSubstr("-N KUBE-IPTABLES-HINT\n"));
    EXPECT_THAT(made, HasSubstr("-A INPUT -j KUBE-FIREWALL\n"));
    EXPECT_THAT(made, HasSubstr("-A OUTPUT -j KUBE-FIREWALL\n"));
    EXPECT_THAT(made,
                HasSubstr("-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming "
                          "localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"));
    EXPECT_THAT(made, HasSubstr("-N KUBE-KUBELET-CANARY\n"));
  }
  EXPECT_EQ(setns(home.get(), CLONE_NEWNET), 0);
  if (!works.ok() || works->exit_code != 0) GTEST_SKIP() << "the kernel has no iptables";
}

}  // namespace
}  // namespace skiff::kubelet
