// How full the tables of the data path are, those that the kernel programs fill by themselves among them. Blocking: a
// full connection table takes milliseconds to be counted.
#ifndef SKIFF_PROXY_MAP_FILL_H_
#define SKIFF_PROXY_MAP_FILL_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace skiff::proxy {

struct MapFill {
  std::string map;
  size_t entries = 0, capacity = 0;
};

// Entries of a pinned hash map or LPM trie. kNotFound where it is not pinned.
StatusOr<size_t> CountEntries(const std::string& maps_dir, const std::string& map);

// Of affinity, source_ranges, flows and fragments (the latter two once packet programs were loaded).
std::vector<MapFill> ReadMapFills(const std::string& maps_dir);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_MAP_FILL_H_
