// Which resources pods were granted, and which of those their containers really have: the two differ from the spec, and
// from each other, while a resize is pending or under way. Both are kept in checkpoints of upstream's names and layout
// (allocated_pods_state, actuated_pods_state under the kubelet's root), so that either kubelet goes on where the other
// stopped. Loop only. Upstream: pkg/kubelet/allocation.
#ifndef SKIFF_KUBELET_POD_ALLOCATIONS_H_
#define SKIFF_KUBELET_POD_ALLOCATIONS_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

// One checkpoint: resources by pod and container.
class ResourceCheckpoint {
 public:
  struct PodResources {
    std::map<std::string, core::ResourceRequirements> containers;
    std::optional<core::ResourceRequirements> pod;  // pod-level
  };

  // "" keeps nothing on disk.
  explicit ResourceCheckpoint(std::string path) : path_(std::move(path)) {}
  // An absent file is an empty state; a broken one an error that names it.
  Status Load();
  // Keeps the file under another name (NAME.broken): what it says may still be read by a person.
  void SetAside() const;
  // A write of what changed, for another thread; null when there is nothing to write. Atomic: temporary file, fsync,
  // rename. The latest state stays, whichever write runs last. Who could not run it says so by Failed. Unless
  // `durable`, a machine that crashes soon after may keep the file as it was before; a durable one is there to be taken
  // until one has ended well, also by those who wait for what others have taken.
  std::function<Status()> TakeWrite(bool durable = false);
  // Takes and runs a durable one: for whoever has no loop to keep going (the fuzzer, tests of the file).
  Status Save();
  void Failed() { dirty_ = true; }
  bool dirty() const { return dirty_; }

  const PodResources* Get(const std::string& uid) const;
  const core::ResourceRequirements* Get(const std::string& uid, const std::string& container) const;
  void Set(const std::string& uid, PodResources resources);
  void Set(const std::string& uid, const std::string& container, core::ResourceRequirements resources);
  void SetPodLevel(const std::string& uid, core::ResourceRequirements resources);
  void Remove(const std::string& uid);
  void Keep(const std::set<std::string>& uids);  // forgets all others

 private:
  struct File {
    std::mutex mutex;
    uint64_t written = 0;              // the state that is there ..
    std::atomic<uint64_t> synced = 0;  // .. and the one at least that is after a crash
  };
  void Changed() {
    dirty_ = true;
    ++state_;
  }
  std::string Text() const;

  std::string path_;
  std::map<std::string, PodResources> pods_;
  bool dirty_ = false;
  uint64_t state_ = 0;  // changes so far
  std::shared_ptr<File> file_ = std::make_shared<File>();
};

// The checksum that upstream's checkpoints carry: FNV-1a (32 bits) over its dump of the text.
uint32_t CheckpointChecksum(std::string_view data);

// What a pod that ran was granted, as its status in the API tells; its spec where that says nothing.
Pod GrantedByStatus(const Pod& pod);

class Allocations {
 public:
  // Conditions of a resize as they stand; times are the wall clock's.
  struct Conditions {
    std::optional<core::PodCondition> pending, in_progress;
  };

  Allocations(asio::any_io_executor executor, Clock& clock, const std::string& root_dir);
  // Broken checkpoints are logged, set aside and begun anew.
  void Load();
  // Writes the checkpoints a moment after they changed, on another thread: the disk must not hold up starts. What must
  // not be lost (a resize that was granted) is for TakeSave. Until cancelled.
  Task<void> Run();

  // The pod with what it was granted; the same pointer when that is what the spec says, or nothing is known.
  PodPtr Allocated(const PodPtr& pod) const;
  void Allocate(const Pod& pod);
  bool Knows(const std::string& uid) const { return allocated_.Get(uid) != nullptr; }

  // The pod with what its containers have by now, as far as that is recorded, the pod's limits among it; null when that
  // is what was granted (or nothing is known).
  PodPtr Actuated(const Pod& allocated) const;
  // The same for a resize: what no record tells of has nothing, so that it is brought to what was granted.
  PodPtr ResizeFrom(const Pod& allocated) const;
  void SetActuated(const Pod& pod, const core::Container& container);  // it is made with these
  void SetActuated(const std::string& uid, const std::string& container, core::ResourceRequirements resources);
  void SetActuatedPodLevel(const Pod& pod);

  Conditions& conditions(const std::string& uid) { return conditions_[uid]; }
  const Conditions* FindConditions(const std::string& uid) const;
  void Remove(const std::string& uid);
  void Keep(const std::set<std::string>& uids);

  // Writes for good, on another thread, what was granted so far; null when it is there. Who could not says so.
  std::function<Status()> TakeSave() { return allocated_.TakeWrite(true); }
  void SaveFailed();

 private:
  void Changed() { wakeup_.Notify(); }
  Clock& clock_;
  ResourceCheckpoint allocated_, actuated_;
  std::map<std::string, Conditions> conditions_;
  Wakeup wakeup_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_ALLOCATIONS_H_
