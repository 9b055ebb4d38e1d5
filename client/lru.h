// A map from hashes to values that holds at most so many and forgets the least recently used. Its entries lie in one
// block of memory, which grows with them up to the limit and is used again from then on. References to values hold
// until the next Put. Not thread-safe.
#ifndef SKIFF_CLIENT_LRU_H_
#define SKIFF_CLIENT_LRU_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace skiff::client {

template <typename V>
class Lru {
 public:
  // most: 1 to 65,535. Keys are spread evenly over their lower bits.
  explicit Lru(size_t most) : most_(most), chains_(most, kNone) { assert(most > 0 && most <= kNone); }

  // Null: not there. What is found is now the most recently used.
  V* Find(uint64_t key) {
    for (Index i = chains_[Chain(key)]; i != kNone; i = entries_[i].next) {
      if (entries_[i].key == key) {
        Unlink(i);
        LinkNewest(i);
        return &entries_[i].value;
      }
    }
    return nullptr;
  }

  V* Put(uint64_t key, V value) {
    if (V* found = Find(key)) {
      *found = std::move(value);
      return found;
    }
    Index i;
    if (entries_.size() < most_) {
      i = static_cast<Index>(entries_.size());
      entries_.push_back({key, kNone, kNone, kNone, std::move(value)});
    } else {
      i = oldest_;
      Unlink(i);
      LeaveChain(i);
      entries_[i].key = key;
      entries_[i].value = std::move(value);
    }
    LinkNewest(i);
    Index& chain = chains_[Chain(key)];
    entries_[i].next = std::exchange(chain, i);
    return &entries_[i].value;
  }

  size_t size() const { return entries_.size(); }

 private:
  using Index = uint16_t;
  static constexpr Index kNone = 0xffff;
  struct Entry {
    uint64_t key;
    Index newer, older;  // in the order of use
    Index next;          // in the chain of keys
    V value;
  };

  size_t Chain(uint64_t key) const { return key % most_; }
  void LeaveChain(Index i) {
    Index* at = &chains_[Chain(entries_[i].key)];
    while (*at != i) at = &entries_[*at].next;
    *at = entries_[i].next;
  }
  void LinkNewest(Index i) {
    entries_[i].newer = kNone;
    entries_[i].older = newest_;
    (newest_ == kNone ? oldest_ : entries_[newest_].newer) = i;
    newest_ = i;
  }
  void Unlink(Index i) {
    const Entry& e = entries_[i];
    (e.newer == kNone ? newest_ : entries_[e.newer].older) = e.older;
    (e.older == kNone ? oldest_ : entries_[e.older].newer) = e.newer;
  }

  const size_t most_;
  std::vector<Entry> entries_;
  std::vector<Index> chains_;
  Index newest_ = kNone, oldest_ = kNone;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_LRU_H_
