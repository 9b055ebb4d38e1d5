// Numbers for service ports and backends, and ranges of slots. What is given back is not given out again before the
// next Settle(): until then a program that runs right now may still look at it. Not thread-safe.
#ifndef SKIFF_PROXY_ALLOCATOR_H_
#define SKIFF_PROXY_ALLOCATOR_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "bpf/layout.h"

namespace skiff::proxy {

// Numbers from 1; 0 is none. Freed ones wait in a queue until kReserve of them have come together, so that a number
// means the same thing for as long as possible.
class IdAllocator {
 public:
  static constexpr size_t kReserve = 1024;

  explicit IdAllocator(uint32_t limit) : limit_(limit) {}
  std::optional<uint32_t> Take();
  void Give(uint32_t id) { resting_.push_back(id); }
  void Settle();
  // Forgets everything; `used` (ascending, unique) are taken.
  void Reset(const std::vector<uint32_t>& used);

 private:
  uint32_t limit_;
  uint32_t next_ = 1;
  std::deque<uint32_t> free_;
  std::vector<uint32_t> resting_;
};

// Contiguous ranges of slots, best fit; neighbours that are free are one.
class RangeAllocator {
 public:
  explicit RangeAllocator(uint32_t limit) { Reset(limit); }
  std::optional<skiff_range> Take(uint32_t count);  // count > 0
  void Give(skiff_range range) { resting_.push_back(range); }
  void Settle();
  void Reset(uint32_t limit);
  // Marks a range as taken (after Reset). False if a part of it is taken already.
  bool Claim(skiff_range range);
  uint32_t free() const;

 private:
  void Insert(uint32_t first, uint32_t count);
  void Remove(std::map<uint32_t, uint32_t>::iterator it);

  std::map<uint32_t, uint32_t> by_first_;       // first -> count
  std::multimap<uint32_t, uint32_t> by_count_;  // count -> first
  std::vector<skiff_range> resting_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_ALLOCATOR_H_
