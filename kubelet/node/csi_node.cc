#include "kubelet/node/csi_node.h"

namespace skiff::kubelet {
namespace {

using k8s::io::api::core::v1::Node;
using k8s::io::api::storage::v1::CSINode;

constexpr char kMigrated[] = "storage.alpha.kubernetes.io/migrated-plugins";
// The in-tree plugins whose volumes are CSI drivers' by now.
constexpr char kMigratedPlugins[] =
    "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,kubernetes.io/cinder,"
    "kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume";

}  // namespace

CSINode MakeCsiNode(const Node& node) {
  CSINode out;
  out.mutable_metadata()->set_name(node.metadata().name());
  (*out.mutable_metadata()->mutable_annotations())[kMigrated] = kMigratedPlugins;
  auto* owner = out.mutable_metadata()->add_ownerreferences();
  owner->set_apiversion("v1");
  owner->set_kind("Node");
  owner->set_name(node.metadata().name());
  owner->set_uid(node.metadata().uid());
  out.mutable_spec();
  return out;
}

Task<Status> EnsureCsiNode(std::shared_ptr<client::Rest> rest, Node node) {
  const CSINode wanted = MakeCsiNode(node);
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto existing = co_await rest->Get<CSINode>("", node.metadata().name());
    if (absl::IsNotFound(existing.status())) {
      auto created = co_await rest->Create(wanted);
      if (created.ok()) co_return absl::OkStatus();
      if (!client::IsAlreadyExists(created.status())) co_return created.status();
      continue;
    }
    if (!existing.ok()) co_return existing.status();
    auto& annotations = *existing->mutable_metadata()->mutable_annotations();
    if (annotations[kMigrated] == kMigratedPlugins) co_return absl::OkStatus();
    annotations[kMigrated] = kMigratedPlugins;
    auto updated = co_await rest->Update(*existing);
    if (updated.ok()) co_return absl::OkStatus();
    if (!client::IsConflict(updated.status())) co_return updated.status();
  }
  co_return absl::AbortedError("the CSINode keeps changing");
}

}  // namespace skiff::kubelet
