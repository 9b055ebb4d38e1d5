// The plugin against the real kernel, in network namespaces of its own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/netlink.h"
#include "cni/plugin/plugin.h"
#include "cni/plugin/wire.h"
#include "cni/root_testing.h"

namespace skiff::cni {
namespace {

using nlohmann::json;

// Two new namespaces: the test's thread lives in "node" from here on, "pod" is held by a file.
class ROOT_PluginTest : public RootTest {
 protected:
  void SetUp() override {
    RootTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    pod_ = NewNamespace();
    netns_ = absl::StrCat("/proc/", getpid(), "/fd/", pod_.get());
  }
  Outcome Call(const char* command, std::string id = "c1", std::string version = "1.0.0", json more = json::object()) {
    const std::map<std::string, std::string> env = {
        {"CNI_COMMAND", command}, {"CNI_CONTAINERID", id}, {"CNI_NETNS", netns_}, {"CNI_IFNAME", "eth0"}};
    json config = {
        {"cniVersion", version}, {"name", "net"}, {"ranges", {"10.9.0.0/29", "fd09::/64"}}, {"stateDir", dir_}};
    config.update(more);
    return RunPlugin(
        [&](const char* name) -> const char* {
          const auto it = env.find(name);
          return it == env.end() ? nullptr : it->second.c_str();
        },
        config.dump(), PluginType::kPod, removal_);
  }
  size_t HostLinks() { return (*Netlink::Open())->Links()->size(); }

  std::string netns_;
  Removal removal_ = Removal::kNow;
  Fd pod_;
};

TEST_F(ROOT_PluginTest, AddCheckDel) {
  const size_t before = HostLinks();
  const Outcome add = Call("ADD");
  ASSERT_EQ(add.exit_code, 0) << add.out;
  const json result = json::parse(add.out);
  EXPECT_EQ(result["ips"][0]["address"], "10.9.0.2/32");
  EXPECT_EQ(result["ips"][1]["address"], "fd09::2/128");
  EXPECT_EQ(result["interfaces"][1]["sandbox"], netns_);
  EXPECT_EQ(HostLinks(), before + 1);

  const Outcome check = Call("CHECK", "c1", "1.0.0", {{"prevResult", result}});
  EXPECT_EQ(check.exit_code, 0) << check.out;

  // Somebody takes the pod's interface down: CHECK says so.
  auto pod = *Netlink::OpenIn(pod_.get());
  ASSERT_TRUE(pod->SetUp(pod->LinkByName("eth0")->index, false).ok());
  const Outcome broken = Call("CHECK", "c1", "1.0.0", {{"prevResult", result}});
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_EQ(json::parse(broken.out)["msg"], "interface eth0 is down");

  EXPECT_EQ(Call("DEL").exit_code, 0);
  EXPECT_EQ(Call("DEL").exit_code, 0) << "DEL is idempotent";
  EXPECT_EQ(HostLinks(), before);
  const Outcome gone = Call("CHECK", "c1", "1.0.0", {{"prevResult", result}});
  EXPECT_EQ(json::parse(gone.out)["code"], 3);
}

TEST_F(ROOT_PluginTest, TheNodeAndThePodReachEachOther) {
  ASSERT_EQ(Call("ADD").exit_code, 0);
  auto node = *Netlink::Open();
  ASSERT_TRUE(node->SetUp(node->LinkByName("lo")->index, true).ok());
  ASSERT_TRUE(node->AddAddress({node->LinkByName("lo")->index, "10.8.0.1", 32, AF_INET}).ok());
  EXPECT_EQ(system("ping -c 1 -W 2 10.9.0.2 >/dev/null 2>&1 || busybox ping -c 1 -W 2 10.9.0.2 >/dev/null"), 0);
}

TEST_F(ROOT_PluginTest, ADeadAddIsRepeatedWithTheSameAddress) {
  ASSERT_EQ(Call("ADD").exit_code, 0);
  // The runtime died before it saw the result, and its pod's namespace is as new.
  auto pod = *Netlink::OpenIn(pod_.get());
  ASSERT_TRUE(pod->DeleteLink(pod->LinkByName("eth0")->index).ok());
  const Outcome again = Call("ADD");
  ASSERT_EQ(again.exit_code, 0) << again.out;
  EXPECT_EQ(json::parse(again.out)["ips"][0]["address"], "10.9.0.2/32");
}

TEST_F(ROOT_PluginTest, BadNetnsLeavesNothingBehind) {
  const size_t before = HostLinks();
  netns_ = "/run/netns/skiff-not-there";
  const Outcome missing = Call("ADD");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(json::parse(missing.out)["msg"],
            "failed to open netns \"/run/netns/skiff-not-there\": No such file or directory");
  EXPECT_EQ(json::parse(missing.out)["code"], 4);
  netns_ = "/etc/passwd";
  EXPECT_EQ(json::parse(Call("ADD").out)["msg"], "failed to open netns \"/etc/passwd\": not a network namespace");
  EXPECT_EQ(HostLinks(), before);
  const std::vector<std::string> names = *ListDir(dir_ + "/net");
  for (const std::string& name : names) EXPECT_FALSE(isdigit(name[0])) << "leaked address " << name;
}

TEST_F(ROOT_PluginTest, DelWorksWithoutNetnsAndGcRemovesTheUnknown) {
  const size_t before = HostLinks();
  ASSERT_EQ(Call("ADD").exit_code, 0);
  const Outcome gc = Call("GC", "", "1.1.0", {{"cni.dev/valid-attachments", json::array()}});
  EXPECT_EQ(gc.exit_code, 0) << gc.out;
  EXPECT_EQ(HostLinks(), before);
  ASSERT_EQ(Call("ADD").exit_code, 0);
  netns_ = "";
  EXPECT_EQ(Call("DEL").exit_code, 0);
  EXPECT_EQ(HostLinks(), before);
}

TEST_F(ROOT_PluginTest, RogueRa_TheNodeIgnoresRouterAdvertisementsOfPods) {
  ASSERT_EQ(Call("ADD").exit_code, 0);
  const auto value =
      ReadFile("/proc/thread-self/root/proc/sys/net/ipv6/conf/" + HostInterface({"c1", "eth0"}) + "/accept_ra");
  if (!value.ok()) GTEST_SKIP() << "no IPv6 here: " << value.status();
  EXPECT_EQ(*value, "0\n");
}

TEST_F(ROOT_PluginTest, ABackgroundDelFreesTheRouteAtOnceAndTheDeviceSoon) {
  const size_t before = HostLinks();
  ASSERT_EQ(Call("ADD").exit_code, 0);
  removal_ = Removal::kBackground;
  ASSERT_EQ(Call("DEL").exit_code, 0);
  const std::vector<Route> routes = *(*Netlink::Open())->Routes(AF_INET);
  for (const Route& route : routes) EXPECT_NE(route.destination, "10.9.0.2/32");
  int status = 0;
  ASSERT_GT(wait(&status), 0);
  EXPECT_EQ(HostLinks(), before);
}

TEST_F(ROOT_PluginTest, LoopbackBringsUpLo) {
  auto env = [&](const char* name) -> const char* {
    const std::string_view key(name);
    return key == "CNI_COMMAND"       ? "ADD"
           : key == "CNI_CONTAINERID" ? "c"
           : key == "CNI_IFNAME"      ? "lo"
           : key == "CNI_NETNS"       ? netns_.c_str()
                                      : nullptr;
  };
  // containerd's built-in configuration.
  const Outcome add =
      RunPlugin(env, R"({"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"})", PluginType::kLoopback);
  ASSERT_EQ(add.exit_code, 0) << add.out;
  EXPECT_EQ(json::parse(add.out)["ips"][0]["address"], "127.0.0.1/8");
  EXPECT_TRUE((*Netlink::OpenIn(pod_.get()))->LinkByName("lo")->flags & 1u);
}

TEST_F(ROOT_PluginTest, VersionsDifferInForm) {
  const json old = json::parse(Call("ADD", "c1", "0.4.0").out);
  EXPECT_EQ(old["ips"][0]["version"], "4");
  ASSERT_EQ(Call("DEL").exit_code, 0);
  const json now = json::parse(Call("ADD", "c1", "1.1.0").out);
  EXPECT_FALSE(now["ips"][0].contains("version"));
  EXPECT_EQ(now["interfaces"][1]["mtu"], 1500);
}

}  // namespace
}  // namespace skiff::cni
