// kube-scheduler in small: one pod at a time, oldest first within a priority, onto the feasible node with the best
// score. Filters and scores are upstream's default ones that matter to a small cluster (filters.h, scores.h); their
// words in events and in the PodScheduled condition are upstream's. No preemption. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_SCHEDULER_SCHEDULER_H_
#define SKIFF_CONTROLPLANE_SCHEDULER_SCHEDULER_H_

#include <memory>
#include <string>

#include "base/async.h"
#include "client/rest.h"

namespace skiff::controlplane {

class Informers;

struct SchedulerOptions {
  std::string scheduler_name = "default-scheduler";
};

// Until cancelled. `informers` as for RunControllers.
Task<Status> RunScheduler(std::shared_ptr<client::Rest> rest, SchedulerOptions options = {},
                          std::shared_ptr<Informers> informers = nullptr);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_SCHEDULER_SCHEDULER_H_
