#include "proxy/config.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace skiff::proxy {
namespace {

using nlohmann::json;

StatusOr<CommandLine> Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "kube-proxy");
  return CommandLine::Parse(static_cast<int>(args.size()), args.data());
}

TEST(ConfigTest, EveryFlagOfUpstreamIsAccepted) {
  auto table = ReadFile("../shared/facts/kube-proxy-flags.tsv");
  if (!table.ok()) GTEST_SKIP() << "no facts here";
  int rows = 0;
  for (std::string_view line : absl::StrSplit(*table, '\n', absl::SkipEmpty())) {
    std::vector<std::string> cells = absl::StrSplit(line, '\t');
    if (cells.size() < 3 || cells[0] == "flag" || cells[0] == "help") continue;
    std::string value = cells[2];
    if (value.starts_with("(") || value == "[]" || value == "{}" || value == "\"\"") value = "";
    if (value.size() > 1 && value.front() == '"') value = value.substr(1, value.size() - 2);
    if (cells[0] == "proxy-mode") value = "iptables";
    if (cells[0] == "detect-local-mode") value = "ClusterCIDR";
    std::string flag = absl::StrCat("--", cells[0], "=", value);
    auto line_ok = Parse({flag.c_str()});
    EXPECT_TRUE(line_ok.ok()) << flag << ": " << line_ok.status();
    rows++;
  }
  EXPECT_EQ(rows, 58);
}

TEST(ConfigTest, EveryFieldOfUpstreamIsReadAndShown) {
  auto table = ReadFile("../shared/facts/kube-proxy-config-fields.tsv");
  if (!table.ok()) GTEST_SKIP() << "no facts here";
  json shown = Config().ToJson();
  for (std::string_view line : absl::StrSplit(*table, '\n', absl::SkipEmpty())) {
    std::vector<std::string> cells = absl::StrSplit(line, '\t');
    if (cells[0] == "apiVersion" || cells[3] == "object" || cells[2].find("[]") != std::string::npos) continue;
    bool omit = cells.size() > 6 && cells[6] == "omitempty";
    json* at = &shown;
    bool there = true;
    for (std::string_view part : absl::StrSplit(cells[2], '.')) {
      auto it = at->find(std::string(part));
      if (it == at->end()) {
        there = false;
        break;
      }
      at = &*it;
    }
    EXPECT_TRUE(there || omit || cells[2] == "logging.vmodule") << cells[2];
  }
}

TEST(ConfigTest, RecordedConfigurationSurvives) {
  auto text = ReadFile("../shared/goldens/proxy/15-kube-proxy/configz.json");
  if (!text.ok()) GTEST_SKIP() << "no recordings here";
  json recorded = json::parse(*text)["response"]["body"]["kubeproxy.config.k8s.io"];
  Config config;
  ASSERT_TRUE(config.Read(recorded.dump()).ok());
  config.Complete();
  EXPECT_TRUE(config.Validate().ok()) << config.Validate();
  EXPECT_EQ(json::diff(recorded, config.ToJson()), json::array());
}

TEST(ConfigTest, BadInput) {
  for (const auto& [text, want] : std::vector<std::pair<const char*, const char*>>{
           {"kind: KubeProxyConfiguration\n",
            "Object 'apiVersion' is missing in '{\"kind\":\"KubeProxyConfiguration\"}'"},
           {"kind: X\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n",
            "no kind \"X\" is registered for version \"kubeproxy.config.k8s.io/v1alpha1\" in scheme \"proxy\""},
           {"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nbindAddress: 7\n",
            "json: cannot unmarshal number into Go struct field KubeProxyConfiguration.bindAddress of type string"},
           {"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nconntrack: 7\n",
            "json: cannot unmarshal number into Go struct field KubeProxyConfiguration.conntrack of type object"},
           {"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nconfigSyncPeriod: soon\n",
            "configSyncPeriod: time: invalid duration \"soon\""},
       }) {
    Config config;
    EXPECT_EQ(config.Read(text).message(), want);
  }
  Config config;
  EXPECT_FALSE(config.Read("a: [").ok());
  EXPECT_FALSE(config.Read("").ok());
  EXPECT_FALSE(config.Read("[]").ok());

  for (const auto& [args, want] : std::vector<std::pair<std::vector<const char*>, const char*>>{
           {{"--healthz-bind-address=x"},
            "failed validate: KubeProxyConfiguration.HealthzBindAddress: Invalid value: \"x\": must be IP:port"},
           {{"--oom-score-adj=2000"},
            "failed validate: KubeProxyConfiguration.OOMScoreAdj: Invalid value: 2000: must be within the range "
            "[-1000, "
            "1000]"},
           {{"--nodeport-addresses=primary,10.0.0.0/8"},
            "failed validate: KubeProxyConfiguration.NodePortAddresses[0]: Invalid value: \"primary\": can't use both "
            "'primary' and CIDRs"},
           {{"--nope"}, "unknown flag: --nope"},
           {{"extra"}, "unknown command \"extra\" for \"kube-proxy\""},
           {{"--config=/nonexistent"}, "failed complete: open /nonexistent: no such file or directory"},
           {{"--feature-gates=A"}, "invalid argument \"A\" for \"--feature-gates\" flag: missing bool value for A"},
       }) {
    EXPECT_EQ(Parse(args).status().message(), want);
  }
}

TEST(ConfigTest, DefaultsFollowTheFamily) {
  EXPECT_EQ(Parse({})->config.healthz_bind_address, "0.0.0.0:10256");
  auto six = Parse({"--bind-address=::"});
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->config.healthz_bind_address, "[::]:10256");
  EXPECT_EQ(six->config.metrics_bind_address, "[::1]:10249");
  EXPECT_EQ(Parse({"--metrics-bind-address=10.0.0.1"})->config.metrics_bind_address, "10.0.0.1:10249");
  EXPECT_EQ(Parse({"--hostname-override= N1 "})->config.hostname_override, "n1");
}

}  // namespace
}  // namespace skiff::proxy
