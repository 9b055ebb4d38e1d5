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
    return SummaryJson(readers, source, only_cpu_and_memory);
  }

  StatusOr<NodeUse> Use(const NodeSource& source) { return ReadUse(readers, source); }

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

namespace {

// Before the reader's turn: nobody waits for a volume that takes long.
Task<void> AddVolumes(std::shared_ptr<VolumeSizes> sizes, NodeSource* source, bool only_claims) {
  std::vector<VolumeSizes::Volume> volumes;
  for (const PodSource& pod : source->pods) {
    for (const VolumeStatsSource& volume : pod.volumes) {
      if (!only_claims || !volume.pvc_name.empty()) volumes.push_back({.path = volume.path, .walked = volume.walked});
    }
  }
  if (volumes.empty()) co_return;
  co_await sizes->Refresh(std::move(volumes));
  for (PodSource& pod : source->pods) {
    for (VolumeStatsSource& volume : pod.volumes) volume.figures = sizes->Latest(volume.path);
  }
}

}  // namespace

NodeStats::NodeStats(std::shared_ptr<State> state, VolumeSizes::Options volumes)
    : state_(std::move(state)), volumes_(std::make_shared<VolumeSizes>(volumes)) {}
NodeStats::~NodeStats() = default;

StatusOr<std::unique_ptr<NodeStats>> NodeStats::Open(Options options) {
  ASSIGN_OR_RETURN(cadvisor::Host host, cadvisor::Host::Open(options.root));
  ASSIGN_OR_RETURN(cadvisor::CgroupTree cgroups, cadvisor::CgroupTree::Detect(host.sys));
  const VolumeSizes::Options volumes = options.volumes;
  return std::unique_ptr<NodeStats>(
      new NodeStats(std::make_shared<State>(std::move(host), std::move(cgroups), std::move(options)), volumes));
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
  const auto state = state_;
  if (!only_cpu_and_memory) co_await AddVolumes(volumes_, &source, false);
  co_return co_await InTurn<std::string>(state, [source = std::move(source), only_cpu_and_memory](State& s) {
    return s.Summary(source, only_cpu_and_memory);
  });
}

Task<StatusOr<NodeUse>> NodeStats::Use(NodeSource source) {
  const auto state = state_;
  co_await AddVolumes(volumes_, &source, false);
  co_return co_await InTurn<NodeUse>(state, [source = std::move(source)](State& s) { return s.Use(source); });
}

Task<std::vector<ClaimFigures>> NodeStats::Claims(NodeSource source) {
  co_await AddVolumes(volumes_, &source, true);
  std::vector<ClaimFigures> claims;
  std::set<std::pair<std::string, std::string>> seen;
  for (const PodSource& pod : source.pods) {
    for (const VolumeStatsSource& volume : pod.volumes) {
      if (volume.pvc_name.empty() || !volume.figures) continue;
      if (seen.emplace(pod.namespace_, volume.pvc_name).second) {
        claims.push_back({pod.namespace_, volume.pvc_name, *volume.figures});
      }
    }
  }
  co_return claims;
}

}  // namespace skiff::kubelet
