// The agent's outside bytes: other nodes' annotations.
#include "cni/agent/peer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  k8s::io::api::core::v1::Node node;
  auto& annotations = *node.mutable_metadata()->mutable_annotations();
  annotations[skiff::cni::kSubnetManager] = "true";
  annotations[skiff::cni::kBackendType] = "vxlan";
  annotations[skiff::cni::kBackendData] = text;
  annotations[skiff::cni::kPublicIp] = size % 2 ? text : "10.0.0.1";
  node.mutable_spec()->set_podcidr(size % 3 ? "10.244.0.0/24" : text);
  (void)skiff::cni::ReadPeer(node);
  return 0;
}
