// Binds every kind to its message. In a file of its own: whoever refers to it links all message types in.
#include <map>
#include <tuple>

#include "api/scheme.h"
#include "k8s/io/api/admission/v1/generated.pb.h"
#include "k8s/io/api/admissionregistration/v1/generated.pb.h"
#include "k8s/io/api/apidiscovery/v2/generated.pb.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/authorization/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v2/generated.pb.h"
#include "k8s/io/api/batch/v1/generated.pb.h"
#include "k8s/io/api/certificates/v1/generated.pb.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/options.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/pod_status.pb.h"
#include "k8s/io/api/core/v1/reference.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"
#include "k8s/io/api/core/v1/scheduling.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/events/v1/generated.pb.h"
#include "k8s/io/api/flowcontrol/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "k8s/io/api/node/v1/generated.pb.h"
#include "k8s/io/api/policy/v1/generated.pb.h"
#include "k8s/io/api/rbac/v1/generated.pb.h"
#include "k8s/io/api/resource/v1/generated.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"
#include "k8s/io/apiextensions_apiserver/pkg/apis/apiextensions/v1/generated.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"
#include "k8s/io/kube_aggregator/pkg/apis/apiregistration/v1/generated.pb.h"

namespace skiff::api {
namespace {

#define SKIFF_TYPE(ns, group, version, kind) &types_internal::kOps<ns::kind>, &types_internal::kOps<ns::kind##List>,
#define SKIFF_SINGLE(ns, group, version, kind) &types_internal::kOps<ns::kind>,
constexpr const TypeOps* kTypes[] = {SKIFF_FOR_EACH_TYPE(SKIFF_TYPE, SKIFF_SINGLE)};
#undef SKIFF_TYPE
#undef SKIFF_SINGLE

using Key = std::tuple<std::string_view, std::string_view, std::string_view>;

const std::map<Key, const TypeOps*>& Index() {
  static const auto* const index = [] {
    auto* out = new std::map<Key, const TypeOps*>;
    for (const TypeOps* type : kTypes) out->emplace(Key(type->kind, type->group, type->version), type);
    return out;
  }();
  return *index;
}

}  // namespace

std::span<const TypeOps* const> AllTypes() { return kTypes; }

const TypeOps* TypeOf(const GroupVersionKind& gvk) {
  const auto& index = Index();
  if (const auto it = index.find(Key(gvk.kind, gvk.group, gvk.version)); it != index.end()) return it->second;
  static constexpr std::string_view kEverywhere[] = {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions",
                                                     "GetOptions",    "ListOptions",   "WatchEvent",    "Status"};
  for (const std::string_view kind : kEverywhere)
    if (kind == gvk.kind) return index.at(Key(kind, "", "v1"));
  return nullptr;
}

}  // namespace skiff::api
