#include "proxy/program_metrics.h"

#include "client/component_metrics.h"
#include "client/request_metrics.h"
#include "proxy/conntrack_settings.h"
#include "proxy/map_fill.h"

namespace skiff::proxy {

namespace {

constexpr char kConntrackRoot[] = "/proc/sys/net/netfilter";

}  // namespace

void AddProgramMetrics(metrics::Registry& registry, const api::FeatureGates& gates) {
  registry.AddProcessMetrics();
  registry.AddMetaMetrics();
  client::EnableRequestMetrics(registry);
  client::AddComponentMetrics(registry, gates);
}

void AddKernelMetrics(metrics::Registry& registry, DataPath& data_path, const Reconciler& reconciler) {
  registry.Collector("skiff_proxy_datapath_total", "[ALPHA] Decisions of the kernel programs, by outcome", "counter",
                     [&data_path](const metrics::Emit& emit) {
                       auto counters = data_path.maps().ReadCounters();
                       if (!counters.ok()) return;
                       for (size_t i = 0; i < counters->size(); i++) {
                         emit({{{"outcome", kCounterNames[i]}}, static_cast<double>((*counters)[i])});
                       }
                     });
  registry.Collector("skiff_proxy_map_entries", "[ALPHA] Entries of the kernel maps", "gauge",
                     [&data_path, &reconciler](const metrics::Emit& emit) {
                       emit({{{"map", "frontends"}}, static_cast<double>(reconciler.frontends())});
                       emit({{{"map", "backends"}}, static_cast<double>(reconciler.backends())});
                       emit({{{"map", "slots"}}, static_cast<double>(reconciler.slots())});
                       if (auto fill = ReadConntrackFill(kConntrackRoot); fill.ok()) {
                         emit({{{"map", "nf_conntrack"}}, static_cast<double>(fill->entries)});
                       }
                       for (const MapFill& fill : ReadMapFills(data_path.maps_dir())) {
                         emit({{{"map", fill.map}}, static_cast<double>(fill.entries)});
                       }
                     });
  registry.Collector("skiff_proxy_map_capacity", "[ALPHA] Most entries that the kernel maps can hold", "gauge",
                     [](const metrics::Emit& emit) {
                       if (auto fill = ReadConntrackFill(kConntrackRoot); fill.ok()) {
                         emit({{{"map", "nf_conntrack"}}, static_cast<double>(fill->limit)});
                       }
                       emit({{{"map", "flows"}}, double{SKIFF_MAX_FLOWS}});
                       emit({{{"map", "fragments"}}, double{SKIFF_MAX_FRAGMENTS}});
                       emit({{{"map", "affinity"}}, double{SKIFF_MAX_AFFINITY}});
                       emit({{{"map", "source_ranges"}}, double{SKIFF_MAX_SOURCE_RANGES}});
                       emit({{{"map", "frontends"}}, double{SKIFF_MAX_FRONTENDS}});
                       emit({{{"map", "slots"}}, double{SKIFF_MAX_SLOT_CHUNKS} * SKIFF_CHUNK_SIZE});
                       emit({{{"map", "backends"}}, double{SKIFF_MAX_BACKEND_CHUNKS} * SKIFF_CHUNK_SIZE});
                     });
}

}  // namespace skiff::proxy
