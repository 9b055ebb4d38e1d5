// Keeps container logs small: a running container's log that has reached its size is renamed, the runtime is told to
// open a new one, older ones are compressed and the oldest removed. Names as upstream: 0.log.20260101-000000(.gz). Loop
// only; file work goes to RunBlocking, beneath the held log directory.
#ifndef SKIFF_KUBELET_LOGS_LOG_ROTATION_H_
#define SKIFF_KUBELET_LOGS_LOG_ROTATION_H_

#include <chrono>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"

namespace skiff::kubelet {

struct LogRotationOptions {
  std::string logs_dir;                                          // podLogsDir
  int64_t max_size = 10 << 20;                                   // containerLogMaxSize, bytes; negative: never
  int max_files = 5;                                             // containerLogMaxFiles, at least 2
  size_t max_workers = 1;                                        // containerLogMaxWorkers
  std::chrono::nanoseconds interval = std::chrono::seconds(10);  // containerLogMonitorInterval
};

class LogRotator {
 public:
  struct Log {
    std::string container_id, path;  // of a running container; path below logs_dir
  };
  using ListFn = std::function<std::vector<Log>()>;
  using ReopenFn = std::function<Task<Status>(std::string container_id)>;

  LogRotator(LogRotationOptions options, ListFn list, ReopenFn reopen, Clock& clock);

  Task<void> Run();     // until cancelled
  Task<Status> Once();  // one look at all logs and what comes of it; the first error, others are logged too

 private:
  struct Job {
    Log log;
    bool missing = false;  // else full
  };
  // Queues what is to be done, without what was queued before and is not done yet, and has as many as may work do it.
  Task<Status> Look(TaskGroup& workers);
  Task<void> Work();
  Task<Status> Do(Job job);
  Task<Status> Rotate(Log log);

  LogRotationOptions options_;
  ListFn list_;
  ReopenFn reopen_;
  Clock& clock_;
  std::deque<Job> queue_;
  std::set<std::string> busy_;  // paths, queued or under way
  Status first_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_LOGS_LOG_ROTATION_H_
