#include "kubelet/config.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/config_fields.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

StatusOr<Config> Load(std::vector<const char*> args) {
  args.insert(args.begin(), "kubelet");
  return LoadConfig(static_cast<int>(args.size()), args.data());
}

TEST(Config, DefaultsWithoutAndWithAFile) {
  auto c = Load({});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_TRUE(c->anonymous_auth);
  EXPECT_EQ(c->authorization_mode, "AlwaysAllow");
  EXPECT_EQ(c->read_only_port, 10255);
  EXPECT_EQ(c->port, 10250);
  EXPECT_EQ(c->node_status_update_frequency, std::chrono::seconds(10));
  auto file = ParseConfigFile("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n", "f");
  ASSERT_TRUE(file.ok()) << file.status();
  Config with;
  ASSERT_TRUE(ApplyConfig(*file, &with).ok());
  EXPECT_FALSE(with.anonymous_auth);
  EXPECT_EQ(with.authorization_mode, "Webhook");
  EXPECT_EQ(with.read_only_port, 0);
  EXPECT_EQ(with.eviction_hard["memory.available"], "100Mi");
}

TEST(Config, TheRuntimesCgroupDriverIsShown) {
  auto c = Load({"--cgroup-driver=cgroupfs", "--max-pods=7"});
  ASSERT_TRUE(c.ok()) << c.status();
  SetCgroupDriver("systemd", &*c);
  EXPECT_EQ(c->cgroup_driver, "systemd");
  EXPECT_THAT(c->json, HasSubstr(R"("cgroupDriver":"systemd")"));
  EXPECT_THAT(c->json, HasSubstr(R"("maxPods":7)"));
}

// Security row secrets-in-logs: /configz does not show what goes with requests for manifests.
TEST(Config, secrets_in_logs_HeadersAreMasked) {
  auto c = Load({"--manifest-url=http://x/", "--manifest-url-header=Authorization:Bearer s3cret,X-A:1,X-A:2"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->static_pod_url, "http://x/");
  EXPECT_EQ(c->http_check_frequency, std::chrono::seconds(20));
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"Authorization", "Bearer s3cret"}, {"X-A", "1"}, {"X-A", "2"}};
  EXPECT_EQ(c->static_pod_url_headers, headers);
  EXPECT_THAT(c->json, HasSubstr("\"Authorization\":[\"<masked>\"]"));
  EXPECT_EQ(c->json.find("s3cret"), std::string::npos);
  auto file = ParseConfigFile(
      "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nstaticPodURLHeader: {X: 1}\n", "f");
  ASSERT_TRUE(file.ok()) << file.status();
  Config bad;
  EXPECT_THAT(std::string(ApplyConfig(*file, &bad).message()),
              HasSubstr("staticPodURLHeader: must be a map of lists of strings"));
}

TEST(Config, FlagsInUpstreamsSpelling) {
  auto c =
      Load({"--cgroup-root=/n1", "--cgroup-driver", "systemd", "--max-pods=7", "--fail-swap-on=false", "-v", "4",
            "--cluster-dns=10.0.0.1,10.0.0.2", "--eviction-hard=memory.available<200Mi,nodefs.available<5%",
            "--sync-frequency=30s", "--register-with-taints=a=b:NoSchedule", "--feature-gates=PodLevelResources=true"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->cgroup_root, "/n1");
  EXPECT_EQ(c->cgroup_driver, "systemd");
  EXPECT_EQ(c->max_pods, 7);
  EXPECT_FALSE(c->fail_swap_on);
  EXPECT_EQ(c->verbosity, 4);
  EXPECT_EQ(c->cluster_dns, (std::vector<std::string>{"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(c->eviction_hard["memory.available"], "200Mi");
  EXPECT_EQ(c->sync_frequency, std::chrono::seconds(30));
  EXPECT_THAT(c->register_with_taints_json, HasSubstr("NoSchedule"));
}

TEST(Config, BadInputNamesTheField) {
  struct Case {
    const char *text, *error;
  };
  const std::string head = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n";
  for (const Case& c : {
           Case{"maxPods: many\n", "f: maxPods: must be an integer"},
           {"authentication: {anonymous: {enabled: 3}}\n", "f: authentication.anonymous.enabled: must be a boolean"},
           {"clusterDNS: 10.0.0.1\n", "f: clusterDNS: must be a list of strings"},
           {"syncFrequency: soon\n", "f: syncFrequency: "},
           {"evictionHard: {memory.available: 5}\n", "f: evictionHard: must be a map of strings"},
           {"a: [\n", "f: "},
       }) {
    auto parsed = ParseConfigFile(head + c.text, "f");
    EXPECT_FALSE(parsed.ok()) << c.text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(c.error));
  }
  EXPECT_EQ(ParseConfigFile("kind: null\n", "f").status().message(), "f: Object 'Kind' is missing");
  EXPECT_EQ(ParseConfigFile("kind: 1\n", "f").status().message(), "f: kind: must be a string, but is 1");
  EXPECT_THAT(std::string(ParseConfigFile("kind: Pod\napiVersion: v1\n", "f").status().message()),
              HasSubstr("no kind \"Pod\" is registered"));
  EXPECT_THAT(std::string(Load({"--no-such-flag"}).status().message()), HasSubstr("unknown flag: --no-such-flag"));
  EXPECT_THAT(std::string(Load({"--max-pods=x"}).status().message()), HasSubstr("max-pods"));
  EXPECT_THAT(std::string(Load({"--cgroup-driver=x"}).status().message()), HasSubstr("cgroupDriver"));
  EXPECT_THAT(std::string(Load({"--feature-gates=Nope=true"}).status().message()),
              HasSubstr("unrecognized feature gate: Nope"));
  EXPECT_TRUE(absl::IsCancelled(Load({"--version"}).status()));
}

TEST(Config, EveryUpstreamFlagIsKnown) {
  std::ifstream in("../shared/facts/kubelet-flags.tsv");
  if (!in) GTEST_SKIP() << "interface tables not beside the project";
  auto help = Load({"--help"}).status();
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::string name = line.substr(0, line.find('\t'));
    if (name == "help") continue;
    std::string flag = "--" + name;
    // A known flag complains about its value or works; an unknown one is refused by name.
    auto loaded = Load({flag.c_str()});
    EXPECT_EQ(std::string(loaded.status().message()).find("unknown flag"), std::string::npos) << flag;
  }
}

TEST(Config, EveryUpstreamFieldIsKnown) {
  std::ifstream in("../shared/facts/kubelet-config-fields.tsv");
  if (!in) GTEST_SKIP() << "interface tables not beside the project";
  std::set<std::string> known;
  for (const auto& field : ConfigFields()) known.emplace(field.path);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::vector<std::string> c = absl::StrSplit(line, '\t');
    if (c[1] != "KubeletConfiguration" || c[2].find("[]") != std::string::npos) continue;
    EXPECT_TRUE(known.contains(c[2])) << c[2];
  }
}

TEST(Config, DropInFilesOverrideTheFileAndGiveWayToFlags) {
  TempDir dir;
  auto write = [&](const std::string& name, const std::string& fields) {
    const std::string head = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n";
    ASSERT_TRUE(WriteFileAtomic(dir / name, head + fields).ok());
  };
  write("config",
        "maxPods: 20\nclusterDomain: one\nevictionHard: {memory.available: 1Mi}\nsyncFrequency: 3s\nport: 11\n");
  ASSERT_TRUE(MakeDirs(dir / "d/10-sub").ok());
  write("d/00-first.conf", "maxPods: 30\nevictionHard: {nodefs.available: 2%}\nunknown: 1\n");
  write("d/10-sub/a.conf", "maxPods: 40\nsyncFrequency: null\nport: 12\n");
  write("d/90-note.txt", "maxPods: 50\n");
  const std::string file = dir / "config", drop_ins = dir / "d";
  auto c = Load({"--config", file.c_str(), "--config-dir", drop_ins.c_str(), "--port=13"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->max_pods, 40);
  EXPECT_EQ(c->cluster_domain, "one");
  EXPECT_EQ(c->eviction_hard["memory.available"], "1Mi");
  EXPECT_EQ(c->eviction_hard["nodefs.available"], "2%");
  EXPECT_EQ(c->sync_frequency, std::chrono::minutes(1));
  EXPECT_EQ(c->port, 13);
  EXPECT_THAT(c->json, Not(HasSubstr("unknown")));

  write("d/20-bad.conf", "maxPods: many\n");
  EXPECT_THAT(std::string(Load({"--config", file.c_str(), "--config-dir", drop_ins.c_str()}).status().message()),
              HasSubstr("20-bad.conf: maxPods: must be an integer"));
  ASSERT_TRUE(WriteFileAtomic(dir / "d/20-bad.conf", "maxPods: 3\n").ok());
  EXPECT_THAT(std::string(Load({"--config-dir", drop_ins.c_str()}).status().message()),
              HasSubstr("Object 'Kind' is missing"));
  ASSERT_TRUE(WriteFileAtomic(dir / "d/20-bad.conf", "").ok());
  EXPECT_THAT(std::string(Load({"--config-dir", drop_ins.c_str()}).status().message()), HasSubstr("was empty"));
  EXPECT_THAT(std::string(Load({"--config-dir=/nowhere"}).status().message()),
              HasSubstr("dropin directory \"/nowhere\""));
}

}  // namespace
}  // namespace skiff::kubelet
