// Keys waiting to be worked on: each key at most once in the queue, never worked on twice at the same time, again after
// a growing wait when its work failed (5 ms doubling to 1,000 s, as upstream's controllers). Workers are coroutines
// that are started when there is work; an idle queue costs no timer. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_WORK_QUEUE_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_WORK_QUEUE_H_

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "base/async.h"
#include "base/clock.h"

namespace skiff::controlplane {

class WorkQueue {
 public:
  // Brings one key's object into its desired state. An error is logged and the key comes again; what races bring (a
  // conflict, an object that is gone) is not worth a line.
  using Sync = std::function<Task<Status>(std::string key)>;

  WorkQueue(asio::any_io_executor executor, Clock& clock, std::string name, size_t workers, Sync sync);
  WorkQueue(const WorkQueue&) = delete;

  void Add(const std::string& key);
  void AddAfter(const std::string& key, std::chrono::nanoseconds wait);
  void AddRateLimited(const std::string& key);
  // Until cancelled. The queue must outlive it.
  Task<void> Run();
  bool idle() const { return ready_.empty() && running_.empty() && again_.empty(); }

 private:
  Task<void> Work(std::string key);
  void Wake() { wakeup_.Notify(); }

  const asio::any_io_executor executor_;
  Clock& clock_;
  const std::string name_;
  const size_t workers_;
  const Sync sync_;
  std::deque<std::string> ready_;
  std::set<std::string> queued_;   // what ready_ holds
  std::set<std::string> running_;  // being worked on
  std::set<std::string> again_;    // added meanwhile
  std::multimap<SteadyTime, std::string> later_;
  std::map<std::string, SteadyTime> later_at_;  // the earliest time of a key in later_
  std::unordered_map<std::string, int> failures_;
  Wakeup wakeup_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_WORK_QUEUE_H_
