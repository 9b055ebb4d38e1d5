#include "proxy/show.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "absl/strings/str_join.h"
#include "bpf/objects.h"
#include "proxy/data_path.h"
#include "proxy/map_fill.h"

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

  auto endpoints = [&](const skiff_frontend& f, const skiff_range& range, uint32_t drop) -> std::string {
    if (range.count == 0) return f.flags & drop ? "dropped" : "refused";
    std::vector<std::string> out;
    std::unordered_set<uint32_t> seen;  // a Maglev table names each endpoint many times
    for (uint32_t i = 0; i < range.count; i++) {
      uint32_t at = range.first + i;
      auto b = at < slots.size() ? backends.find(slots[at].backend) : backends.end();
      if (b == backends.end() || b->second.service != f.service) {
        out.push_back("changing");  // read while it was being written
        continue;
      }
      if (!seen.insert(b->first).second) continue;
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
    std::string inside = f.flags & SKIFF_FRONTEND_PASS ? "passed" : endpoints(f, f.inside, SKIFF_FRONTEND_INSIDE_DROP);
    std::string outside = endpoints(f, f.outside, SKIFF_FRONTEND_OUTSIDE_DROP);
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

namespace {

std::string AddressPort(const skiff_address& address, uint16_t port) {
  bool v6 = FamilyOf(address) == Family::kIPv6;
  return absl::StrCat(v6 ? "[" : "", FormatAddress(address), v6 ? "]:" : ":", ntohs(port));
}

std::string Age(uint64_t now, uint64_t then) { return absl::StrCat(now > then ? (now - then) / 1000000000 : 0, "s"); }

uint64_t Monotonic() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ull + static_cast<uint64_t>(t.tv_nsec);
}

template <typename Entry>
StatusOr<std::vector<Entry>> ReadMap(const std::string& path) {
  ASSIGN_OR_RETURN(Fd map, bpf::OpenPinned(path));
  std::vector<Entry> out;
  Entry entry = {};
  bool first = true;
  // Entries come and go meanwhile; a key that went away ends the walk early, which is good enough for people.
  while (bpf_map_get_next_key(map.get(), first ? nullptr : &entry.key, &entry.key) == 0) {
    first = false;
    if (bpf_map_lookup_elem(map.get(), &entry.key, &entry.value) == 0) out.push_back(entry);
  }
  return out;
}

std::string ShowCounters(KernelBpfMaps& maps, const std::vector<uint64_t>& counters, const std::string& maps_dir) {
  std::string out = "The kernel programs counted:\n";
  for (size_t i = 0; i < counters.size(); i++) {
    absl::StrAppend(&out, "  ", Pad(kCounterNames[i], 16), counters[i], "\n");
  }
  absl::StrAppend(&out, "Tables:\n");
  for (const MapFill& fill : ReadMapFills(maps_dir)) {
    absl::StrAppend(&out, "  ", Pad(fill.map, 16), fill.entries, " of ", fill.capacity, "\n");
  }
  absl::StrAppend(&out, "Chunks of ", SKIFF_CHUNK_SIZE, " slots or endpoints in use: ", maps.chunks(), "\n");
  return out;
}

}  // namespace

StatusOr<std::string> ShowServiceCounts(BpfMaps& maps) {
  ASSIGN_OR_RETURN(auto counts, maps.ReadCounts());
  ASSIGN_OR_RETURN(auto frontends, maps.ReadFrontends());
  // A service port's least frontend stands for it: its cluster IP, as NodePorts have no address of their own.
  std::map<uint32_t, FrontendKey> names;
  for (const auto& [key, f] : frontends) {
    if (key.port == 0) continue;
    auto [name, added] = names.emplace(f.service, key);
    auto rank = [](const FrontendKey& k) { return std::pair(k.scope, k); };
    if (!added && rank(key) < rank(name->second)) name->second = key;
  }
  std::sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out = absl::StrCat(Pad("SERVICE", 7), Pad("FRONTEND", 28), Pad("CONNECTIONS", 12), "REFUSED\n");
  for (const auto& [id, c] : counts) {
    auto name = names.find(id);
    if (name == names.end()) continue;  // of a service that is gone
    absl::StrAppend(&out, Pad(absl::StrCat(id), 7), Pad(FormatKey(name->second), 28),
                    Pad(absl::StrCat(c.connections), 12), c.refused, "\n");
  }
  return out;
}

std::string ShowAffinity(const std::vector<AffinityEntry>& entries, BpfMaps& maps, uint64_t now) {
  std::unordered_map<uint32_t, skiff_backend> backends;
  if (auto list = maps.ReadBackends(); list.ok()) backends.insert(list->begin(), list->end());
  std::string out = absl::StrCat(Pad("SERVICE", 7), Pad("CLIENT", 28), Pad("ENDPOINT", 24), "UNUSED FOR\n");
  std::vector<std::string> lines;
  for (const AffinityEntry& e : entries) {
    std::string client;
    if (e.key.kind == 0) {
      skiff_address address;
      for (size_t i = 0; i < 4; i++) address.word[i] = e.key.client[i];
      client = FormatAddress(address);
    } else {
      client = absl::StrCat("netns ", uint64_t{e.key.client[1]} << 32 | e.key.client[0]);
    }
    auto b = backends.find(e.value.backend);
    std::string endpoint = b == backends.end() ? "gone" : AddressPort(b->second.address, b->second.port);
    lines.push_back(absl::StrCat(Pad(absl::StrCat(e.key.service), 7), Pad(client, 28), Pad(endpoint, 24),
                                 Age(now, e.value.used), "\n"));
  }
  std::sort(lines.begin(), lines.end());
  return out + absl::StrJoin(lines, "");
}

std::string ShowConnections(const std::vector<FlowEntry>& entries, uint64_t now) {
  // client and endpoint -> the node's own address
  std::map<std::string, std::string> masquerades;
  auto both = [](const FlowEntry& e, const std::string& endpoint) {
    return absl::StrCat(ProtocolName(e.key.protocol), " ", AddressPort(e.key.source, e.key.source_port), " ", endpoint);
  };
  for (const FlowEntry& e : entries) {
    if (e.key.kind != SKIFF_FLOW_MASQUERADE || e.value.port == 0) continue;
    masquerades[both(e, AddressPort(e.key.destination, e.key.destination_port))] =
        AddressPort(e.value.address, e.value.port);
  }
  std::string out = absl::StrCat(Pad("PROTO", 5), Pad("CLIENT", 24), Pad("SERVICE", 24), Pad("ENDPOINT", 24),
                                 Pad("AS", 24), "UNUSED FOR\n");
  std::vector<std::string> lines;
  for (const FlowEntry& e : entries) {
    if (e.key.kind != SKIFF_FLOW_TO_BACKEND) continue;
    std::string endpoint = AddressPort(e.value.address, e.value.port);
    auto as = masquerades.find(both(e, endpoint));
    lines.push_back(absl::StrCat(Pad(std::string(ProtocolName(e.key.protocol)), 5),
                                 Pad(AddressPort(e.key.source, e.key.source_port), 24),
                                 Pad(AddressPort(e.key.destination, e.key.destination_port), 24), Pad(endpoint, 24),
                                 Pad(as == masquerades.end() ? "-" : as->second, 24), Age(now, e.value.used), "\n"));
  }
  std::sort(lines.begin(), lines.end());
  return out + absl::StrJoin(lines, "");
}

StatusOr<std::string> Show(const std::string& bpf_dir, const std::vector<std::string>& what) {
  for (const std::string& word : what) {
    if (word != "services" && word != "affinity" && word != "connections" && word != "counters") {
      return InvalidArgument("kube-proxy show: \"", word, "\" is not one of services, affinity, connections, counters");
    }
  }
  auto wanted = [&](std::string_view word, bool otherwise) {
    return what.empty() ? otherwise : std::find(what.begin(), what.end(), word) != what.end();
  };
  std::string maps_dir = MapsDirOf(bpf_dir), out;
  ASSIGN_OR_RETURN(auto maps, KernelBpfMaps::Open(maps_dir), "no data path at ", bpf_dir);
  auto add = [&](std::string text) { absl::StrAppend(&out, out.empty() ? "" : "\n", text); };
  if (wanted("services", true)) {
    ASSIGN_OR_RETURN(std::string services, ShowServices(*maps));
    add(services);
  }
  if (wanted("affinity", false)) {
    ASSIGN_OR_RETURN(auto entries, ReadMap<AffinityEntry>(JoinPath(maps_dir, "affinity")));
    add(ShowAffinity(entries, *maps, Monotonic()));
  }
  if (wanted("connections", false)) {
    auto entries = ReadMap<FlowEntry>(JoinPath(maps_dir, "flows"));
    // The table is there once packets were taken.
    if (!entries.ok() && !absl::IsNotFound(entries.status())) return entries.status();
    add(ShowConnections(entries.ok() ? *entries : std::vector<FlowEntry>{}, Monotonic()));
  }
  if (wanted("counters", true)) {
    ASSIGN_OR_RETURN(std::string counts, ShowServiceCounts(*maps));
    add(counts);
    ASSIGN_OR_RETURN(auto counters, maps->ReadCounters());
    add(ShowCounters(*maps, counters, maps_dir));
  }
  return out;
}

}  // namespace skiff::proxy
