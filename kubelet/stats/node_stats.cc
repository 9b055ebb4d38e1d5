#include "kubelet/stats/node_stats.h"

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "cadvisor/exposition.h"
#include "kubelet/stats/readers.h"

namespace skiff::kubelet {

struct NodeStats::State {
  State(cadvisor::Host host, cadvisor::CgroupTree cgroups, Options o)
      : readers(std::move(host), std::move(cgroups)), options(std::move(o)) {}

  StatusOr<std::string> CadvisorMetrics(const NodeSource& source) ABSL_LOCKS_EXCLUDED(mutex) {
    const absl::MutexLock lock(&mutex);
    ASSIGN_OR_RETURN(const cadvisor::MachineInfo machine, cadvisor::ReadMachine(readers.host));
    const cadvisor::ExpositionOptions exposition{.pressure = options.pressure && readers.cgroups.has_psi(),
                                                 .pod_labels = true,
                                                 .cadvisor_version = options.version,
                                                 .cadvisor_revision = ""};
    return cadvisor::Expose(machine, readers.collector, Records(source), exposition);
  }

  StatusOr<std::string> ResourceMetrics(const NodeSource& source) ABSL_LOCKS_EXCLUDED(mutex) {
    const absl::MutexLock lock(&mutex);
    Records(source);
    return ResourceText(readers, source);
  }

  StatusOr<std::string> Summary(const NodeSource& source, bool only_cpu_and_memory) ABSL_LOCKS_EXCLUDED(mutex) {
    const absl::MutexLock lock(&mutex);
    Records(source);
    std::string json = SummaryJson(readers, source, only_cpu_and_memory);
    if (!only_cpu_and_memory) readers.sizes.Sweep();
    return json;
  }

  StatusOr<NodeUse> Use(const NodeSource& source) ABSL_LOCKS_EXCLUDED(mutex) {
    const absl::MutexLock lock(&mutex);
    NodeUse use = ReadUse(readers, source);
    readers.sizes.Sweep();
    return use;
  }

  // The records; what is held of cgroups that are no more in them is dropped.
  std::vector<cadvisor::ContainerRecord> Records(const NodeSource& source) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<cadvisor::ContainerRecord> records = RecordsOf(readers, source);
    std::set<std::string> cgroups;
    for (const cadvisor::ContainerRecord& record : records) cgroups.insert(record.cgroup);
    readers.collector.Retain(cgroups);
    return records;
  }

  absl::Mutex mutex;  // requests run on several threads of the pool
  Readers readers ABSL_GUARDED_BY(mutex);
  const Options options;
};

NodeStats::NodeStats(std::shared_ptr<State> state) : state_(std::move(state)) {}
NodeStats::~NodeStats() = default;

StatusOr<std::unique_ptr<NodeStats>> NodeStats::Open(Options options) {
  ASSIGN_OR_RETURN(cadvisor::Host host, cadvisor::Host::Open(options.root));
  ASSIGN_OR_RETURN(cadvisor::CgroupTree cgroups, cadvisor::CgroupTree::Detect(host.sys));
  return std::unique_ptr<NodeStats>(
      new NodeStats(std::make_shared<State>(std::move(host), std::move(cgroups), std::move(options))));
}

Task<StatusOr<std::string>> NodeStats::CadvisorMetrics(NodeSource source) {
  std::function<StatusOr<std::string>()> work = [state = state_, source = std::move(source)] {
    return state->CadvisorMetrics(source);
  };
  co_return co_await RunBlockingFor<std::string>(std::move(work));
}

Task<StatusOr<std::string>> NodeStats::ResourceMetrics(NodeSource source) {
  std::function<StatusOr<std::string>()> work = [state = state_, source = std::move(source)] {
    return state->ResourceMetrics(source);
  };
  co_return co_await RunBlockingFor<std::string>(std::move(work));
}

Task<StatusOr<std::string>> NodeStats::Summary(NodeSource source, bool only_cpu_and_memory) {
  std::function<StatusOr<std::string>()> work = [state = state_, source = std::move(source), only_cpu_and_memory] {
    return state->Summary(source, only_cpu_and_memory);
  };
  co_return co_await RunBlockingFor<std::string>(std::move(work));
}

Task<StatusOr<NodeUse>> NodeStats::Use(NodeSource source) {
  std::function<StatusOr<NodeUse>()> work = [state = state_, source = std::move(source)] { return state->Use(source); };
  co_return co_await RunBlockingFor<NodeUse>(std::move(work));
}

}  // namespace skiff::kubelet
