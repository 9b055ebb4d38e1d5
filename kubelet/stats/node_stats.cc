#include "kubelet/stats/node_stats.h"

#include <set>

#include "base/async_lock.h"
#include "base/log.h"
#include "cadvisor/exposition.h"
#include "kubelet/stats/readers.h"

namespace skiff::kubelet {

struct NodeStats::State {
  State(cadvisor::Host host, cadvisor::CgroupTree cgroups, Options o)
      : readers(std::move(host), std::move(cgroups)), options(std::move(o)) {}

  StatusOr<std::string> CadvisorMetrics(const NodeSource& source) {
    ASSIGN_OR_RETURN(const cadvisor::MachineInfo machine, cadvisor::ReadMachine(readers.host));
    const cadvisor::ExpositionOptions exposition{.pressure = options.pressure && readers.cgroups.has_psi(),
                                                 .pod_labels = true,
                                                 .cadvisor_version = options.version,
                                                 .cadvisor_revision = ""};
    return cadvisor::Expose(machine, readers.collector, Records(source), exposition);
  }

  StatusOr<std::string> ResourceMetrics(const NodeSource& source) {
    Records(source);
    return ResourceText(readers, source);
  }

  StatusOr<std::string> Summary(const NodeSource& source, bool only_cpu_and_memory) {
    Records(source);
    std::string json = SummaryJson(readers, source, only_cpu_and_memory);
    if (!only_cpu_and_memory) readers.sizes.Sweep();
    return json;
  }

  StatusOr<NodeUse> Use(const NodeSource& source) {
    NodeUse use = ReadUse(readers, source);
    readers.sizes.Sweep();
    return use;
  }

  // The records; what is held of cgroups that are no more in them is dropped.
  std::vector<cadvisor::ContainerRecord> Records(const NodeSource& source) {
    std::vector<cadvisor::ContainerRecord> records = RecordsOf(readers, source);
    std::set<std::string> cgroups;
    for (const cadvisor::ContainerRecord& record : records) cgroups.insert(record.cgroup);
    readers.collector.Retain(cgroups);
    return records;
  }

  Readers readers;
  const Options options;
  // Whoever comes while the readers are in use waits on the loop, not in a thread of the pool.
  const std::shared_ptr<AsyncLock> turn = std::make_shared<AsyncLock>();
};

template <typename T>
Task<StatusOr<T>> NodeStats::InTurn(std::shared_ptr<State> state, std::function<StatusOr<T>(State&)> read) {
  CO_ASSIGN_OR_RETURN(const AsyncLock::Guard turn, co_await state->turn->Lock());
  std::function<StatusOr<T>()> work = [state, read = std::move(read)] { return read(*state); };
  co_return co_await RunBlockingFor<T>(std::move(work));
}

NodeStats::NodeStats(std::shared_ptr<State> state) : state_(std::move(state)) {}
NodeStats::~NodeStats() = default;

StatusOr<std::unique_ptr<NodeStats>> NodeStats::Open(Options options) {
  ASSIGN_OR_RETURN(cadvisor::Host host, cadvisor::Host::Open(options.root));
  ASSIGN_OR_RETURN(cadvisor::CgroupTree cgroups, cadvisor::CgroupTree::Detect(host.sys));
  return std::unique_ptr<NodeStats>(
      new NodeStats(std::make_shared<State>(std::move(host), std::move(cgroups), std::move(options))));
}

Task<StatusOr<std::string>> NodeStats::CadvisorMetrics(NodeSource source) {
  return InTurn<std::string>(state_,
                             [source = std::move(source)](State& state) { return state.CadvisorMetrics(source); });
}

Task<StatusOr<std::string>> NodeStats::ResourceMetrics(NodeSource source) {
  return InTurn<std::string>(state_,
                             [source = std::move(source)](State& state) { return state.ResourceMetrics(source); });
}

Task<StatusOr<std::string>> NodeStats::Summary(NodeSource source, bool only_cpu_and_memory) {
  return InTurn<std::string>(state_, [source = std::move(source), only_cpu_and_memory](State& state) {
    return state.Summary(source, only_cpu_and_memory);
  });
}

Task<StatusOr<NodeUse>> NodeStats::Use(NodeSource source) {
  return InTurn<NodeUse>(state_, [source = std::move(source)](State& state) { return state.Use(source); });
}

}  // namespace skiff::kubelet
