// This node's CSINode object: that it is there tells the scheduler and the attach controller that the kubelet takes CSI
// drivers' word. Loop only. Upstream:
// kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-node-v1.
#ifndef SKIFF_KUBELET_NODE_CSI_NODE_H_
#define SKIFF_KUBELET_NODE_CSI_NODE_H_

#include <memory>
#include <string>

#include "client/rest.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"

namespace skiff::kubelet {

// As a kubelet without drivers makes it, owned by the node. Pure.
k8s::io::api::storage::v1::CSINode MakeCsiNode(const k8s::io::api::core::v1::Node& node);

// Makes it where it is missing, or puts its annotation right; drivers of others stay.
Task<Status> EnsureCsiNode(std::shared_ptr<client::Rest> rest, k8s::io::api::core::v1::Node node);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_CSI_NODE_H_
