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
  auto c = Load({"--cgroup-root=/n1", "--cgroup-driver", "systemd", "--max-pods=7", "--fail-swap-on=false", "-v", "4",
                 "--cluster-dns=10.0.0.1,10.0.0.2", "--eviction-hard=memory.available<200Mi,nodefs.available<5%",
                 "--runtime-cgroups=/rt", "--kubelet-cgroups=/kl", "--sync-frequency=30s",
                 "--register-with-taints=a=b:NoSchedule", "--feature-gates=PodLevelResources=true"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->cgroup_root, "/n1");
  EXPECT_EQ(c->cgroup_driver, "systemd");
  EXPECT_EQ(c->max_pods, 7);
  EXPECT_FALSE(c->fail_swap_on);
  EXPECT_EQ(c->verbosity, 4);
  EXPECT_EQ(c->cluster_dns, (std::vector<std::string>{"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(c->eviction_hard["memory.available"], "200Mi");
  EXPECT_EQ(c->runtime_cgroups, "/rt");
  EXPECT_EQ(c->kubelet_cgroups, "/kl");
  EXPECT_EQ(c->sync_frequency, std::chrono::seconds(30));
  EXPECT_THAT(c->register_with_taints_json, HasSubstr("NoSchedule"));
}

// What kubeadm writes: every field that it does not set stands there as zero.
TEST(Config, ZeroInAFileIsAsGoodAsNothing) {
  auto file = ParseConfigFile(R"(
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization:
  mode: Webhook
  webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
makeIPTablesUtilChains: false
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
)",
                              "f");
  ASSERT_TRUE(file.ok()) << file.status();
  Config c;
  ASSERT_EQ(ApplyConfig(*file, &c).message(), "");
  using std::chrono::minutes;
  using std::chrono::seconds;
  EXPECT_TRUE(c.rotate_certificates);
  EXPECT_FALSE(c.make_iptables_util_chains);
  EXPECT_EQ(c.webhook_cache_ttl, minutes(2));
  EXPECT_EQ(c.authorized_ttl, minutes(5));
  EXPECT_EQ(c.unauthorized_ttl, seconds(30));
  EXPECT_EQ(c.container_runtime_endpoint, "unix:///run/containerd/containerd.sock");
  EXPECT_EQ(c.eviction_pressure_transition_period, minutes(5));
  EXPECT_EQ(c.file_check_frequency, seconds(20));
  EXPECT_EQ(c.http_check_frequency, seconds(20));
  EXPECT_EQ(c.image_maximum_gc_age, seconds(0));
  EXPECT_EQ(c.image_minimum_gc_age, minutes(2));
  EXPECT_EQ(c.node_status_report_frequency, minutes(5));
  EXPECT_EQ(c.node_status_update_frequency, seconds(10));
  EXPECT_EQ(c.runtime_request_timeout, minutes(2));
  EXPECT_EQ(c.shutdown_grace_period, seconds(0));
  EXPECT_EQ(c.streaming_idle_timeout, std::chrono::hours(4));
  EXPECT_EQ(c.sync_frequency, minutes(1));
  EXPECT_EQ(c.max_container_restart_period, minutes(5));
  for (const char* shown : {R"("cpuManagerReconcilePeriod":"10s")", R"("volumeStatsAggPeriod":"1m0s")",
                            R"("flushFrequency":"5s")", R"("format":"text")"}) {
    EXPECT_THAT(c.json, HasSubstr(shown));
  }
}

TEST(Config, ZeroIsTakenLiterallyFromPointersAndFlags) {
  TempDir dir;
  const std::string head = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n";
  const std::string path = dir / "config", drop_ins = dir / "d";
  auto load = [&](const std::string& fields, const std::string& drop_in, std::vector<const char*> flags) {
    EXPECT_TRUE(WriteFileAtomic(path, head + fields).ok());
    EXPECT_TRUE(MakeDirs(drop_ins).ok());
    EXPECT_TRUE(WriteFileAtomic(dir / "d/1.conf", head + drop_in).ok());
    flags.insert(flags.begin(), {"--config", path.c_str(), "--config-dir", drop_ins.c_str()});
    auto c = Load(flags);
    EXPECT_TRUE(c.ok()) << c.status();
    return c.value_or(Config());
  };
  using std::chrono::seconds;
  Config c =
      load("registryPullQPS: 0\nregistryBurst: 0\nkubeAPIQPS: 0\nkubeAPIBurst: 0\npodPidsLimit: -7\nmaxPods: 0\n",
           "port: 0\nsyncFrequency: 0s\n", {"--minimum-image-ttl-duration=0s", "--event-burst=0"});
  EXPECT_EQ(c.registry_qps, 0);
  EXPECT_EQ(c.registry_burst, 10);
  EXPECT_EQ(c.kube_api_qps, 0);
  EXPECT_EQ(c.kube_api_burst, 100);
  EXPECT_EQ(c.pod_pids_limit, -1);
  EXPECT_EQ(c.max_pods, 110);
  EXPECT_EQ(c.port, 10250);
  EXPECT_EQ(c.sync_frequency, seconds(60));
  EXPECT_EQ(c.image_minimum_gc_age, seconds(0));
  EXPECT_EQ(c.event_burst, 0);

  // How often the status is sent: as often as it is computed where only that is set, unless a drop-in file sets it.
  EXPECT_EQ(load("nodeStatusUpdateFrequency: 7s\n", "", {}).node_status_report_frequency, seconds(7));
  EXPECT_EQ(load("nodeStatusUpdateFrequency: 7s\nnodeStatusReportFrequency: 0s\n", "", {}).node_status_report_frequency,
            seconds(7));
  EXPECT_EQ(load("", "nodeStatusUpdateFrequency: 7s\n", {}).node_status_report_frequency, seconds(300));
  EXPECT_EQ(load("", "nodeStatusReportFrequency: 0s\n", {}).node_status_report_frequency, seconds(10));
}

// As upstream's: the default thresholds come with the file and with nothing else.
TEST(Config, ThresholdsAreTheFiles) {
  TempDir dir;
  const std::string head = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n";
  const std::string path = dir / "config", drop_ins = dir / "d";
  ASSERT_TRUE(MakeDirs(drop_ins).ok());
  auto load = [&](const std::string& fields, const std::string& drop_in, std::vector<const char*> flags) {
    EXPECT_TRUE(WriteFileAtomic(path, head + fields).ok());
    EXPECT_TRUE(WriteFileAtomic(dir / "d/1.conf", head + drop_in).ok());
    flags.insert(flags.begin(), {"--config", path.c_str(), "--config-dir", drop_ins.c_str()});
    auto c = Load(flags);
    EXPECT_TRUE(c.ok()) << c.status();
    return c.value_or(Config());
  };
  EXPECT_TRUE(Load({})->eviction_hard.empty());
  EXPECT_EQ(load("", "", {}).eviction_hard.size(), 5u);
  EXPECT_EQ(load("evictionHard: {}\n", "", {}).eviction_hard.size(), 0u);
  EXPECT_EQ(load("", "evictionHard: null\n", {}).eviction_hard.size(), 0u);
  Config c = load("evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true\n", "", {});
  EXPECT_EQ(c.eviction_hard.size(), 5u);
  EXPECT_EQ(c.eviction_hard["memory.available"], "1Gi");
  EXPECT_THAT(c.json, HasSubstr(R"("nodefs.available":"10%")"));
  EXPECT_EQ(
      load("mergeDefaultEvictionSettings: true\n", "", {"--eviction-hard=memory.available<1Gi"}).eviction_hard.size(),
      1u);
}

TEST(Config, ImagesArePulledSideBySideWhereOnlyTheirNumberIsSet) {
  const std::string head = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n";
  for (const auto& [fields, serial] : {std::pair("maxParallelImagePulls: 5\n", false),
                                       {"maxParallelImagePulls: 1\n", true},
                                       {"serializeImagePulls: null\nmaxParallelImagePulls: 2\n", false},
                                       {"", true}}) {
    auto file = ParseConfigFile(head + fields, "f");
    ASSERT_TRUE(file.ok()) << file.status();
    Config c;
    EXPECT_EQ(ApplyConfig(*file, &c).message(), "") << fields;
    EXPECT_EQ(c.serialize_image_pulls, serial) << fields;
  }
}

TEST(Config, FlagsAreTrimmedAndGrow) {
  auto c =
      Load({"--eviction-hard=memory.available<1Gi, nodefs.available<5%", "--eviction-hard", " pid.available < 10% ",
            "--kube-reserved=cpu=1", "--kube-reserved= memory = 1Gi ", "--cluster-dns=10.0.0.1,10.0.0.2",
            "--cluster-dns=10.0.0.3", "--feature-gates=PodLevelResources=1", "--feature-gates=NodeSwap = true",
            "--register-with-taints=a=b:NoSchedule", "--register-with-taints=c:NoExecute,d:NoSchedule-",
            "--manifest-url-header=A:1", "--manifest-url-header=A:2", "--node-labels=x=1, y", "--node-labels=z=2",
            "--reserved-memory=0:memory=1Gi;1:memory=2Gi", "--reserved-memory=1:hugepages-2Mi=4Mi",
            "--enforce-node-allocatable=\"pods\"", "--topology-manager-scope=pod"});
  ASSERT_TRUE(c.ok()) << c.status();
  using Map = std::map<std::string, std::string>;
  EXPECT_EQ(c->eviction_hard, (Map{{"memory.available", "1Gi"}, {"nodefs.available", "5%"}, {"pid.available", "10%"}}));
  EXPECT_EQ(c->kube_reserved, (Map{{"cpu", "1"}, {"memory", "1Gi"}}));
  EXPECT_EQ(c->cluster_dns, (std::vector<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(c->feature_gates, (std::map<std::string, bool>{{"NodeSwap", true}, {"PodLevelResources", true}}));
  EXPECT_EQ(c->register_with_taints_json, R"([{"effect":"NoExecute","key":"c"}])");
  EXPECT_EQ(c->static_pod_url_headers.size(), 2u);
  EXPECT_EQ(c->node_labels, (Map{{"x", "1"}, {"y", ""}, {"z", "2"}}));
  EXPECT_EQ(c->enforce_node_allocatable, std::vector<std::string>{"pods"});
  EXPECT_THAT(c->json, HasSubstr(R"("reservedMemory":[{"limits":{"memory":"1Gi"},"numaNode":0},)"
                                 R"({"limits":{"memory":"2Gi"},"numaNode":1},)"
                                 R"({"limits":{"hugepages-2Mi":"4Mi"},"numaNode":1}])"));
}

TEST(Config, BadFlagsInUpstreamsWords) {
  struct Case {
    const char *flag, *error;
  };
  for (const Case& bad : {
           Case{"--eviction-hard=memory.available=1Gi", "malformed pair, expect string<string"},
           {"--kube-reserved=cpu", "malformed pair, expect string=string"},
           {"--feature-gates=NodeSwap", "malformed pair, expect string=bool"},
           {"--feature-gates=NodeSwap=x",
            "invalid value of NodeSwap: x, err: strconv.ParseBool: parsing \"x\": invalid syntax"},
           {"--feature-gates=Nope=true",
            "failed to set feature gates from initial flags-based config: unrecognized feature gate: Nope"},
           {"--max-pods=3000000000", "value out of range"},
           {"--address=1.2.3", "\"1.2.3\" is not a valid IP address"},
           {"--register-with-taints=a=b", "invalid taint spec: a=b"},
           {"--register-with-taints=a=b:Never", "invalid taint effect: Never, unsupported taint effect"},
           {"--register-with-taints=a:NoSchedule,a=b:NoSchedule",
            "duplicated taints with the same key and effect: {a b NoSchedule <nil>}"},
           {"--reserved-memory=0", "the reserved memory has incorrect format, expected numaNodeID:type=quantity"},
           {"--reserved-memory=0:cpu=1", "memory type conversion error, unknown type: \"cpu\""},
           {"--node-labels=kubernetes.io/x=1,a.k8s.io/y=1,node.kubernetes.io/z=1,kubernetes.io/os=linux",
            "failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with "
            "--node-labels: [a.k8s.io/y kubernetes.io/x]\n--node-labels in the 'kubernetes.io' namespace must begin "
            "with "
            "an allowed prefix (kubelet.kubernetes.io, node.kubernetes.io) or be in the specifically allowed set "
            "(beta.kubernetes.io/arch, beta.kubernetes.io/instance-type, beta.kubernetes.io/os, "
            "failure-domain.beta.kubernetes.io/region, failure-domain.beta.kubernetes.io/zone, kubernetes.io/arch, "
            "kubernetes.io/hostname, kubernetes.io/os, node.kubernetes.io/instance-type, "
            "topology.kubernetes.io/region, topology.kubernetes.io/zone)"},
           {"--node-labels=a b=1", "failed to validate kubelet flags: invalid node labels: 'a b' - name part must"},
           {"--kube-reserved=gpu=1", "failed to run Kubelet: cannot reserve \"gpu\" resource"},
           {"--system-reserved=cpu=-1", "failed to run Kubelet: resource quantity for \"cpu\" cannot be negative: -1"},
           {"--qos-reserved=cpu=1%", "failed to run Kubelet: cannot reserve \"cpu\" resource"},
           {"--qos-reserved=memory=101%",
            "failed to run Kubelet: failed to parse percentage \"101%\" for \"memory\" resource: percentage must be "
            "between 0 and 100"},
           {"--authorization-mode=RBAC", "failed to run Kubelet: unknown authorization mode RBAC"},
       }) {
    EXPECT_THAT(std::string(Load({bad.flag}).status().message()), HasSubstr(bad.error)) << bad.flag;
  }
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
