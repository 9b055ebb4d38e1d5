#include "kubelet/config_checks.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Status Apply(const std::string& text, Config* c) {
  auto parsed = ParseConfigFile("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n" + text, "f");
  if (!parsed.ok()) return parsed.status();
  return ApplyConfig(*parsed, c);
}

TEST(ConfigChecks, UpstreamsSentences) {
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : {
           Case{"imageGCHighThresholdPercent: 101\n",
                "invalid configuration: imageGCHighThresholdPercent (--image-gc-high-threshold) 101 must be between 0 "
                "and 100, inclusive"},
           {"imageGCLowThresholdPercent: 85\n",
            "imageGCLowThresholdPercent (--image-gc-low-threshold) 85 must be less "
            "than imageGCHighThresholdPercent (--image-gc-high-threshold) 85"},
           {"imageMaximumGCAge: 1m\n", "imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s"},
           {"maxOpenFiles: -1\n", "maxOpenFiles (--max-open-files) -1 must not be a negative number"},
           {"memorySwap: {swapBehavior: UnlimitedSwap}\n",
            "memorySwap.swapBehavior \"UnlimitedSwap\" must be one of: \"\", \"LimitedSwap\" or \"NoSwap\""},
           {"enforceNodeAllocatable: [pods, kube-reserved]\n",
            "kubeReservedCgroup (--kube-reserved-cgroup) must be specified when \"kube-reserved\" or "
            "\"kube-reserved-compressible\" included in enforceNodeAllocatable"},
           {"enforceNodeAllocatable: [pods, none]\n", "may not contain additional enforcements when \"none\""},
           {"enforceNodeAllocatable: [pods]\ncgroupsPerQOS: false\n",
            "cgroupsPerQOS (--cgroups-per-qos) must be set to true when \"pods\" contained in enforceNodeAllocatable"},
           {"reservedSystemCPUs: 0-x\n", "unable to parse reservedSystemCPUs (--reserved-cpus) 0-x, error: "},
           {"cpuManagerPolicy: static\n",
            "cpuManagerPolicy (--cpu-manager-policy) \"static\" is not supported by this kubelet, only \"none\" is"},
           {"memoryManagerPolicy: Static\n",
            "memoryManagerPolicy (--memory-manager-policy) \"Static\" is not supported"},
           {"topologyManagerPolicy: best-effort\n", "topologyManagerPolicy"},
           {"shutdownGracePeriod: 30s\n", "shutdownGracePeriod 30s is not supported by this kubelet"},
           {"shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 5}]\n",
            "shutdownGracePeriodByPodPriority is not supported by this kubelet"},
           {"nodeLeaseDurationSeconds: -1\n", "nodeLeaseDurationSeconds must be greater than 0"},
           {"systemCgroups: /s\n",
            "systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified"},
           {"eventBurst: -1\n", "eventBurst (--event-burst) -1 must not be a negative number"},
           {"eventRecordQPS: -1\n", "eventRecordQPS (--event-qps) -1 must not be a negative number"},
           {"healthzPort: 65536\n", "healthzPort (--healthz-port) 65536 must be between 1 and 65535, inclusive"},
           {"readOnlyPort: 65536\n", "readOnlyPort (--read-only-port) 65536 must be between 0 and 65535, inclusive"},
           {"cpuCFSQuotaPeriod: 2s\n",
            "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {2s} must be between 1ms and 1sec, inclusive"},
           {"cpuCFSQuotaPeriod: 0s\n", "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {0s} must be between"},
           {"cpuCFSQuotaPeriod: 200ms\nfeatureGates: {CustomCPUCFSQuotaPeriod: false}\n",
            "{200ms} requires feature gate CustomCPUCFSQuotaPeriod"},
           {"iptablesDropBit: 32\n", "iptablesDropBit (--iptables-drop-bit) 32 must be between 0 and 31, inclusive"},
           {"iptablesMasqueradeBit: -1\n",
            "iptablesMasqueradeBit (--iptables-masquerade-bit) -1 must be between 0 and 31, inclusive"},
           {"kubeAPIBurst: -1\n", "kubeAPIBurst (--kube-api-burst) -1 must not be a negative number"},
           {"kubeAPIQPS: -1\n", "kubeAPIQPS (--kube-api-qps) -1 must not be a negative number"},
           {"maxPods: -1\n", "maxPods (--max-pods) -1 must not be a negative number"},
           {"oomScoreAdj: 1001\n", "oomScoreAdj (--oom-score-adj) 1001 must be between -1000 and 1000, inclusive"},
           {"podsPerCore: -1\n", "podsPerCore (--pods-per-core) -1 must not be a negative number"},
           {"registryBurst: -1\n", "registryBurst (--registry-burst) -1 must not be a negative number"},
           {"registryPullQPS: -1\n", "registryPullQPS (--registry-qps) -1 must not be a negative number"},
           {"maxParallelImagePulls: 0\n", "maxParallelImagePulls 0 must be a positive number"},
           {"serializeImagePulls: true\nmaxParallelImagePulls: 2\n",
            "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) is set "
            "to false"},
           {"serverTLSBootstrap: true\nfeatureGates: {RotateKubeletServerCertificate: false}\n",
            "serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate"},
           {"runOnce: true\n", "runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set"},
           {"registerWithTaints: [{key: a b, effect: NoSchedule}]\n", "invalid taint: {a b  NoSchedule <nil>}"},
           {"registerWithTaints: [{key: a, value: v, effect: X}]\n", "invalid taint: {a v X <nil>}"},
           {"registerWithTaints: [{key: a, effect: NoExecute, timeAdded: \"2026-01-01T00:00:00Z\"}]\n",
            "taint.TimeAdded is not nil"},
           {"topologyManagerPolicy: x\n",
            "topologyManagerPolicy (--topology-manager-policy) \"x\" must be one of: [\"none\" \"best-effort\" "
            "\"restricted\" \"single-numa-node\"]"},
           {"topologyManagerScope: x\n",
            "topologyManagerScope (--topology-manager-scope) \"x\" must be one of: \"container\", or \"pod\""},
           {"shutdownGracePeriodCriticalPods: 2s\nshutdownGracePeriod: 1s\n",
            "shutdownGracePeriodCriticalPods {2s} must be <= shutdownGracePeriod {1s}"},
           {"shutdownGracePeriod: 1ms\n", "shutdownGracePeriod {1ms} must be either zero or otherwise >= 1 sec"},
           {"shutdownGracePeriod: 1s\nfeatureGates: {GracefulNodeShutdown: false}\n",
            "specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate "
            "GracefulNodeShutdown"},
           {"shutdownGracePeriod: 1s\nshutdownGracePeriodByPodPriority: [{priority: 1, "
            "shutdownGracePeriodSeconds: 2}]\n",
            "Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time"},
           {"crashLoopBackOff: {maxContainerRestartPeriod: 999ms}\n",
            "CrashLoopBackOff.MaxContainerRestartPeriod (got: 0.999 seconds) must be set between 1s and 300s"},
           {"crashLoopBackOff: {maxContainerRestartPeriod: 301s}\n",
            "CrashLoopBackOff.MaxContainerRestartPeriod (got: 301 seconds) must be set between 1s and 300s"},
           {"crashLoopBackOff: {maxContainerRestartPeriod: 9s}\nfeatureGates: {KubeletCrashLoopBackOffMax: false}\n",
            "FeatureGate KubeletCrashLoopBackOffMax not enabled, CrashLoopBackOff.MaxContainerRestartPeriod must not "
            "be "
            "set"},
           {"enforceNodeAllocatable: [kube-reserved-compressible, kube-reserved]\n",
            "both \"kube-reserved\" and \"kube-reserved-compressible\" cannot be specified together in "
            "enforceNodeAllocatable (--enforce-node-allocatable)"},
           {"enforceNodeAllocatable: [pods, pods]\n",
            "duplicated enforcements \"pods\" in enforceNodeAllocatable (--enforce-node-allocatable)"},
           {"enforceNodeAllocatable: [x]\n",
            "option \"x\" specified for enforceNodeAllocatable (--enforce-node-allocatable). Valid options are "
            "\"pods\", "
            "\"system-reserved\", \"system-reserved-compressible\", \"kube-reserved\", \"kube-reserved-compressible\" "
            "or "
            "\"none\""},
           {"hairpinMode: x\n",
            "option \"x\" specified for hairpinMode (--hairpin-mode). Valid options are \"none\", \"hairpin-veth\" or "
            "\"promiscuous-bridge\""},
           {"imagePullCredentialsVerificationPolicy: x\n",
            "option \"x\" specified for imagePullCredentialsVerificationPolicy. Valid options are \"NeverVerify\", "},
           {"preloadedImagesVerificationAllowlist: [a]\n", "can't set `preloadedImagesVerificationAllowlist` if "},
           {"reservedMemory: [{numaNode: 1, limits: {cpu: 1}}]\n",
            "the limit type \"cpu\" for NUMA node 1 is not supported, only [memory hugepages-<HugePageSize>] is "
            "accepted"},
           {"reservedMemory: [{numaNode: 0, limits: {memory: 0}}]\n",
            "reserved memory may not be zero for NUMA node 0 and resource \"memory\""},
           {"reservedMemory: [{limits: {memory: 1Gi}}, {numaNode: 0, limits: {memory: 1Gi}}]\n",
            "the reserved memory has a duplicate value for NUMA node 0 and resource \"memory\""},
           {"userNamespaces: {idsPerPod: 65537}\n", "userNamespaces.idsPerPod must be a multiple of 65536"},
           {"showHiddenMetricsForVersion: \"1.2\"\n",
            "invalid showHiddenMetricsForVersion: showHiddenMetricsForVersion: Invalid value: \"1.2\": must be omitted "
            "or "
            "have the value '1.35'; only the previous minor version is allowed"},
           {"logging: {format: x}\n",
            "initialize logging: logging.format: Invalid value: \"x\": Unsupported log format"},
           {"logging: {options: {json: {splitStream: true}}}\n",
            "logging.options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled"},
           {"logging: {format: json, vmodule: [{filePattern: a=b, verbosity: 1}]}\n",
            "initialize logging: [logging.vmodule: Forbidden: Only supported for text log format, logging.vmodule[0]: "
            "Invalid value: \"a=b\": File pattern must not contain equal sign or comma]"},
           {"tracing: {samplingRatePerMillion: -1}\n",
            "tracing.samplingRatePerMillion: Invalid value: -1: sampling rate must be positive"},
           {"tracing: {endpoint: \"dn%2s://localhost:4317\"}\n",
            "tracing.endpoint: Invalid value: \"dn%2s://localhost:4317\": parse \"dn%2s://localhost:4317\": first path "
            "segment in URL cannot contain colon"},
           {"tracing: {endpoint: \"http://localhost\"}\n", "unsupported scheme: http.  Options are none, dns, unix"},
           {"memoryThrottlingFactor: 1.1\n",
            "memoryThrottlingFactor 1.1 must be greater than 0 and less than or equal to 1.0"},
           {"memoryReservationPolicy: TieredReservation\n",
            "memoryReservationPolicy \"TieredReservation\" requires MemoryQoS feature gate to be enabled"},
           {"memoryReservationPolicy: x\n",
            "option \"x\" specified for memoryReservationPolicy. Valid options are \"None\" or \"TieredReservation\""},
           {"enableSystemLogQuery: true\nenableSystemLogHandler: false\n",
            "enableSystemLogHandler is required for enableSystemLogQuery"},
           {"containerLogMaxWorkers: 0\n", "containerLogMaxWorkers must be greater than or equal to 1"},
           {"containerLogMonitorInterval: 2s\n",
            "containerLogMonitorInterval must be a positive time duration greater than or equal to 3s"},
           {"containerLogMaxFiles: 1\n", "containerLogMaxFiles must be greater than 1"},
           {"podLogsDir: ./test\n", "pod logs path \"./test\" must be absolute path"},
           {"podLogsDir: /path/../\n", "pod logs path \"/path/../\" must be normalized"},
           {"podLogsDir: /\xF0\x9F\xA7\xAA\n", "mut contains ASCII characters only"},
       }) {
    Config config;
    EXPECT_THAT(std::string(Apply(c.text, &config).message()), HasSubstr(c.error)) << c.text;
  }
}

// One finding stands alone, several stand in brackets, and all of it before the configuration.
TEST(ConfigChecks, FindingsAreJoined) {
  Config config;
  EXPECT_THAT(std::string(Apply("port: 70000\n", &config).message()),
              StartsWith("failed to validate kubelet configuration, error: invalid configuration: port (--port) 70000 "
                         "must be between 1 and 65535, inclusive, path: {"));
  EXPECT_THAT(
      std::string(Apply("port: 70000\nmaxPods: -1\n", &config).message()),
      StartsWith("failed to validate kubelet configuration, error: [invalid configuration: maxPods (--max-pods) "
                 "-1 must not be a negative number, invalid configuration: port (--port) 70000 must be between 1 "
                 "and 65535, inclusive], path: {"));
  EXPECT_EQ(Apply("maxPods: -1\nfeatureGates: {Nope: true}\n", &config).message(),
            "failed to validate kubelet configuration, error: unrecognized feature gate: Nope");
}

TEST(ConfigChecks, OneProcessAloneIsNotKilledOnlyWithCgroupV2) {
  auto file = ParseConfigFile(
      "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nsingleProcessOOMKill: false\n", "f");
  ASSERT_TRUE(file.ok()) << file.status();
  Config config;
  ASSERT_TRUE(ApplyConfig(DefaultConfig(false), &config).ok());
  EXPECT_THAT(ConfigProblems(*file, config, true), IsEmpty());
  EXPECT_THAT(ConfigProblems(*file, config, false),
              ElementsAre("invalid configuration: singleProcessOOMKill must not be explicitly set to false when using "
                          "cgroup v1"));
}

TEST(ConfigChecks, TlsSettings) {
  Config config;
  EXPECT_EQ(Apply("tlsMinVersion: VersionTLS9\n", &config).message(),
            "failed to construct kubelet dependencies: unknown tls version \"VersionTLS9\"");
  EXPECT_EQ(Apply("tlsCipherSuites: [TLS_X]\n", &config).message(),
            "failed to construct kubelet dependencies: Cipher suite TLS_X not supported or doesn't exist");
  EXPECT_EQ(Apply("tlsCurvePreferences: [29, 29]\n", &config).message(),
            "failed to construct kubelet dependencies: duplicate curve preference 29");
  EXPECT_EQ(Apply("tlsCurvePreferences: [7]\n", &config).message(),
            "failed to construct kubelet dependencies: curve preference 7 is not supported by the current Go version");
  EXPECT_EQ(Apply("tlsCurvePreferences: [70000]\n", &config).message(),
            "failed to construct kubelet dependencies: curve preference 70000 is out of range (must be 1-65535)");

  ASSERT_EQ(Apply("", &config).message(), "");
  EXPECT_EQ(config.tls_limits.least_minor_version, 2);
  EXPECT_THAT(config.tls_limits.ciphers, IsEmpty());
  ASSERT_EQ(Apply("tlsMinVersion: VersionTLS11\ntlsCurvePreferences: [29, 23, 4588]\ntlsCipherSuites: "
                  "[TLS_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305]\n",
                  &config)
                .message(),
            "");
  EXPECT_EQ(config.tls_limits.least_minor_version, 1);
  EXPECT_THAT(config.tls_limits.ciphers, ElementsAre("ECDHE-RSA-CHACHA20-POLY1305", "AES128-SHA"));
  EXPECT_THAT(config.tls_limits.groups, ElementsAre("X25519", "P-256"));
  ASSERT_EQ(Apply("tlsCipherSuites: [TLS_CHACHA20_POLY1305_SHA256]\n", &config).message(), "");
  EXPECT_EQ(config.tls_limits.least_minor_version, 3) << "nothing is left for earlier versions";
}

TEST(ConfigChecks, ReservedCpusTakeThePlaceOfOthers) {
  Config config;
  ASSERT_TRUE(Apply("reservedSystemCPUs: 0-1,5\nkubeReserved: {cpu: 100m, memory: 1Gi}\n", &config).ok());
  EXPECT_EQ(config.system_reserved["cpu"], "3");
  EXPECT_FALSE(config.kube_reserved.contains("cpu"));
  EXPECT_EQ(config.kube_reserved["memory"], "1Gi");
}

TEST(ConfigChecks, EvictionDefaultsAreReplacedOrMerged) {
  Config config;
  ASSERT_TRUE(Apply("evictionHard: {memory.available: 1Gi}\n", &config).ok());
  EXPECT_EQ(config.eviction_hard.size(), 1u);
  Config merged;
  ASSERT_TRUE(Apply("evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true\n", &merged).ok());
  EXPECT_EQ(merged.eviction_hard["memory.available"], "1Gi");
  EXPECT_EQ(merged.eviction_hard["nodefs.available"], "10%");
  EXPECT_EQ(merged.eviction_hard.size(), 5u);
}

}  // namespace
}  // namespace skiff::kubelet
