// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4): a table in which each endpoint has nearly the
// same number of places, and few places change hands when an endpoint comes or goes. Every node that knows the same
// endpoints makes the same table. Pure, thread-safe.
#ifndef SKIFF_PROXY_MAGLEV_H_
#define SKIFF_PROXY_MAGLEV_H_

#include <cstdint>
#include <span>
#include <vector>

#include "proxy/address.h"

namespace skiff::proxy {

constexpr uint32_t kMaglevTable = 1021, kMaxMaglevTable = 16381;

struct MaglevName {
  Address address;
  uint16_t port;
};

// The size for so many endpoints: a prime, at least `wished`, and four places an endpoint or more. 0 where that would
// be over kMaxMaglevTable.
uint32_t MaglevSize(uint32_t wished, size_t endpoints);

// For each place the index of its endpoint. `names` is not empty and no larger than `size`, which is prime.
std::vector<uint32_t> MaglevTable(std::span<const MaglevName> names, uint32_t size);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_MAGLEV_H_
