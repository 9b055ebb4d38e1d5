// Whether a table of nftables is still the one that was loaded: services that load the host's own rules
// (nftables.service does `flush ruleset`) take everybody's tables away. One question to the kernel, no nft(8).
// Blocking, in microseconds.
#ifndef SKIFF_CNI_AGENT_NFT_TABLE_H_
#define SKIFF_CNI_AGENT_NFT_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace skiff::cni {

struct TableIdentity {
  uint64_t handle = 0;   // never given twice
  uint32_t objects = 0;  // chains and sets in it
  bool operator==(const TableIdentity&) const = default;
};

// Of the table of that family (NFPROTO_*) and name; nullopt: there is none.
StatusOr<std::optional<TableIdentity>> FindTable(uint8_t family, const std::string& name);

}  // namespace skiff::cni

#endif  // SKIFF_CNI_AGENT_NFT_TABLE_H_
