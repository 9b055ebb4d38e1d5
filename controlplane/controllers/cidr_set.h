// The node-sized blocks of a cluster CIDR, IPv4: which are taken, which is next. Pure value.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_CIDR_SET_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_CIDR_SET_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace skiff::controlplane {

class CidrSet {
 public:
  // "10.244.0.0/16" and 24. Errors name the value: not IPv4, mask not within the node mask, more than 16 bits of
  // blocks.
  static StatusOr<CidrSet> Make(std::string_view cluster_cidr, int node_mask);

  // The lowest free block after the one given last (as upstream: addresses are not used again at once).
  // kResourceExhausted "CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range".
  StatusOr<std::string> Allocate();
  // kInvalidArgument for text that is no CIDR, kOutOfRange outside the cluster's.
  Status Occupy(std::string_view cidr);
  Status Release(std::string_view cidr);
  size_t used() const { return used_count_; }

 private:
  StatusOr<std::pair<uint32_t, uint32_t>> Range(std::string_view cidr) const;  // first and last block
  uint32_t base_ = 0;
  int node_mask_ = 24;
  std::vector<bool> used_;
  size_t used_count_ = 0;
  uint32_t next_ = 0;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_CIDR_SET_H_
