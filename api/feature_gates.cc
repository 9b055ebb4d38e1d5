#include "api/feature_gates.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/log.h"

namespace skiff::api {
namespace {

// clang-format off
constexpr FeatureGate kGates[] = {
    {"APIResponseCompression", FeatureStage::kBeta, true, false, ""},
    {"APIServerIdentity", FeatureStage::kBeta, true, false, ""},
    {"APIServerTracing", FeatureStage::kGa, true, true, ""},
    {"APIServingWithRoutine", FeatureStage::kAlpha, false, false, ""},
    {"AggregatedDiscoveryRemoveBetaType", FeatureStage::kDeprecated, true, true, ""},
    {"AllAlpha", FeatureStage::kAlpha, false, false, ""},
    {"AllBeta", FeatureStage::kBeta, false, false, ""},
    {"AllowDNSOnlyNodeCSR", FeatureStage::kDeprecated, false, false, ""},
    {"AllowInsecureKubeletCertificateSigningRequests", FeatureStage::kDeprecated, false, false, ""},
    {"AllowOverwriteTerminationGracePeriodSeconds", FeatureStage::kDeprecated, false, true, ""},
    {"AllowParsingUserUIDFromCertAuth", FeatureStage::kBeta, true, false, ""},
    {"AllowServiceExternalIPs", FeatureStage::kGa, true, false, ""},
    {"AllowUnsafeMalformedObjectDeletion", FeatureStage::kAlpha, false, false, ""},
    {"AnonymousAuthConfigurableEndpoints", FeatureStage::kGa, true, true, ""},
    {"AnyVolumeDataSource", FeatureStage::kGa, true, true, ""},
    {"AtomicFIFO", FeatureStage::kBeta, true, false, ""},
    {"AuthorizeNodeWithSelectors", FeatureStage::kGa, true, true, "AuthorizeWithSelectors"},
    {"AuthorizePodWebsocketUpgradeCreatePermission", FeatureStage::kBeta, true, false, ""},
    {"AuthorizeWithSelectors", FeatureStage::kGa, true, true, ""},
    {"BtreeWatchCache", FeatureStage::kGa, true, true, ""},
    {"CBORServingAndStorage", FeatureStage::kAlpha, false, false, ""},
    {"CPUManagerPolicyAlphaOptions", FeatureStage::kAlpha, false, false, ""},
    {"CPUManagerPolicyBetaOptions", FeatureStage::kBeta, true, false, ""},
    {"CPUManagerPolicyOptions", FeatureStage::kGa, true, true, ""},
    {"CRDObservedGenerationTracking", FeatureStage::kBeta, true, false, ""},
    {"CRDValidationRatcheting", FeatureStage::kGa, true, true, ""},
    {"CRIListStreaming", FeatureStage::kAlpha, false, false, ""},
    {"CSIServiceAccountTokenSecrets", FeatureStage::kGa, true, true, ""},
    {"CSIVolumeHealth", FeatureStage::kAlpha, false, false, ""},
    {"ChangeContainerStatusOnKubeletRestart", FeatureStage::kDeprecated, false, false, ""},
    {"ClearingNominatedNodeNameAfterBinding", FeatureStage::kBeta, true, false, ""},
    {"ClientsAllowCARotation", FeatureStage::kBeta, true, false, ""},
    {"ClientsAllowCBOR", FeatureStage::kAlpha, false, false, ""},
    {"ClientsAllowTLSCacheGC", FeatureStage::kBeta, true, false, ""},
    {"ClientsPreferCBOR", FeatureStage::kAlpha, false, false, ""},
    {"CloudControllerManagerWatchBasedRoutesReconciliation", FeatureStage::kAlpha, false, false, ""},
    {"CloudControllerManagerWebhook", FeatureStage::kAlpha, false, false, ""},
    {"ClusterTrustBundle", FeatureStage::kBeta, false, false, ""},
    {"ClusterTrustBundleProjection", FeatureStage::kBeta, false, false, "ClusterTrustBundle"},
    {"ComponentFlagz", FeatureStage::kBeta, true, false, ""},
    {"ComponentStatusz", FeatureStage::kBeta, true, false, ""},
    {"ConcurrentWatchObjectDecode", FeatureStage::kBeta, false, false, ""},
    {"ConsistentListFromCache", FeatureStage::kGa, true, true, ""},
    {"ConstrainedImpersonation", FeatureStage::kBeta, true, false, ""},
    {"ContainerCheckpoint", FeatureStage::kBeta, true, false, ""},
    {"ContainerRestartRules", FeatureStage::kBeta, true, false, ""},
    {"ContainerStopSignals", FeatureStage::kAlpha, false, false, ""},
    {"ContextualLogging", FeatureStage::kBeta, true, false, ""},
    {"ControllerManagerReleaseLeaderElectionLockOnExit", FeatureStage::kAlpha, false, false, ""},
    {"CoordinatedLeaderElection", FeatureStage::kBeta, false, false, ""},
    {"CrossNamespaceVolumeDataSource", FeatureStage::kAlpha, false, false, ""},
    {"CustomCPUCFSQuotaPeriod", FeatureStage::kGa, true, false, ""},
    {"CustomResourceFieldSelectors", FeatureStage::kGa, true, true, ""},
    {"DRAAdminAccess", FeatureStage::kGa, true, true, "DynamicResourceAllocation"},
    {"DRAConsumableCapacity", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"DRADeviceBindingConditions", FeatureStage::kBeta, true, false, "DynamicResourceAllocation DRAResourceClaimDeviceStatus"},
    {"DRADeviceTaintRules", FeatureStage::kBeta, false, false, "DRADeviceTaints"},
    {"DRADeviceTaints", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"DRAExtendedResource", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"DRAListTypeAttributes", FeatureStage::kAlpha, false, false, "DynamicResourceAllocation"},
    {"DRANodeAllocatableResources", FeatureStage::kAlpha, false, false, "DynamicResourceAllocation"},
    {"DRAPartitionableDevices", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"DRAPrioritizedList", FeatureStage::kGa, true, false, "DynamicResourceAllocation"},
    {"DRAResourceClaimDeviceStatus", FeatureStage::kBeta, true, false, ""},
    {"DRAResourceClaimGranularStatusAuthorization", FeatureStage::kBeta, true, false, "DynamicResourceAllocation DRAResourceClaimDeviceStatus"},
    {"DRAResourcePoolStatus", FeatureStage::kAlpha, false, false, "DynamicResourceAllocation"},
    {"DRASchedulerFilterTimeout", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"DRAWorkloadResourceClaims", FeatureStage::kAlpha, false, false, "DynamicResourceAllocation GenericWorkload"},
    {"DeclarativeValidation", FeatureStage::kGa, true, true, ""},
    {"DeclarativeValidationBeta", FeatureStage::kBeta, true, false, ""},
    {"DeclarativeValidationTakeover", FeatureStage::kDeprecated, false, false, "DeclarativeValidation"},
    {"DeploymentReplicaSetTerminatingReplicas", FeatureStage::kBeta, true, false, ""},
    {"DetectCacheInconsistency", FeatureStage::kBeta, true, false, ""},
    {"DisableAllocatorDualWrite", FeatureStage::kGa, true, true, "MultiCIDRServiceAllocator"},
    {"DisableCPUQuotaWithExclusiveCPUs", FeatureStage::kDeprecated, true, false, ""},
    {"DisableNodeKubeProxyVersion", FeatureStage::kDeprecated, true, true, ""},
    {"DynamicResourceAllocation", FeatureStage::kGa, true, true, ""},
    {"EnvFiles", FeatureStage::kBeta, true, false, ""},
    {"EventedPLEG", FeatureStage::kAlpha, false, false, ""},
    {"ExecProbeTimeout", FeatureStage::kGa, true, true, ""},
    {"ExtendWebSocketsToKubelet", FeatureStage::kBeta, true, false, "NodeDeclaredFeatures"},
    {"ExternalServiceAccountTokenSigner", FeatureStage::kGa, true, true, ""},
    {"GangScheduling", FeatureStage::kAlpha, false, false, "GenericWorkload"},
    {"GenericWorkload", FeatureStage::kAlpha, false, false, ""},
    {"GitRepoVolumeDriver", FeatureStage::kDeprecated, false, true, ""},
    {"GracefulNodeShutdown", FeatureStage::kBeta, true, false, ""},
    {"GracefulNodeShutdownBasedOnPodPriority", FeatureStage::kBeta, true, false, "GracefulNodeShutdown"},
    {"HPAConfigurableTolerance", FeatureStage::kBeta, true, false, ""},
    {"HPAScaleToZero", FeatureStage::kAlpha, false, false, ""},
    {"HostnameOverride", FeatureStage::kBeta, true, false, ""},
    {"ImageMaximumGCAge", FeatureStage::kGa, true, true, ""},
    {"ImageVolume", FeatureStage::kGa, true, true, ""},
    {"ImageVolumeWithDigest", FeatureStage::kAlpha, false, false, "ImageVolume"},
    {"InOrderInformers", FeatureStage::kGa, true, true, ""},
    {"InOrderInformersBatchProcess", FeatureStage::kBeta, true, false, ""},
    {"InPlacePodLevelResourcesVerticalScaling", FeatureStage::kBeta, true, false, "InPlacePodVerticalScaling PodLevelResources NodeDeclaredFeatures"},
    {"InPlacePodVerticalScaling", FeatureStage::kGa, true, true, ""},
    {"InPlacePodVerticalScalingExclusiveCPUs", FeatureStage::kAlpha, false, false, "InPlacePodVerticalScaling"},
    {"InPlacePodVerticalScalingExclusiveMemory", FeatureStage::kAlpha, false, false, "InPlacePodVerticalScaling"},
    {"InPlacePodVerticalScalingInitContainers", FeatureStage::kBeta, true, false, "InPlacePodVerticalScaling NodeDeclaredFeatures"},
    {"InformerResourceVersion", FeatureStage::kGa, true, false, ""},
    {"JobBackoffLimitPerIndex", FeatureStage::kGa, true, true, ""},
    {"JobManagedBy", FeatureStage::kGa, true, true, ""},
    {"JobPodReplacementPolicy", FeatureStage::kGa, true, true, ""},
    {"JobSuccessPolicy", FeatureStage::kGa, true, true, ""},
    {"KMSv1", FeatureStage::kDeprecated, false, false, ""},
    {"KubeletCgroupDriverFromCRI", FeatureStage::kGa, true, true, ""},
    {"KubeletCrashLoopBackOffMax", FeatureStage::kBeta, true, false, ""},
    {"KubeletEnsureSecretPulledImages", FeatureStage::kBeta, true, false, ""},
    {"KubeletFineGrainedAuthz", FeatureStage::kGa, true, true, ""},
    {"KubeletInUserNamespace", FeatureStage::kAlpha, false, false, ""},
    {"KubeletPSI", FeatureStage::kGa, true, true, ""},
    {"KubeletPodResourcesDynamicResources", FeatureStage::kGa, true, true, ""},
    {"KubeletPodResourcesGet", FeatureStage::kGa, true, true, ""},
    {"KubeletPodResourcesListUseActivePods", FeatureStage::kDeprecated, true, false, ""},
    {"KubeletRegistrationGetOnExistsOnly", FeatureStage::kDeprecated, false, false, ""},
    {"KubeletSeparateDiskGC", FeatureStage::kBeta, true, false, ""},
    {"KubeletServiceAccountTokenForCredentialProviders", FeatureStage::kBeta, true, false, ""},
    {"KubeletTracing", FeatureStage::kGa, true, true, ""},
    {"ListFromCacheSnapshot", FeatureStage::kBeta, true, false, ""},
    {"LocalStorageCapacityIsolationFSQuotaMonitoring", FeatureStage::kBeta, false, false, ""},
    {"LogarithmicScaleDown", FeatureStage::kGa, true, true, ""},
    {"LoggingAlphaOptions", FeatureStage::kAlpha, false, false, ""},
    {"LoggingBetaOptions", FeatureStage::kBeta, true, false, ""},
    {"ManifestBasedAdmissionControlConfig", FeatureStage::kAlpha, false, false, ""},
    {"MatchLabelKeysInPodAffinity", FeatureStage::kGa, true, true, ""},
    {"MatchLabelKeysInPodTopologySpread", FeatureStage::kBeta, true, false, ""},
    {"MatchLabelKeysInPodTopologySpreadSelectorMerge", FeatureStage::kBeta, true, false, "MatchLabelKeysInPodTopologySpread"},
    {"MaxUnavailableStatefulSet", FeatureStage::kBeta, false, false, ""},
    {"MemoryQoS", FeatureStage::kAlpha, false, false, ""},
    {"MultiCIDRServiceAllocator", FeatureStage::kGa, true, true, ""},
    {"MutableCSINodeAllocatableCount", FeatureStage::kGa, true, true, ""},
    {"MutablePVNodeAffinity", FeatureStage::kAlpha, false, false, ""},
    {"MutablePodResourcesForSuspendedJobs", FeatureStage::kBeta, true, false, ""},
    {"MutableSchedulingDirectivesForSuspendedJobs", FeatureStage::kBeta, true, false, ""},
    {"MutatingAdmissionPolicy", FeatureStage::kGa, true, false, ""},
    {"NFTablesProxyMode", FeatureStage::kGa, true, true, ""},
    {"NativeHistograms", FeatureStage::kAlpha, false, false, ""},
    {"NodeDeclaredFeatures", FeatureStage::kBeta, true, false, ""},
    {"NodeInclusionPolicyInPodTopologySpread", FeatureStage::kGa, true, true, ""},
    {"NodeLogQuery", FeatureStage::kGa, true, true, ""},
    {"NodeSwap", FeatureStage::kGa, true, true, ""},
    {"NominatedNodeNameForExpectation", FeatureStage::kBeta, true, false, ""},
    {"OpenAPIEnums", FeatureStage::kBeta, true, false, ""},
    {"OpportunisticBatching", FeatureStage::kBeta, true, false, ""},
    {"OrderedNamespaceDeletion", FeatureStage::kGa, true, true, ""},
    {"PLEGOnDemandRelist", FeatureStage::kBeta, true, false, ""},
    {"PersistentVolumeClaimUnusedSinceTime", FeatureStage::kAlpha, false, false, ""},
    {"PodAndContainerStatsFromCRI", FeatureStage::kAlpha, false, false, ""},
    {"PodCertificateRequest", FeatureStage::kBeta, false, false, "AuthorizeNodeWithSelectors"},
    {"PodDeletionCost", FeatureStage::kBeta, true, false, ""},
    {"PodLevelResourceManagers", FeatureStage::kAlpha, false, false, "PodLevelResources"},
    {"PodLevelResources", FeatureStage::kBeta, true, false, ""},
    {"PodLifecycleSleepAction", FeatureStage::kGa, true, true, ""},
    {"PodLifecycleSleepActionAllowZero", FeatureStage::kGa, true, true, "PodLifecycleSleepAction"},
    {"PodLogsQuerySplitStreams", FeatureStage::kAlpha, false, false, ""},
    {"PodObservedGenerationTracking", FeatureStage::kGa, true, true, ""},
    {"PodReadyToStartContainersCondition", FeatureStage::kBeta, true, false, ""},
    {"PodSchedulingReadiness", FeatureStage::kGa, true, true, ""},
    {"PodTopologyLabelsAdmission", FeatureStage::kBeta, true, false, ""},
    {"PodsAPI", FeatureStage::kAlpha, false, false, ""},
    {"PortForwardWebsockets", FeatureStage::kBeta, true, false, ""},
    {"PreferSameTrafficDistribution", FeatureStage::kGa, true, true, ""},
    {"PreventStaticPodAPIReferences", FeatureStage::kBeta, true, false, ""},
    {"ProcMountType", FeatureStage::kGa, true, true, "UserNamespacesSupport"},
    {"QOSReserved", FeatureStage::kAlpha, false, false, ""},
    {"RecoverVolumeExpansionFailure", FeatureStage::kGa, true, true, ""},
    {"RecursiveReadOnlyMounts", FeatureStage::kGa, true, true, ""},
    {"ReduceDefaultCrashLoopBackOffDecay", FeatureStage::kAlpha, false, false, ""},
    {"RelaxedDNSSearchValidation", FeatureStage::kGa, true, true, ""},
    {"RelaxedEnvironmentVariableValidation", FeatureStage::kGa, true, true, ""},
    {"RelaxedServiceNameValidation", FeatureStage::kBeta, true, false, ""},
    {"ReloadKubeletClientCAFile", FeatureStage::kBeta, true, false, ""},
    {"ReloadKubeletServerCertificateFile", FeatureStage::kBeta, true, false, ""},
    {"RemoteRequestHeaderUID", FeatureStage::kBeta, true, false, ""},
    {"ResilientWatchCacheInitialization", FeatureStage::kGa, true, true, ""},
    {"ResourceHealthStatus", FeatureStage::kBeta, true, false, "DynamicResourceAllocation"},
    {"ResourceHealthStatusMessage", FeatureStage::kBeta, true, false, "ResourceHealthStatus"},
    {"RestartAllContainersOnContainerExits", FeatureStage::kBeta, true, false, "ContainerRestartRules NodeDeclaredFeatures"},
    {"RetryGenerateName", FeatureStage::kGa, true, true, ""},
    {"RotateKubeletServerCertificate", FeatureStage::kBeta, true, false, ""},
    {"RuntimeClassInImageCriApi", FeatureStage::kAlpha, false, false, ""},
    {"SELinuxChangePolicy", FeatureStage::kGa, true, true, ""},
    {"SELinuxMount", FeatureStage::kBeta, false, false, ""},
    {"SELinuxMountReadWriteOncePod", FeatureStage::kGa, true, true, ""},
    {"SchedulerAsyncAPICalls", FeatureStage::kBeta, false, false, ""},
    {"SchedulerAsyncPreemption", FeatureStage::kBeta, true, false, ""},
    {"SchedulerPopFromBackoffQ", FeatureStage::kBeta, true, false, ""},
    {"SchedulerQueueingHints", FeatureStage::kGa, true, true, ""},
    {"SeparateCacheWatchRPC", FeatureStage::kDeprecated, false, true, ""},
    {"SeparateTaintEvictionController", FeatureStage::kGa, true, true, ""},
    {"ServiceAccountNodeAudienceRestriction", FeatureStage::kBeta, true, false, ""},
    {"ServiceAccountTokenJTI", FeatureStage::kGa, true, true, ""},
    {"ServiceAccountTokenNodeBinding", FeatureStage::kGa, true, true, "ServiceAccountTokenNodeBindingValidation"},
    {"ServiceAccountTokenNodeBindingValidation", FeatureStage::kGa, true, true, ""},
    {"ServiceAccountTokenPodNodeInfo", FeatureStage::kGa, true, true, ""},
    {"ServiceCIDRStatusFieldWiping", FeatureStage::kDeprecated, true, false, ""},
    {"ShardedListAndWatch", FeatureStage::kAlpha, false, false, ""},
    {"SidecarContainers", FeatureStage::kGa, true, true, ""},
    {"SizeBasedListCostEstimate", FeatureStage::kBeta, true, false, ""},
    {"StaleControllerConsistencyDaemonSet", FeatureStage::kBeta, true, false, ""},
    {"StaleControllerConsistencyJob", FeatureStage::kBeta, true, false, ""},
    {"StaleControllerConsistencyReplicaSet", FeatureStage::kBeta, true, false, ""},
    {"StaleControllerConsistencyStatefulSet", FeatureStage::kBeta, true, false, ""},
    {"StatefulSetSemanticRevisionComparison", FeatureStage::kBeta, true, false, ""},
    {"StorageCapacityScoring", FeatureStage::kAlpha, false, false, ""},
    {"StorageNamespaceIndex", FeatureStage::kDeprecated, true, false, ""},
    {"StorageVersionAPI", FeatureStage::kAlpha, false, false, "APIServerIdentity"},
    {"StorageVersionHash", FeatureStage::kBeta, true, false, ""},
    {"StorageVersionMigrator", FeatureStage::kBeta, false, false, ""},
    {"StreamingCollectionEncodingToJSON", FeatureStage::kGa, true, true, ""},
    {"StreamingCollectionEncodingToProtobuf", FeatureStage::kGa, true, true, ""},
    {"StrictIPCIDRValidation", FeatureStage::kBeta, true, false, ""},
    {"StructuredAuthenticationConfiguration", FeatureStage::kGa, true, true, ""},
    {"StructuredAuthenticationConfigurationEgressSelector", FeatureStage::kBeta, true, false, "StructuredAuthenticationConfiguration"},
    {"StructuredAuthenticationConfigurationJWKSMetrics", FeatureStage::kBeta, true, false, "StructuredAuthenticationConfiguration"},
    {"SupplementalGroupsPolicy", FeatureStage::kGa, true, true, ""},
    {"SystemdWatchdog", FeatureStage::kGa, true, true, ""},
    {"TaintTolerationComparisonOperators", FeatureStage::kAlpha, false, false, ""},
    {"TokenRequestServiceAccountUIDValidation", FeatureStage::kBeta, true, false, ""},
    {"TopologyAwareWorkloadScheduling", FeatureStage::kAlpha, false, false, "GenericWorkload"},
    {"TopologyManagerPolicyAlphaOptions", FeatureStage::kAlpha, false, false, ""},
    {"TopologyManagerPolicyBetaOptions", FeatureStage::kBeta, true, false, ""},
    {"TopologyManagerPolicyOptions", FeatureStage::kGa, true, true, ""},
    {"TranslateStreamCloseWebsocketRequests", FeatureStage::kBeta, true, false, ""},
    {"UnauthenticatedHTTP2DOSMitigation", FeatureStage::kBeta, true, false, ""},
    {"UnknownVersionInteroperabilityProxy", FeatureStage::kBeta, true, false, "APIServerIdentity"},
    {"UnlockWhileProcessingFIFO", FeatureStage::kBeta, true, false, ""},
    {"UserNamespacesHostNetworkSupport", FeatureStage::kAlpha, false, false, "UserNamespacesSupport NodeDeclaredFeatures"},
    {"UserNamespacesSupport", FeatureStage::kGa, true, true, ""},
    {"VolumeAttributesClass", FeatureStage::kGa, true, true, ""},
    {"VolumeLimitScaling", FeatureStage::kAlpha, false, false, ""},
    {"WatchCacheInitializationPostStartHook", FeatureStage::kBeta, true, false, ""},
    {"WatchList", FeatureStage::kBeta, true, false, ""},
    {"WatchListClient", FeatureStage::kBeta, true, false, ""},
    {"WinDSR", FeatureStage::kGa, true, true, ""},
    {"WinOverlay", FeatureStage::kGa, true, true, ""},
    {"WindowsCPUAndMemoryAffinity", FeatureStage::kAlpha, false, false, ""},
    {"WindowsGracefulNodeShutdown", FeatureStage::kBeta, true, false, "GracefulNodeShutdown"},
    {"WindowsHostNetwork", FeatureStage::kDeprecated, false, false, ""},
    {"WorkloadAwarePreemption", FeatureStage::kAlpha, false, false, "GangScheduling"},
    {"WorkloadWithJob", FeatureStage::kAlpha, false, false, "GenericWorkload"},
};
// clang-format on

const FeatureGate* Find(std::string_view name) {
  const FeatureGate* at = std::lower_bound(std::begin(kGates), std::end(kGates), name,
                                           [](const FeatureGate& gate, std::string_view n) { return gate.name < n; });
  return at != std::end(kGates) && at->name == name ? at : nullptr;
}

const char* Word(bool on) { return on ? "true" : "false"; }

}  // namespace

std::span<const FeatureGate> KnownFeatureGates() { return kGates; }

Status FeatureGates::Set(const std::map<std::string, bool>& wanted) {
  std::vector<std::string> problems;
  std::map<std::string, bool, std::less<>> set;
  for (const auto& [name, on] : wanted) {
    const FeatureGate* gate = Find(name);
    if (gate == nullptr) {
      LOG_WARNING(absl::StrCat("unrecognized feature gate: ", name));
      continue;
    }
    if (gate->locked && gate->on != on) {
      problems.push_back(
          absl::StrCat("cannot set feature gate ", name, " to ", Word(on), ", feature is locked to ", Word(gate->on)));
      continue;
    }
    set[name] = on;
  }
  for (const auto& [special, stage] :
       {std::pair("AllAlpha", FeatureStage::kAlpha), std::pair("AllBeta", FeatureStage::kBeta)}) {
    const auto it = set.find(special);
    if (it == set.end()) continue;
    for (const FeatureGate& gate : kGates) {
      if (gate.stage == stage && !gate.locked && !std::string_view(gate.name).starts_with("All")) {
        set.try_emplace(gate.name, it->second);
      }
    }
  }
  std::swap(set, set_);
  for (const FeatureGate& gate : kGates) {
    if (!Enabled(gate.name) || gate.stage == FeatureStage::kDeprecated) continue;
    std::vector<std::string_view> disabled;
    for (absl::string_view dependency : absl::StrSplit(gate.depends_on, ' ', absl::SkipEmpty())) {
      const std::string_view name(dependency.data(), dependency.size());
      // A gate that other programs have is not ours to know.
      if (Find(name) != nullptr && !Enabled(name)) disabled.push_back(name);
    }
    if (disabled.empty()) continue;
    problems.push_back(absl::StrCat(gate.name, " is enabled, but depends on features that are disabled: [",
                                    absl::StrJoin(disabled, " "), "]"));
  }
  if (problems.empty()) return absl::OkStatus();
  std::swap(set, set_);
  if (problems.size() == 1) return InvalidArgument(problems[0]);
  return InvalidArgument("[", absl::StrJoin(problems, ", "), "]");
}

bool FeatureGates::Enabled(std::string_view name) const {
  if (const auto it = set_.find(name); it != set_.end()) return it->second;
  const FeatureGate* gate = Find(name);
  return gate != nullptr && gate->on;
}

void FeatureGates::Each(const std::function<void(const char*, const char*, bool)>& visit) const {
  static constexpr const char* kStages[] = {"ALPHA", "BETA", "", "DEPRECATED"};
  for (const FeatureGate& gate : kGates) {
    visit(gate.name, kStages[static_cast<size_t>(gate.stage)], Enabled(gate.name));
  }
}

}  // namespace skiff::api
