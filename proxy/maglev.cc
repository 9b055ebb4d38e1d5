#include "proxy/maglev.h"

#include <algorithm>

namespace skiff::proxy {

namespace {

constexpr uint32_t kSizes[] = {251, 509, 1021, 2039, 4093, 8191, kMaxMaglevTable};

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t Hash(const MaglevName& name, uint64_t seed) {
  uint64_t h = Mix(seed ^ name.port);
  for (uint32_t word : name.address.word) h = Mix(h ^ word);
  return h;
}

}  // namespace

uint32_t MaglevSize(uint32_t wished, size_t endpoints) {
  for (uint32_t size : kSizes) {
    if (size >= wished && size >= endpoints * 4) return size;
  }
  return 0;
}

std::vector<uint32_t> MaglevTable(std::span<const MaglevName> names, uint32_t size) {
  struct Walk {
    uint32_t at, step;
  };
  std::vector<Walk> walks;
  walks.reserve(names.size());
  for (const MaglevName& name : names) {
    walks.push_back(
        {static_cast<uint32_t>(Hash(name, 1) % size), static_cast<uint32_t>(Hash(name, 2) % (size - 1) + 1)});
  }
  constexpr uint32_t kFree = ~0u;
  std::vector<uint32_t> table(size, kFree);
  // Each in turn takes the next place of its own permutation that is free.
  for (uint32_t filled = 0; filled < size;) {
    for (uint32_t i = 0; i < walks.size() && filled < size; i++, filled++) {
      Walk& w = walks[i];
      while (table[w.at] != kFree) w.at = (w.at + w.step) % size;
      table[w.at] = i;
    }
  }
  return table;
}

}  // namespace skiff::proxy
