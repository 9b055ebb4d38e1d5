#include "proxy/config.h"

#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "proxy/conntrack_settings.h"

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

TEST(ConfigTest, PassesAreSpacedWhereTheOperatorSaysSo) {
  auto pace = [](std::vector<const char*> args) { return FormatDuration(Parse(std::move(args))->config.pace()); };
  EXPECT_EQ(pace({}), "0s");
  EXPECT_EQ(pace({"--iptables-min-sync-period=1s"}), "1s") << "upstream's default, and the operator's word";
  EXPECT_EQ(pace({"--iptables-min-sync-period=5s"}), "5s");
  EXPECT_EQ(pace({"--iptables-min-sync-period=5s", "--proxy-mode=nftables"}), "5s") << "one flag for both, as upstream";
  EXPECT_EQ(pace({"--iptables-min-sync-period=200ms"}), "200ms");
  EXPECT_EQ(pace({"--ipvs-min-sync-period=5s"}), "0s") << "another mode's";
  EXPECT_EQ(pace({"--ipvs-min-sync-period=5s", "--proxy-mode=ipvs"}), "5s");
  auto file = [](const char* mode, const char* section) {
    Config config;
    config.iptables.min_sync_period = config.nftables.min_sync_period = Config::Duration{0};
    EXPECT_TRUE(config
                    .Read(absl::StrCat("{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, "
                                       "mode: \"",
                                       mode, "\", ", section, "}"))
                    .ok());
    config.Default();
    config.Complete();
    return FormatDuration(config.pace());
  };
  EXPECT_EQ(file("", "iptables: {minSyncPeriod: 0s}"), "0s") << "what kubeadm writes";
  EXPECT_EQ(file("", "iptables: {minSyncPeriod: 1s}"), "1s");
  EXPECT_EQ(file("nftables", "nftables: {minSyncPeriod: 1s}"), "1s");
  EXPECT_EQ(file("nftables", "iptables: {minSyncPeriod: 1s}"), "0s") << "another mode's";
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
    EXPECT_EQ(std::string(config.Read(text).message()), want);
  }
  Config config;
  EXPECT_FALSE(config.Read("a: [").ok());
  EXPECT_FALSE(config.Read("").ok());
  EXPECT_FALSE(config.Read("[]").ok());

  for (
      const auto& [args, want] : std::vector<std::pair<std::vector<const char*>, const char*>>{
          {{"--healthz-bind-address=x"},
           "invalid argument \"x\" for \"--healthz-bind-address\" flag: \"x\" is not in a valid format (ip or "
           "ip:port): "
           "address x: missing port in address"},
          {{"--oom-score-adj=2000"},
           "failed validate: KubeProxyConfiguration.KubeProxyLinuxConfiguration.OOMScoreAdj: Invalid value: 2000: must "
           "be within the range "
           "[-1000, "
           "1000]"},
          {{"--nodeport-addresses=primary,10.0.0.0/8"},
           "failed validate: KubeProxyConfiguration.NodePortAddresses[0]: Invalid value: \"primary\": can't use both "
           "'primary' and CIDRs"},
          {{"--nope"}, "unknown flag: --nope"},
          {{"extra", "more"}, "\"kube-proxy\" does not take any arguments, got [\"extra\" \"more\"]"},
          {{"--config=/nonexistent"}, "failed complete: open /nonexistent: no such file or directory"},
          {{"--feature-gates=A"},
           "invalid argument \"A\" for \"--feature-gates\" flag: malformed pair, expect string=bool"},
          {{"--feature-gates=PreferSameTrafficDistribution=false"},
           "failed complete: cannot set feature gate PreferSameTrafficDistribution to false, feature is locked to "
           "true"},
          {{"--bind-address=x"}, "invalid argument \"x\" for \"--bind-address\" flag: \"x\" is not a valid IP address"},
          {{"--healthz-bind-address=10.0.0.1:99999"},
           "invalid argument \"10.0.0.1:99999\" for \"--healthz-bind-address\" flag: \"99999\" is not a valid number"},
          {{"--config-sync-period=-1s"},
           "failed validate: KubeProxyConfiguration.ConfigSyncPeriod: Invalid value: -1s: must be greater than 0"},
          {{"--iptables-sync-period=0s", "--iptables-min-sync-period=2s"},
           "failed validate: [KubeProxyConfiguration.SyncPeriod: Invalid value: 0s: must be greater than 0, "
           "KubeProxyConfiguration.SyncPeriod: Invalid value: 2s: must be greater than or equal to "
           "KubeProxyConfiguration.MinSyncPeriod]"},
          {{"--conntrack-min=-1", "--conntrack-tcp-timeout-close-wait=-2s"},
           "failed validate: [KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.Min: "
           "Invalid value: -1: must be greater than or equal to 0, "
           "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPCloseWaitTimeout: "
           "Invalid value: -2s: must be greater than or equal to 0]"},
          {{"--detect-local-mode=X"},
           "failed validate: KubeProxyConfiguration.DetectLocalMode: Unsupported value: \"X\": supported values: "
           "\"ClusterCIDR\", \"NodeCIDR\", \"BridgeInterface\", \"InterfaceNamePrefix\", \"\""},
          {{"--detect-local-mode=BridgeInterface"},
           "failed validate: KubeProxyConfiguration.DetectLocalConfiguration.InterfaceName: Invalid value: \"\": must "
           "not be empty"},
          {{"--cluster-cidr=10.0.0.0/8,10.1.0.0/16"},
           "failed validate: KubeProxyConfiguration.DetectLocalConfiguration.ClusterCIDRs: Invalid value: "
           "[]string{\"10.0.0.0/8\", \"10.1.0.0/16\"}: must be a either a single CIDR or dual-stack pair of CIDRs "
           "(e.g. "
           "[10.100.0.0/16, fde4:8dba:82e1::/48]"},
          {{"--show-hidden-metrics-for-version=1.30"},
           "failed validate: KubeProxyConfiguration.ShowHiddenMetricsForVersion: Invalid value: \"1.30\": invalid "
           "showHiddenMetricsForVersion: showHiddenMetricsForVersion: Invalid value: \"1.30\": must be omitted or have "
           "the value '1.35'; only the previous minor version is allowed"},
          {{"--logging-format=x"}, "initialize logging: logging.format: Invalid value: \"x\": Unsupported log format"},
          {{"--metrics-port=0"},
           "failed validate: KubeProxyConfiguration.MetricsBindAddress: Invalid value: \"\": must be IP:port"},
          {{"--proxy-mode=ipvs", "--ipvs-exclude-cidrs=x", "--ipvs-tcp-timeout=-1s"},
           "failed validate: [KubeProxyConfiguration.KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must "
           "be "
           "greater than or equal to 0, KubeProxyConfiguration.KubeProxyIPVSConfiguration.ExcludeCidrs[0]: Invalid "
           "value: \"x\": must be a valid CIDR]"},
      }) {
    EXPECT_EQ(std::string(Parse(args).status().message()), want);
  }
}

TEST(ConfigTest, Defaults) {
  EXPECT_EQ(Parse({})->config.healthz_bind_address, "0.0.0.0:10256");
  // In a file the servers follow the family; the flags have defaults of their own.
  Config six;
  ASSERT_TRUE(
      six.Read("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nbindAddress: '::'\n").ok());
  six.Default();
  EXPECT_EQ(six.healthz_bind_address, "[::]:10256");
  EXPECT_EQ(six.metrics_bind_address, "[::1]:10249");
  EXPECT_EQ(Parse({"--bind-address=::"})->config.healthz_bind_address, "0.0.0.0:10256");
  EXPECT_EQ(Parse({"--metrics-bind-address=10.0.0.1"})->config.metrics_bind_address, "10.0.0.1:10249");
  EXPECT_EQ(Parse({"--healthz-port=0"})->config.healthz_bind_address, "");
  EXPECT_EQ(Parse({"--hostname-override= N1 "})->config.hostname_override, "n1");
  auto nft = Parse({"--proxy-mode=nftables"});
  EXPECT_EQ(nft->config.node_port_addresses, std::vector<std::string>{"primary"});
  EXPECT_FALSE(nft->config.localhost());
  EXPECT_TRUE(Parse({})->config.localhost());
  EXPECT_FALSE(Parse({"--iptables-localhost-nodeports=false"})->config.localhost());
}

// The recording's flags, by which its kube-proxy was started, give its /flagz and its /configz.
TEST(ConfigTest, RecordedFlags) {
  auto text = ReadFile("../shared/goldens/proxy/15-kube-proxy/flagz.json");
  auto configz = ReadFile("../shared/goldens/proxy/15-kube-proxy/configz.json");
  if (!text.ok() || !configz.ok()) GTEST_SKIP() << "no recordings here";
  std::string body = json::parse(*text)["response"]["body"];
  std::map<std::string, std::string> recorded;
  for (absl::string_view line : absl::StrSplit(body, '\n')) {
    std::pair<std::string, std::string> flag = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (!flag.first.empty() && absl::ascii_islower(flag.first[0]) && flag.first.find(' ') == std::string::npos)
      recorded[flag.first] = flag.second;
  }
  EXPECT_EQ(recorded.size(), 59u);
  std::vector<std::string> args;
  for (const char* name : {"cluster-cidr", "conntrack-max-per-core", "conntrack-tcp-timeout-close-wait",
                           "conntrack-tcp-timeout-established", "hostname-override", "kubeconfig", "proxy-mode"}) {
    args.push_back(absl::StrCat("--", name, "=", recorded[name]));
  }
  std::vector<const char*> pointers;
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  auto line = Parse(pointers);
  ASSERT_TRUE(line.ok()) << line.status();
  std::map<std::string, std::string> ours(line->flags.begin(), line->flags.end());
  recorded.erase("nodeport-addresses");  // "primary", resolved once the node is known
  for (const auto& [name, value] : recorded) EXPECT_EQ(ours[name], value) << name;
  json want = json::parse(*configz)["response"]["body"]["kubeproxy.config.k8s.io"];
  EXPECT_EQ(json::diff(want, line->config.ToJson()), json::array());
}

TEST(ConfigTest, ConntrackSysctls) {
  Config::Conntrack c;
  auto sysctls = ConntrackSysctls(c, 2);
  EXPECT_EQ(sysctls["nf_conntrack_max"], 131072);
  EXPECT_EQ(sysctls["nf_conntrack_tcp_timeout_established"], 86400);
  EXPECT_EQ(sysctls.count("nf_conntrack_udp_timeout"), 0u);
  EXPECT_EQ(ConntrackSysctls(c, 8)["nf_conntrack_max"], 262144);
  EXPECT_EQ(ConntrackSysctls(c, 128)["nf_conntrack_max"], 1048576);
  c.max_per_core = 0;
  EXPECT_EQ(ConntrackSysctls(c, 2).count("nf_conntrack_max"), 0u);
  char dir[] = "/tmp/skiff-conntrack-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(std::string(dir), "nf_conntrack_max"), "1000\n").ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(std::string(dir), "nf_conntrack_count"), "7\n").ok());
  ApplyConntrackSysctls({{"nf_conntrack_max", 2000}, {"nf_conntrack_udp_timeout", 30}}, std::string(dir));
  auto fill = ReadConntrackFill(std::string(dir));
  ASSERT_TRUE(fill.ok());
  EXPECT_EQ(fill->entries, 7);
  EXPECT_EQ(fill->limit, 2000);
  EXPECT_TRUE(absl::IsNotFound(ReadConntrackFill("/nonexistent").status()));
  EXPECT_EQ(system(absl::StrCat("rm -r ", dir).c_str()), 0);
}

}  // namespace
}  // namespace skiff::proxy
