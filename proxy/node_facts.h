// What the proxy reads of its Node object. Pure.
#ifndef SKIFF_PROXY_NODE_FACTS_H_
#define SKIFF_PROXY_NODE_FACTS_H_

#include <string>
#include <vector>

#include "proxy/address.h"

namespace k8s::io::api::core::v1 {
class Node;
}

namespace skiff::proxy {

struct NodeFacts {
  // Neither being deleted nor about to be (the autoscaler's taint): load balancers may send here.
  bool eligible = false;
  std::vector<Address> addresses, internal, external;  // `addresses`: those of the other two, in the object's order
  std::vector<std::string> pod_cidrs;
  std::string zone;
};
NodeFacts ReadNode(const k8s::io::api::core::v1::Node* node);  // null: there is none

// Leaves of the object what ReadNode looks at.
void StripNode(k8s::io::api::core::v1::Node& node);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_NODE_FACTS_H_
