#include "kubelet/feature_gates.h"

#include "absl/strings/str_cat.h"

namespace skiff::kubelet {
namespace {

enum class Maturity { kAlpha, kBeta, kGa, kDeprecated };
struct Gate {
  std::string_view name;
  bool on;
  Maturity maturity;
  bool locked;
};

// The gates that upstream's kubelet accepts.
constexpr Gate kGates[] = {
    {"APIResponseCompression", true, Maturity::kBeta, false},
    {"APIServerIdentity", true, Maturity::kBeta, false},
    {"APIServerTracing", true, Maturity::kGa, true},
    {"APIServingWithRoutine", false, Maturity::kAlpha, false},
    {"AggregatedDiscoveryRemoveBetaType", true, Maturity::kDeprecated, true},
    {"AllAlpha", false, Maturity::kAlpha, false},
    {"AllBeta", false, Maturity::kBeta, false},
    {"AllowDNSOnlyNodeCSR", false, Maturity::kDeprecated, false},
    {"AllowParsingUserUIDFromCertAuth", true, Maturity::kBeta, false},
    {"AllowUnsafeMalformedObjectDeletion", false, Maturity::kAlpha, false},
    {"AnonymousAuthConfigurableEndpoints", true, Maturity::kGa, true},
    {"AnyVolumeDataSource", true, Maturity::kGa, true},
    {"AuthorizeWithSelectors", true, Maturity::kGa, true},
    {"BtreeWatchCache", true, Maturity::kGa, true},
    {"CBORServingAndStorage", false, Maturity::kAlpha, false},
    {"CPUManagerPolicyAlphaOptions", false, Maturity::kAlpha, false},
    {"CPUManagerPolicyBetaOptions", true, Maturity::kBeta, false},
    {"CRIListStreaming", false, Maturity::kAlpha, false},
    {"CSIVolumeHealth", false, Maturity::kAlpha, false},
    {"ChangeContainerStatusOnKubeletRestart", false, Maturity::kDeprecated, false},
    {"ClearingNominatedNodeNameAfterBinding", true, Maturity::kBeta, false},
    {"ClientsAllowCBOR", false, Maturity::kAlpha, false},
    {"ClientsPreferCBOR", false, Maturity::kAlpha, false},
    {"ClusterTrustBundleProjection", false, Maturity::kBeta, false},
    {"ComponentFlagz", true, Maturity::kBeta, false},
    {"ComponentStatusz", true, Maturity::kBeta, false},
    {"ConcurrentWatchObjectDecode", false, Maturity::kBeta, false},
    {"ConsistentListFromCache", true, Maturity::kGa, true},
    {"ConstrainedImpersonation", true, Maturity::kBeta, false},
    {"ContainerCheckpoint", true, Maturity::kBeta, false},
    {"ContainerRestartRules", true, Maturity::kBeta, false},
    {"ContainerStopSignals", false, Maturity::kAlpha, false},
    {"ContextualLogging", true, Maturity::kBeta, false},
    {"CrossNamespaceVolumeDataSource", false, Maturity::kAlpha, false},
    {"CustomCPUCFSQuotaPeriod", true, Maturity::kGa, false},
    {"DRAAdminAccess", true, Maturity::kGa, true},
    {"DRAConsumableCapacity", true, Maturity::kBeta, false},
    {"DRADeviceBindingConditions", true, Maturity::kBeta, false},
    {"DRADeviceTaintRules", false, Maturity::kBeta, false},
    {"DRADeviceTaints", true, Maturity::kBeta, false},
    {"DRAExtendedResource", true, Maturity::kBeta, false},
    {"DRAListTypeAttributes", false, Maturity::kAlpha, false},
    {"DRANodeAllocatableResources", false, Maturity::kAlpha, false},
    {"DRAPartitionableDevices", true, Maturity::kBeta, false},
    {"DRAPrioritizedList", true, Maturity::kGa, false},
    {"DRAResourceClaimDeviceStatus", true, Maturity::kBeta, false},
    {"DRASchedulerFilterTimeout", true, Maturity::kBeta, false},
    {"DRAWorkloadResourceClaims", false, Maturity::kAlpha, false},
    {"DeclarativeValidation", true, Maturity::kGa, true},
    {"DeclarativeValidationBeta", true, Maturity::kBeta, false},
    {"DetectCacheInconsistency", true, Maturity::kBeta, false},
    {"DisableCPUQuotaWithExclusiveCPUs", true, Maturity::kDeprecated, false},
    {"DisableNodeKubeProxyVersion", true, Maturity::kDeprecated, true},
    {"DynamicResourceAllocation", true, Maturity::kGa, true},
    {"EnvFiles", true, Maturity::kBeta, false},
    {"EventedPLEG", false, Maturity::kAlpha, false},
    {"ExtendWebSocketsToKubelet", true, Maturity::kBeta, false},
    {"GangScheduling", false, Maturity::kAlpha, false},
    {"GenericWorkload", false, Maturity::kAlpha, false},
    {"GitRepoVolumeDriver", false, Maturity::kDeprecated, true},
    {"GracefulNodeShutdown", true, Maturity::kBeta, false},
    {"GracefulNodeShutdownBasedOnPodPriority", true, Maturity::kBeta, false},
    {"HostnameOverride", true, Maturity::kBeta, false},
    {"ImageMaximumGCAge", true, Maturity::kGa, true},
    {"ImageVolume", true, Maturity::kGa, true},
    {"ImageVolumeWithDigest", false, Maturity::kAlpha, false},
    {"InPlacePodLevelResourcesVerticalScaling", true, Maturity::kBeta, false},
    {"InPlacePodVerticalScaling", true, Maturity::kGa, true},
    {"InPlacePodVerticalScalingExclusiveCPUs", false, Maturity::kAlpha, false},
    {"InPlacePodVerticalScalingExclusiveMemory", false, Maturity::kAlpha, false},
    {"InPlacePodVerticalScalingInitContainers", true, Maturity::kBeta, false},
    {"KMSv1", false, Maturity::kDeprecated, false},
    {"KubeletCrashLoopBackOffMax", true, Maturity::kBeta, false},
    {"KubeletEnsureSecretPulledImages", true, Maturity::kBeta, false},
    {"KubeletFineGrainedAuthz", true, Maturity::kGa, true},
    {"KubeletInUserNamespace", false, Maturity::kAlpha, false},
    {"KubeletPSI", true, Maturity::kGa, true},
    {"KubeletPodResourcesGet", true, Maturity::kGa, true},
    {"KubeletPodResourcesListUseActivePods", true, Maturity::kDeprecated, false},
    {"KubeletRegistrationGetOnExistsOnly", false, Maturity::kDeprecated, false},
    {"KubeletSeparateDiskGC", true, Maturity::kBeta, false},
    {"KubeletServiceAccountTokenForCredentialProviders", true, Maturity::kBeta, false},
    {"ListFromCacheSnapshot", true, Maturity::kBeta, false},
    {"LocalStorageCapacityIsolationFSQuotaMonitoring", false, Maturity::kBeta, false},
    {"LogarithmicScaleDown", true, Maturity::kGa, true},
    {"LoggingAlphaOptions", false, Maturity::kAlpha, false},
    {"LoggingBetaOptions", true, Maturity::kBeta, false},
    {"ManifestBasedAdmissionControlConfig", false, Maturity::kAlpha, false},
    {"MatchLabelKeysInPodAffinity", true, Maturity::kGa, true},
    {"MatchLabelKeysInPodTopologySpread", true, Maturity::kBeta, false},
    {"MatchLabelKeysInPodTopologySpreadSelectorMerge", true, Maturity::kBeta, false},
    {"MemoryQoS", false, Maturity::kAlpha, false},
    {"MutableCSINodeAllocatableCount", true, Maturity::kGa, true},
    {"MutablePVNodeAffinity", false, Maturity::kAlpha, false},
    {"MutatingAdmissionPolicy", true, Maturity::kGa, false},
    {"NativeHistograms", false, Maturity::kAlpha, false},
    {"NodeDeclaredFeatures", true, Maturity::kBeta, false},
    {"NodeInclusionPolicyInPodTopologySpread", true, Maturity::kGa, true},
    {"NodeLogQuery", true, Maturity::kGa, true},
    {"NodeSwap", true, Maturity::kGa, true},
    {"NominatedNodeNameForExpectation", true, Maturity::kBeta, false},
    {"OpportunisticBatching", true, Maturity::kBeta, false},
    {"PLEGOnDemandRelist", true, Maturity::kBeta, false},
    {"PodAndContainerStatsFromCRI", false, Maturity::kAlpha, false},
    {"PodCertificateRequest", false, Maturity::kBeta, false},
    {"PodDeletionCost", true, Maturity::kBeta, false},
    {"PodLevelResourceManagers", false, Maturity::kAlpha, false},
    {"PodLevelResources", true, Maturity::kBeta, false},
    {"PodLifecycleSleepAction", true, Maturity::kGa, true},
    {"PodLifecycleSleepActionAllowZero", true, Maturity::kGa, true},
    {"PodLogsQuerySplitStreams", false, Maturity::kAlpha, false},
    {"PodObservedGenerationTracking", true, Maturity::kGa, true},
    {"PodReadyToStartContainersCondition", true, Maturity::kBeta, false},
    {"PodsAPI", false, Maturity::kAlpha, false},
    {"PreferSameTrafficDistribution", true, Maturity::kGa, true},
    {"PreventStaticPodAPIReferences", true, Maturity::kBeta, false},
    {"ProcMountType", true, Maturity::kGa, true},
    {"QOSReserved", false, Maturity::kAlpha, false},
    {"RecoverVolumeExpansionFailure", true, Maturity::kGa, true},
    {"RecursiveReadOnlyMounts", true, Maturity::kGa, true},
    {"ReduceDefaultCrashLoopBackOffDecay", false, Maturity::kAlpha, false},
    {"RelaxedDNSSearchValidation", true, Maturity::kGa, true},
    {"RelaxedEnvironmentVariableValidation", true, Maturity::kGa, true},
    {"RelaxedServiceNameValidation", true, Maturity::kBeta, false},
    {"ReloadKubeletClientCAFile", true, Maturity::kBeta, false},
    {"ReloadKubeletServerCertificateFile", true, Maturity::kBeta, false},
    {"RemoteRequestHeaderUID", true, Maturity::kBeta, false},
    {"ResilientWatchCacheInitialization", true, Maturity::kGa, true},
    {"ResourceHealthStatus", true, Maturity::kBeta, false},
    {"ResourceHealthStatusMessage", true, Maturity::kBeta, false},
    {"RestartAllContainersOnContainerExits", true, Maturity::kBeta, false},
    {"RetryGenerateName", true, Maturity::kGa, true},
    {"RotateKubeletServerCertificate", true, Maturity::kBeta, false},
    {"RuntimeClassInImageCriApi", false, Maturity::kAlpha, false},
    {"SELinuxChangePolicy", true, Maturity::kGa, true},
    {"SELinuxMount", false, Maturity::kBeta, false},
    {"SELinuxMountReadWriteOncePod", true, Maturity::kGa, true},
    {"SchedulerAsyncAPICalls", false, Maturity::kBeta, false},
    {"SchedulerAsyncPreemption", true, Maturity::kBeta, false},
    {"SchedulerPopFromBackoffQ", true, Maturity::kBeta, false},
    {"SchedulerQueueingHints", true, Maturity::kGa, true},
    {"SeparateCacheWatchRPC", false, Maturity::kDeprecated, true},
    {"ShardedListAndWatch", false, Maturity::kAlpha, false},
    {"SidecarContainers", true, Maturity::kGa, true},
    {"SizeBasedListCostEstimate", true, Maturity::kBeta, false},
    {"StorageCapacityScoring", false, Maturity::kAlpha, false},
    {"StorageVersionAPI", false, Maturity::kAlpha, false},
    {"StorageVersionHash", true, Maturity::kBeta, false},
    {"StreamingCollectionEncodingToJSON", true, Maturity::kGa, true},
    {"StreamingCollectionEncodingToProtobuf", true, Maturity::kGa, true},
    {"StrictIPCIDRValidation", true, Maturity::kBeta, false},
    {"StructuredAuthenticationConfiguration", true, Maturity::kGa, true},
    {"StructuredAuthenticationConfigurationEgressSelector", true, Maturity::kBeta, false},
    {"SupplementalGroupsPolicy", true, Maturity::kGa, true},
    {"TaintTolerationComparisonOperators", false, Maturity::kAlpha, false},
    {"TopologyAwareWorkloadScheduling", false, Maturity::kAlpha, false},
    {"TopologyManagerPolicyAlphaOptions", false, Maturity::kAlpha, false},
    {"TopologyManagerPolicyBetaOptions", true, Maturity::kBeta, false},
    {"TopologyManagerPolicyOptions", true, Maturity::kGa, true},
    {"UnauthenticatedHTTP2DOSMitigation", true, Maturity::kBeta, false},
    {"UnknownVersionInteroperabilityProxy", true, Maturity::kBeta, false},
    {"UserNamespacesHostNetworkSupport", false, Maturity::kAlpha, false},
    {"UserNamespacesSupport", true, Maturity::kGa, true},
    {"VolumeAttributesClass", true, Maturity::kGa, true},
    {"VolumeLimitScaling", false, Maturity::kAlpha, false},
    {"WatchList", true, Maturity::kBeta, false},
    {"WatchListClient", true, Maturity::kBeta, false},
    {"WindowsCPUAndMemoryAffinity", false, Maturity::kAlpha, false},
    {"WindowsGracefulNodeShutdown", true, Maturity::kBeta, false},
    {"WorkloadAwarePreemption", false, Maturity::kAlpha, false},
};

}  // namespace

Status CheckFeatureGate(std::string_view name, bool value) {
  if (name == "AllAlpha" || name == "AllBeta") return absl::OkStatus();
  for (const Gate& gate : kGates) {
    if (gate.name != name) continue;
    if (gate.locked && value != gate.on) {
      return InvalidArgument("cannot set feature gate ", name, " to ", value ? "true" : "false",
                             ", feature is locked to ", gate.on ? "true" : "false");
    }
    return absl::OkStatus();
  }
  return InvalidArgument("unrecognized feature gate: ", name);
}

bool IsAlphaGate(std::string_view name) {
  for (const Gate& gate : kGates) {
    if (gate.name == name) return gate.maturity == Maturity::kAlpha;
  }
  return name == "AllAlpha";
}

bool FeatureEnabled(std::string_view name, const std::map<std::string, bool>& given) {
  const auto find = [&](std::string_view gate) { return given.find(std::string(gate)); };
  if (const auto own = find(name); own != given.end()) return own->second;
  for (const Gate& gate : kGates) {
    if (gate.name != name) continue;
    const bool staged = gate.maturity == Maturity::kAlpha || gate.maturity == Maturity::kBeta;
    const auto all = find(gate.maturity == Maturity::kAlpha ? "AllAlpha" : "AllBeta");
    return staged && all != given.end() ? all->second : gate.on;
  }
  return false;
}

}  // namespace skiff::kubelet
