#include "proxy/allocator.h"

namespace skiff::proxy {

std::optional<uint32_t> IdAllocator::Take() {
  if (free_.size() > kReserve || (next_ >= limit_ && !free_.empty())) {
    uint32_t id = free_.front();
    free_.pop_front();
    return id;
  }
  if (next_ >= limit_) return std::nullopt;
  return next_++;
}

void IdAllocator::Settle() {
  free_.insert(free_.end(), resting_.begin(), resting_.end());
  resting_.clear();
}

void IdAllocator::Reset(const std::vector<uint32_t>& used) {
  free_.clear();
  resting_.clear();
  next_ = 1;
  for (uint32_t id : used) {
    for (; next_ < id; next_++) free_.push_back(next_);
    next_ = id + 1;
  }
}

std::optional<skiff_range> RangeAllocator::Take(uint32_t count) {
  auto fit = by_count_.lower_bound(count);
  if (fit == by_count_.end()) return std::nullopt;
  auto it = by_first_.find(fit->second);
  uint32_t first = it->first, left = it->second - count;
  Remove(it);
  if (left > 0) Insert(first + count, left);
  return skiff_range{first, count};
}

void RangeAllocator::Settle() {
  for (skiff_range range : resting_) {
    uint32_t first = range.first, count = range.count;
    auto after = by_first_.lower_bound(first);
    if (after != by_first_.end() && after->first == first + count) {
      count += after->second;
      Remove(after);
    }
    auto before = by_first_.lower_bound(first);
    if (before != by_first_.begin()) {
      --before;
      if (before->first + before->second == first) {
        first = before->first;
        count += before->second;
        Remove(before);
      }
    }
    Insert(first, count);
  }
  resting_.clear();
}

void RangeAllocator::Reset(uint32_t limit) {
  by_first_.clear();
  by_count_.clear();
  resting_.clear();
  Insert(0, limit);
}

bool RangeAllocator::Claim(skiff_range range) {
  auto it = by_first_.upper_bound(range.first);
  if (it == by_first_.begin()) return false;
  --it;
  uint32_t first = it->first, count = it->second;
  if (range.count > count || range.first - first > count - range.count) return false;
  Remove(it);
  if (range.first > first) Insert(first, range.first - first);
  uint32_t end = first + count, range_end = range.first + range.count;
  if (end > range_end) Insert(range_end, end - range_end);
  return true;
}

uint32_t RangeAllocator::free() const {
  uint32_t out = 0;
  for (const auto& [first, count] : by_first_) out += count;
  return out;
}

void RangeAllocator::Insert(uint32_t first, uint32_t count) {
  by_first_.emplace(first, count);
  by_count_.emplace(count, first);
}

void RangeAllocator::Remove(std::map<uint32_t, uint32_t>::iterator it) {
  auto [from, to] = by_count_.equal_range(it->second);
  for (auto c = from; c != to; ++c) {
    if (c->second == it->first) {
      by_count_.erase(c);
      break;
    }
  }
  by_first_.erase(it);
}

}  // namespace skiff::proxy
