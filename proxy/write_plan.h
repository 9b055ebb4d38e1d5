// The writes of one pass over services: gathered first, then made in an order in which no reader of the maps sees half
// a service (new backends, new slots, frontends, removals). Not thread-safe.
#ifndef SKIFF_PROXY_WRITE_PLAN_H_
#define SKIFF_PROXY_WRITE_PLAN_H_

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "proxy/bpf_maps.h"

namespace skiff::proxy {

struct ApplyResult;

struct WritePlan {
  std::vector<std::pair<uint32_t, skiff_backend>> backends;
  // States that lose something: written when no frontend leads there any more.
  std::vector<std::pair<uint32_t, skiff_backend>> late_backends;
  std::vector<std::pair<uint32_t, skiff_slot>> slots;
  std::unordered_map<FrontendKey, skiff_frontend, KeyHash> frontends;
  std::unordered_set<FrontendKey, KeyHash> deleted;
  std::vector<SourceRange> ranges, removed_ranges;
  std::vector<uint32_t> new_services;
  std::vector<std::string> try_again;
  bool udp_backend_removed = false;

  // Once; sorts what it writes. An error names what was written last; the maps may hold a part of it.
  Status Write(BpfMaps& maps, ApplyResult* result);
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_WRITE_PLAN_H_
