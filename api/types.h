// Which message is which kind: TypeTraits<T> gives group, version and kind of a message type (and its list type),
// TypeOps the same at run time with a prototype and typed access to metadata. Only declares the messages: including
// this header links nothing in, TypeOpsOf<T>() links T. Constant data, thread-safe.
#ifndef SKIFF_API_TYPES_H_
#define SKIFF_API_TYPES_H_

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <google/protobuf/message.h>

#include "api/group_version.h"

// clang-format off
namespace k8s::io::api::admissionregistration::v1 {
class MutatingAdmissionPolicy;
class MutatingAdmissionPolicyList;
class MutatingAdmissionPolicyBinding;
class MutatingAdmissionPolicyBindingList;
class MutatingWebhookConfiguration;
class MutatingWebhookConfigurationList;
class ValidatingAdmissionPolicy;
class ValidatingAdmissionPolicyList;
class ValidatingAdmissionPolicyBinding;
class ValidatingAdmissionPolicyBindingList;
class ValidatingWebhookConfiguration;
class ValidatingWebhookConfigurationList;
}  // namespace k8s::io::api::admissionregistration::v1
namespace k8s::io::api::apidiscovery::v2 {
class APIGroupDiscovery;
class APIGroupDiscoveryList;
}  // namespace k8s::io::api::apidiscovery::v2
namespace k8s::io::api::apps::v1 {
class ControllerRevision;
class ControllerRevisionList;
class DaemonSet;
class DaemonSetList;
class Deployment;
class DeploymentList;
class ReplicaSet;
class ReplicaSetList;
class StatefulSet;
class StatefulSetList;
}  // namespace k8s::io::api::apps::v1
namespace k8s::io::api::authentication::v1 {
class SelfSubjectReview;
class TokenRequest;
class TokenReview;
}  // namespace k8s::io::api::authentication::v1
namespace k8s::io::api::authorization::v1 {
class LocalSubjectAccessReview;
class SelfSubjectAccessReview;
class SelfSubjectRulesReview;
class SubjectAccessReview;
}  // namespace k8s::io::api::authorization::v1
namespace k8s::io::api::autoscaling::v1 {
class HorizontalPodAutoscaler;
class HorizontalPodAutoscalerList;
class Scale;
}  // namespace k8s::io::api::autoscaling::v1
namespace k8s::io::api::autoscaling::v2 {
class HorizontalPodAutoscaler;
class HorizontalPodAutoscalerList;
}  // namespace k8s::io::api::autoscaling::v2
namespace k8s::io::api::batch::v1 {
class CronJob;
class CronJobList;
class Job;
class JobList;
}  // namespace k8s::io::api::batch::v1
namespace k8s::io::api::certificates::v1 {
class CertificateSigningRequest;
class CertificateSigningRequestList;
}  // namespace k8s::io::api::certificates::v1
namespace k8s::io::api::coordination::v1 {
class Lease;
class LeaseList;
}  // namespace k8s::io::api::coordination::v1
namespace k8s::io::api::core::v1 {
class Binding;
class ComponentStatus;
class ComponentStatusList;
class ConfigMap;
class ConfigMapList;
class Endpoints;
class EndpointsList;
class Event;
class EventList;
class LimitRange;
class LimitRangeList;
class List;
class Namespace;
class NamespaceList;
class Node;
class NodeList;
class NodeProxyOptions;
class PersistentVolume;
class PersistentVolumeList;
class PersistentVolumeClaim;
class PersistentVolumeClaimList;
class Pod;
class PodList;
class PodAttachOptions;
class PodExecOptions;
class PodLogOptions;
class PodPortForwardOptions;
class PodProxyOptions;
class PodStatusResult;
class PodTemplate;
class PodTemplateList;
class RangeAllocation;
class ReplicationController;
class ReplicationControllerList;
class ResourceQuota;
class ResourceQuotaList;
class Secret;
class SecretList;
class Service;
class ServiceList;
class ServiceAccount;
class ServiceAccountList;
class ServiceProxyOptions;
}  // namespace k8s::io::api::core::v1
namespace k8s::io::api::discovery::v1 {
class EndpointSlice;
class EndpointSliceList;
}  // namespace k8s::io::api::discovery::v1
namespace k8s::io::api::events::v1 {
class Event;
class EventList;
}  // namespace k8s::io::api::events::v1
namespace k8s::io::api::flowcontrol::v1 {
class FlowSchema;
class FlowSchemaList;
class PriorityLevelConfiguration;
class PriorityLevelConfigurationList;
}  // namespace k8s::io::api::flowcontrol::v1
namespace k8s::io::api::networking::v1 {
class IPAddress;
class IPAddressList;
class Ingress;
class IngressList;
class IngressClass;
class IngressClassList;
class NetworkPolicy;
class NetworkPolicyList;
class ServiceCIDR;
class ServiceCIDRList;
}  // namespace k8s::io::api::networking::v1
namespace k8s::io::api::node::v1 {
class RuntimeClass;
class RuntimeClassList;
}  // namespace k8s::io::api::node::v1
namespace k8s::io::api::policy::v1 {
class Eviction;
class PodDisruptionBudget;
class PodDisruptionBudgetList;
}  // namespace k8s::io::api::policy::v1
namespace k8s::io::api::rbac::v1 {
class ClusterRole;
class ClusterRoleList;
class ClusterRoleBinding;
class ClusterRoleBindingList;
class Role;
class RoleList;
class RoleBinding;
class RoleBindingList;
}  // namespace k8s::io::api::rbac::v1
namespace k8s::io::api::resource::v1 {
class DeviceClass;
class DeviceClassList;
class ResourceClaim;
class ResourceClaimList;
class ResourceClaimTemplate;
class ResourceClaimTemplateList;
class ResourceSlice;
class ResourceSliceList;
}  // namespace k8s::io::api::resource::v1
namespace k8s::io::api::scheduling::v1 {
class PriorityClass;
class PriorityClassList;
}  // namespace k8s::io::api::scheduling::v1
namespace k8s::io::api::storage::v1 {
class CSIDriver;
class CSIDriverList;
class CSINode;
class CSINodeList;
class CSIStorageCapacity;
class CSIStorageCapacityList;
class StorageClass;
class StorageClassList;
class VolumeAttachment;
class VolumeAttachmentList;
class VolumeAttributesClass;
class VolumeAttributesClassList;
}  // namespace k8s::io::api::storage::v1
namespace k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1 {
class CustomResourceDefinition;
class CustomResourceDefinitionList;
}  // namespace k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1
namespace k8s::io::kube_aggregator::pkg::apis::apiregistration::v1 {
class APIService;
class APIServiceList;
}  // namespace k8s::io::kube_aggregator::pkg::apis::apiregistration::v1
namespace k8s::io::api::admission::v1 {
class AdmissionReview;
}  // namespace k8s::io::api::admission::v1
namespace k8s::io::apimachinery::pkg::apis::meta::v1 {
class Status;
class DeleteOptions;
class CreateOptions;
class UpdateOptions;
class PatchOptions;
class GetOptions;
class ListOptions;
class WatchEvent;
class PartialObjectMetadata;
class APIGroup;
class APIGroupList;
class APIResourceList;
class APIVersions;
class PartialObjectMetadataList;
class ObjectMeta;
class ListMeta;
}  // namespace k8s::io::apimachinery::pkg::apis::meta::v1
// clang-format on

namespace skiff::api {

// kGroup, kVersion, kKind; List: the list's message type, or void.
template <typename T>
struct TypeTraits;

// A kind at run time.
struct TypeOps {
  using Meta = k8s::io::apimachinery::pkg::apis::meta::v1::ObjectMeta;
  using ListMeta = k8s::io::apimachinery::pkg::apis::meta::v1::ListMeta;
  using Message = google::protobuf::Message;

  std::string_view group, version, kind;
  const Message& (*prototype)();
  const Meta* (*meta)(const Message&);          // nullptr for kinds without ObjectMeta (lists, Status, options)
  Meta* (*mutable_meta)(Message*);              // "
  ListMeta* (*mutable_list_meta)(Message*);     // nullptr for kinds without ListMeta
  int (*item_count)(const Message&);            // nullptr for kinds that are no lists
  const Message& (*item)(const Message&, int);  // "
  Message* (*mutable_item)(Message*, int);      // "
  Message* (*add_item)(Message*);               // "
  const TypeOps* list;                          // of a kind that has a list; nullptr otherwise

  std::unique_ptr<Message> New() const { return std::unique_ptr<Message>(prototype().New()); }
  GroupVersionKind gvk() const { return {std::string(group), std::string(version), std::string(kind)}; }
  template <typename T>
  bool Is() const;
};

template <typename T>
const TypeOps& TypeOpsOf();

template <typename T>
bool TypeOps::Is() const {
  return this == &TypeOpsOf<T>();
}

namespace types_internal {

template <typename T>
using MetadataOf = std::remove_cvref_t<decltype(std::declval<T>().metadata())>;
template <typename T>
concept HasObjectMeta = std::is_same_v<MetadataOf<T>, TypeOps::Meta>;
template <typename T>
concept HasListMeta = std::is_same_v<MetadataOf<T>, TypeOps::ListMeta>;
template <typename T>
concept HasItems = requires(T t) { t.add_items(); };

template <typename T>
struct Ops {
  using Message = google::protobuf::Message;
  static const Message& Prototype() { return T::default_instance(); }
  static constexpr const TypeOps* ListOps();
  static constexpr TypeOps Make() {
    TypeOps o{};
    o.group = TypeTraits<T>::kGroup;
    o.version = TypeTraits<T>::kVersion;
    o.kind = TypeTraits<T>::kKind;
    o.prototype = &Prototype;
    if constexpr (HasObjectMeta<T>) {
      o.meta = [](const Message& m) { return &static_cast<const T&>(m).metadata(); };
      o.mutable_meta = [](Message* m) { return static_cast<T*>(m)->mutable_metadata(); };
    }
    if constexpr (HasListMeta<T>)
      o.mutable_list_meta = [](Message* m) { return static_cast<T*>(m)->mutable_metadata(); };
    if constexpr (HasItems<T>) {
      o.item_count = [](const Message& m) { return static_cast<const T&>(m).items_size(); };
      o.item = [](const Message& m, int i) -> const Message& { return static_cast<const T&>(m).items(i); };
      o.mutable_item = [](Message* m, int i) -> Message* { return static_cast<T*>(m)->mutable_items(i); };
      o.add_item = [](Message* m) -> Message* { return static_cast<T*>(m)->add_items(); };
    }
    o.list = ListOps();
    return o;
  }
};

template <typename T>
inline constexpr TypeOps kOps = Ops<T>::Make();

template <typename T>
constexpr const TypeOps* Ops<T>::ListOps() {
  using List = typename TypeTraits<T>::List;
  if constexpr (std::is_void_v<List>)
    return nullptr;
  else
    return &kOps<List>;
}

}  // namespace types_internal

template <typename T>
const TypeOps& TypeOpsOf() {
  return types_internal::kOps<T>;
}

#define SKIFF_TRAITS(ns, grp, ver, kind, list)        \
  template <>                                         \
  struct TypeTraits<ns::kind> {                       \
    static constexpr std::string_view kGroup = grp;   \
    static constexpr std::string_view kVersion = ver; \
    static constexpr std::string_view kKind = #kind;  \
    using List = list;                                \
  };
#define SKIFF_SINGLE(ns, grp, ver, kind) SKIFF_TRAITS(ns, grp, ver, kind, void)
#define SKIFF_TYPE(ns, grp, ver, kind)             \
  SKIFF_TRAITS(ns, grp, ver, kind, ns::kind##List) \
  SKIFF_TRAITS(ns, grp, ver, kind##List, void)

// clang-format off
#define SKIFF_FOR_EACH_TYPE(TYPE, SINGLE) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", MutatingAdmissionPolicy) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", MutatingAdmissionPolicyBinding) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", MutatingWebhookConfiguration) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", ValidatingAdmissionPolicy) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", ValidatingAdmissionPolicyBinding) \
  TYPE(k8s::io::api::admissionregistration::v1, "admissionregistration.k8s.io", "v1", ValidatingWebhookConfiguration) \
  TYPE(k8s::io::api::apidiscovery::v2, "apidiscovery.k8s.io", "v2", APIGroupDiscovery) \
  TYPE(k8s::io::api::apps::v1, "apps", "v1", ControllerRevision) \
  TYPE(k8s::io::api::apps::v1, "apps", "v1", DaemonSet) \
  TYPE(k8s::io::api::apps::v1, "apps", "v1", Deployment) \
  TYPE(k8s::io::api::apps::v1, "apps", "v1", ReplicaSet) \
  TYPE(k8s::io::api::apps::v1, "apps", "v1", StatefulSet) \
  SINGLE(k8s::io::api::authentication::v1, "authentication.k8s.io", "v1", SelfSubjectReview) \
  SINGLE(k8s::io::api::authentication::v1, "authentication.k8s.io", "v1", TokenRequest) \
  SINGLE(k8s::io::api::authentication::v1, "authentication.k8s.io", "v1", TokenReview) \
  SINGLE(k8s::io::api::authorization::v1, "authorization.k8s.io", "v1", LocalSubjectAccessReview) \
  SINGLE(k8s::io::api::authorization::v1, "authorization.k8s.io", "v1", SelfSubjectAccessReview) \
  SINGLE(k8s::io::api::authorization::v1, "authorization.k8s.io", "v1", SelfSubjectRulesReview) \
  SINGLE(k8s::io::api::authorization::v1, "authorization.k8s.io", "v1", SubjectAccessReview) \
  TYPE(k8s::io::api::autoscaling::v1, "autoscaling", "v1", HorizontalPodAutoscaler) \
  SINGLE(k8s::io::api::autoscaling::v1, "autoscaling", "v1", Scale) \
  TYPE(k8s::io::api::autoscaling::v2, "autoscaling", "v2", HorizontalPodAutoscaler) \
  TYPE(k8s::io::api::batch::v1, "batch", "v1", CronJob) \
  TYPE(k8s::io::api::batch::v1, "batch", "v1", Job) \
  TYPE(k8s::io::api::certificates::v1, "certificates.k8s.io", "v1", CertificateSigningRequest) \
  TYPE(k8s::io::api::coordination::v1, "coordination.k8s.io", "v1", Lease) \
  SINGLE(k8s::io::api::core::v1, "", "v1", Binding) \
  TYPE(k8s::io::api::core::v1, "", "v1", ComponentStatus) \
  TYPE(k8s::io::api::core::v1, "", "v1", ConfigMap) \
  TYPE(k8s::io::api::core::v1, "", "v1", Endpoints) \
  TYPE(k8s::io::api::core::v1, "", "v1", Event) \
  TYPE(k8s::io::api::core::v1, "", "v1", LimitRange) \
  SINGLE(k8s::io::api::core::v1, "", "v1", List) \
  TYPE(k8s::io::api::core::v1, "", "v1", Namespace) \
  TYPE(k8s::io::api::core::v1, "", "v1", Node) \
  SINGLE(k8s::io::api::core::v1, "", "v1", NodeProxyOptions) \
  TYPE(k8s::io::api::core::v1, "", "v1", PersistentVolume) \
  TYPE(k8s::io::api::core::v1, "", "v1", PersistentVolumeClaim) \
  TYPE(k8s::io::api::core::v1, "", "v1", Pod) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodAttachOptions) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodExecOptions) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodLogOptions) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodPortForwardOptions) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodProxyOptions) \
  SINGLE(k8s::io::api::core::v1, "", "v1", PodStatusResult) \
  TYPE(k8s::io::api::core::v1, "", "v1", PodTemplate) \
  SINGLE(k8s::io::api::core::v1, "", "v1", RangeAllocation) \
  TYPE(k8s::io::api::core::v1, "", "v1", ReplicationController) \
  TYPE(k8s::io::api::core::v1, "", "v1", ResourceQuota) \
  TYPE(k8s::io::api::core::v1, "", "v1", Secret) \
  TYPE(k8s::io::api::core::v1, "", "v1", Service) \
  TYPE(k8s::io::api::core::v1, "", "v1", ServiceAccount) \
  SINGLE(k8s::io::api::core::v1, "", "v1", ServiceProxyOptions) \
  TYPE(k8s::io::api::discovery::v1, "discovery.k8s.io", "v1", EndpointSlice) \
  TYPE(k8s::io::api::events::v1, "events.k8s.io", "v1", Event) \
  TYPE(k8s::io::api::flowcontrol::v1, "flowcontrol.apiserver.k8s.io", "v1", FlowSchema) \
  TYPE(k8s::io::api::flowcontrol::v1, "flowcontrol.apiserver.k8s.io", "v1", PriorityLevelConfiguration) \
  TYPE(k8s::io::api::networking::v1, "networking.k8s.io", "v1", IPAddress) \
  TYPE(k8s::io::api::networking::v1, "networking.k8s.io", "v1", Ingress) \
  TYPE(k8s::io::api::networking::v1, "networking.k8s.io", "v1", IngressClass) \
  TYPE(k8s::io::api::networking::v1, "networking.k8s.io", "v1", NetworkPolicy) \
  TYPE(k8s::io::api::networking::v1, "networking.k8s.io", "v1", ServiceCIDR) \
  TYPE(k8s::io::api::node::v1, "node.k8s.io", "v1", RuntimeClass) \
  SINGLE(k8s::io::api::policy::v1, "policy", "v1", Eviction) \
  TYPE(k8s::io::api::policy::v1, "policy", "v1", PodDisruptionBudget) \
  TYPE(k8s::io::api::rbac::v1, "rbac.authorization.k8s.io", "v1", ClusterRole) \
  TYPE(k8s::io::api::rbac::v1, "rbac.authorization.k8s.io", "v1", ClusterRoleBinding) \
  TYPE(k8s::io::api::rbac::v1, "rbac.authorization.k8s.io", "v1", Role) \
  TYPE(k8s::io::api::rbac::v1, "rbac.authorization.k8s.io", "v1", RoleBinding) \
  TYPE(k8s::io::api::resource::v1, "resource.k8s.io", "v1", DeviceClass) \
  TYPE(k8s::io::api::resource::v1, "resource.k8s.io", "v1", ResourceClaim) \
  TYPE(k8s::io::api::resource::v1, "resource.k8s.io", "v1", ResourceClaimTemplate) \
  TYPE(k8s::io::api::resource::v1, "resource.k8s.io", "v1", ResourceSlice) \
  TYPE(k8s::io::api::scheduling::v1, "scheduling.k8s.io", "v1", PriorityClass) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", CSIDriver) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", CSINode) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", CSIStorageCapacity) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", StorageClass) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", VolumeAttachment) \
  TYPE(k8s::io::api::storage::v1, "storage.k8s.io", "v1", VolumeAttributesClass) \
  TYPE(k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1, "apiextensions.k8s.io", "v1", CustomResourceDefinition) \
  TYPE(k8s::io::kube_aggregator::pkg::apis::apiregistration::v1, "apiregistration.k8s.io", "v1", APIService) \
  SINGLE(k8s::io::api::admission::v1, "admission.k8s.io", "v1", AdmissionReview) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", Status) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", DeleteOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", CreateOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", UpdateOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", PatchOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", GetOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", ListOptions) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", WatchEvent) \
  TYPE(k8s::io::apimachinery::pkg::apis::meta::v1, "meta.k8s.io", "v1", PartialObjectMetadata) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", APIGroup) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", APIGroupList) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", APIResourceList) \
  SINGLE(k8s::io::apimachinery::pkg::apis::meta::v1, "", "v1", APIVersions)

SKIFF_FOR_EACH_TYPE(SKIFF_TYPE, SKIFF_SINGLE)
// clang-format on
#undef SKIFF_TYPE
#undef SKIFF_SINGLE
#undef SKIFF_TRAITS

}  // namespace skiff::api

#endif  // SKIFF_API_TYPES_H_
