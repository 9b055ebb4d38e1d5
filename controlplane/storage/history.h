// The recent changes, in order, in memory: what watches that start a little in the past, and reads of a little older
// revisions, are served from. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_STORAGE_HISTORY_H_
#define SKIFF_CONTROLPLANE_STORAGE_HISTORY_H_

#include <algorithm>
#include <deque>

#include "controlplane/storage/store.h"

namespace skiff::controlplane {

class History {
 public:
  History(size_t max_bytes, size_t max_events) : max_bytes_(max_bytes), max_events_(max_events) {}

  void SetFloor(int64_t revision) { floor_ = revision; }
  // Every change with a revision greater than this is here.
  int64_t floor() const { return floor_; }

  void Add(StoreEvent event) {
    bytes_ += Cost(event);
    events_.push_back(std::move(event));
    while (bytes_ > max_bytes_ || events_.size() > max_events_) DropFirst();
  }
  void DropThrough(int64_t revision) {
    while (!events_.empty() && events_.front().revision <= revision) DropFirst();
    floor_ = std::max(floor_, revision);
  }

  // The first event with a revision greater than `revision`.
  std::deque<StoreEvent>::const_iterator After(int64_t revision) const {
    return std::upper_bound(events_.begin(), events_.end(), revision,
                            [](int64_t r, const StoreEvent& e) { return r < e.revision; });
  }
  std::deque<StoreEvent>::const_iterator end() const { return events_.end(); }

 private:
  // The new value is in the store's index anyway; what the history keeps alive is the old one.
  static size_t Cost(const StoreEvent& event) {
    return sizeof(StoreEvent) + event.key.size() + (event.previous ? event.previous->data.size() + 96 : 0);
  }
  void DropFirst() {
    bytes_ -= Cost(events_.front());
    floor_ = events_.front().revision;
    events_.pop_front();
  }

  const size_t max_bytes_, max_events_;
  std::deque<StoreEvent> events_;
  size_t bytes_ = 0;
  int64_t floor_ = 0;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_STORAGE_HISTORY_H_
