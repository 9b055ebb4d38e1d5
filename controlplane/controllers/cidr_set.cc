#include "controlplane/controllers/cidr_set.h"

#include <arpa/inet.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace skiff::controlplane {
namespace {

struct Cidr {
  uint32_t address = 0;  // masked
  int mask = 0;
};

StatusOr<Cidr> Parse(std::string_view text) {
  const size_t slash = text.find('/');
  in_addr address;
  Cidr out;
  if (slash == std::string_view::npos ||
      inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &address) != 1 ||
      !absl::SimpleAtoi(text.substr(slash + 1), &out.mask) || out.mask < 0 || out.mask > 32) {
    return InvalidArgument("invalid CIDR address: ", text);
  }
  out.address = ntohl(address.s_addr) & (out.mask == 0 ? 0 : ~uint32_t{0} << (32 - out.mask));
  return out;
}

}  // namespace

StatusOr<CidrSet> CidrSet::Make(std::string_view cluster_cidr, int node_mask) {
  ASSIGN_OR_RETURN(const Cidr cluster, Parse(cluster_cidr), "cluster CIDR");
  if (node_mask < cluster.mask || node_mask > 32) {
    return InvalidArgument("node CIDR mask size ", node_mask, " does not fit into cluster CIDR ", cluster_cidr);
  }
  if (node_mask - cluster.mask > 16) {
    return InvalidArgument("New CIDR set failed; the node CIDR size is too big: ", node_mask, " in ", cluster_cidr);
  }
  CidrSet out;
  out.base_ = cluster.address;
  out.node_mask_ = node_mask;
  out.used_.resize(size_t{1} << (node_mask - cluster.mask));
  return out;
}

StatusOr<std::string> CidrSet::Allocate() {
  if (used_count_ == used_.size()) {
    return absl::ResourceExhaustedError(
        "CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range");
  }
  while (used_[next_]) next_ = (next_ + 1) % used_.size();
  const uint32_t block = next_;
  used_[block] = true;
  ++used_count_;
  next_ = (block + 1) % used_.size();
  const in_addr address{htonl(base_ + (node_mask_ == 32 ? block : block << (32 - node_mask_)))};
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof text);
  return absl::StrCat(text, "/", node_mask_);
}

StatusOr<std::pair<uint32_t, uint32_t>> CidrSet::Range(std::string_view cidr) const {
  ASSIGN_OR_RETURN(const Cidr parsed, Parse(cidr));
  const int shift = 32 - node_mask_;
  const uint64_t last_address = parsed.address + ((uint64_t{1} << (32 - parsed.mask)) - 1);
  const uint64_t end = base_ + (static_cast<uint64_t>(used_.size()) << shift);
  if (parsed.address < base_ || last_address >= end) {
    return absl::OutOfRangeError(absl::StrCat("cidr ", cidr, " is out the range of cluster cidr"));
  }
  return std::pair(static_cast<uint32_t>((parsed.address - base_) >> shift),
                   static_cast<uint32_t>((last_address - base_) >> shift));
}

Status CidrSet::Occupy(std::string_view cidr) {
  ASSIGN_OR_RETURN(const auto range, Range(cidr));
  for (uint32_t i = range.first; i <= range.second; ++i) {
    if (!used_[i]) ++used_count_;
    used_[i] = true;
  }
  return absl::OkStatus();
}

Status CidrSet::Release(std::string_view cidr) {
  ASSIGN_OR_RETURN(const auto range, Range(cidr));
  for (uint32_t i = range.first; i <= range.second; ++i) {
    if (used_[i]) --used_count_;
    used_[i] = false;
  }
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
