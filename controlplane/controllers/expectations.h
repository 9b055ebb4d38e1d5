// What a controller has done and not yet seen in its cache, by owner key: as long as something is outstanding, the
// owner's children are not counted again. Forgotten after 5 minutes, as upstream. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_EXPECTATIONS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_EXPECTATIONS_H_

#include <map>
#include <set>
#include <string>

#include "base/clock.h"

namespace skiff::controlplane {

class Expectations {
 public:
  explicit Expectations(Clock& clock) : clock_(clock) {}

  void ExpectCreations(const std::string& key, int count) {
    auto& entry = Fresh(key);
    entry.creations += count;
  }
  void CreationObserved(const std::string& key) {
    const auto found = entries_.find(key);
    if (found != entries_.end() && found->second.creations > 0) --found->second.creations;
  }
  void ExpectDeletion(const std::string& key, const std::string& uid) { Fresh(key).deletions.insert(uid); }
  void DeletionObserved(const std::string& key, const std::string& uid) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) found->second.deletions.erase(uid);
  }
  bool Satisfied(const std::string& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return true;
    const Entry& entry = found->second;
    if ((entry.creations > 0 || !entry.deletions.empty()) && clock_.Steady() - entry.since < std::chrono::minutes(5)) {
      return false;
    }
    entries_.erase(found);
    return true;
  }
  void Forget(const std::string& key) { entries_.erase(key); }

 private:
  struct Entry {
    int creations = 0;
    std::set<std::string> deletions;
    SteadyTime since;
  };
  Entry& Fresh(const std::string& key) {
    Entry& entry = entries_[key];
    entry.since = clock_.Steady();
    return entry;
  }
  Clock& clock_;
  std::map<std::string, Entry> entries_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_EXPECTATIONS_H_
