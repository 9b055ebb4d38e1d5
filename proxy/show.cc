#include "proxy/show.h"

#include <arpa/inet.h>

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_join.h"
#include "proxy/data_path.h"
#include "proxy/packet_path.h"

namespace skiff::proxy {

namespace {

std::string Pad(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text + " ";
}

std::string Line(std::string_view service, std::string_view frontend, std::string_view from, std::string_view affinity,
                 std::string_view endpoints) {
  return absl::StrCat(Pad(std::string(service), 7), Pad(std::string(frontend), 28), Pad(std::string(from), 7),
                      Pad(std::string(affinity), 8), endpoints, "\n");
}

}  // namespace

StatusOr<std::string> ShowServices(BpfMaps& maps) {
  ASSIGN_OR_RETURN(auto frontends, maps.ReadFrontends());
  ASSIGN_OR_RETURN(auto slots, maps.ReadSlots());
  ASSIGN_OR_RETURN(auto list, maps.ReadBackends());
  std::unordered_map<uint32_t, skiff_backend> backends(list.begin(), list.end());
  std::sort(frontends.begin(), frontends.end(), [](const auto& a, const auto& b) { return a.first < b.first; });

  auto endpoints = [&](const skiff_frontend& f, const skiff_range& range) -> std::string {
    if (range.count == 0) return "refused";
    std::vector<std::string> out;
    for (uint32_t i = 0; i < range.count; i++) {
      uint32_t at = range.first + i;
      auto b = at < slots.size() ? backends.find(slots[at].backend) : backends.end();
      if (b == backends.end() || b->second.service != f.service) {
        out.push_back("changing");  // read while it was being written
        continue;
      }
      bool v6 = FamilyOf(b->second.address) == Family::kIPv6;
      out.push_back(
          absl::StrCat(v6 ? "[" : "", FormatAddress(b->second.address), v6 ? "]:" : ":", ntohs(b->second.port)));
    }
    return absl::StrJoin(out, " ");
  };
  std::string out = Line("SERVICE", "FRONTEND", "FROM", "AFFINITY", "ENDPOINTS");
  std::vector<std::string> node;
  for (const auto& [key, f] : frontends) {
    if (key.port == 0) {
      if (f.flags & SKIFF_FRONTEND_NODE_ADDRESS) {
        node.push_back(FormatAddress(key.address) + (f.flags & SKIFF_FRONTEND_HOST_ONLY ? " (own processes)" : ""));
      }
      continue;
    }
    std::string service = absl::StrCat(f.service), name = FormatKey(key);
    std::string affinity = f.affinity_seconds == 0 ? "-" : absl::StrCat(f.affinity_seconds, "s");
    std::string inside = f.flags & SKIFF_FRONTEND_PASS ? "passed" : endpoints(f, f.inside);
    std::string outside = endpoints(f, f.outside);
    if (inside == outside) {
      out += Line(service, name, "all", affinity, inside);
    } else {
      out += Line(service, name, "inside", affinity, inside);
      out += Line(service, name, "outside", affinity, outside);
    }
  }
  absl::StrAppend(&out, "\nNodePorts answer on: ", node.empty() ? "no address" : absl::StrJoin(node, ", "), "\n");
  return out;
}

StatusOr<std::string> Show(const std::string& bpf_dir) {
  ASSIGN_OR_RETURN(auto maps, KernelBpfMaps::Open(MapsDirOf(bpf_dir)), "no data path at ", bpf_dir);
  ASSIGN_OR_RETURN(std::string out, ShowServices(*maps));
  ASSIGN_OR_RETURN(auto counters, maps->ReadCounters());
  out += "\nThe kernel programs counted:\n";
  for (size_t i = 0; i < counters.size(); i++) {
    absl::StrAppend(&out, "  ", Pad(kCounterNames[i], 16), counters[i], "\n");
  }
  if (auto flows = CountFlows(MapsDirOf(bpf_dir)); flows.ok()) {
    absl::StrAppend(&out, "Connection table for outside traffic: ", *flows, " of ", SKIFF_MAX_FLOWS, " entries\n");
  }
  return out;
}

}  // namespace skiff::proxy
