#include "proxy/kernel_bpf_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>

#include "bpf/objects.h"

namespace skiff::proxy {

const char* const kCounterNames[SKIFF_COUNTERS] = {
    "connect",         "no_endpoint",   "unused_port",    "retry",          "gave_up",        "rebind",
    "flow_evicted",    "packet_flow",   "packet_refused", "packet_no_port", "packet_range",   "packet_pod",
    "packet_fragment", "packet_direct", "packet_xdp",     "packet_policy",  "packet_unknown", "packet_echo"};

namespace {

constexpr uint32_t kBatch = 4096;

}  // namespace

Status KernelBpfMaps::Chunked::Open(const std::string& dir) {
  ASSIGN_OR_RETURN(outer, bpf::OpenPinned(JoinPath(dir, name)));
  // Chunks are made in order, so the first gap is the end.
  for (uint32_t i = 0; i < max_chunks; i++) {
    uint32_t id = 0;
    if (bpf_map_lookup_elem(outer.get(), &i, &id) != 0) {
      if (errno == ENOENT) break;
      return ErrnoStatus(errno, absl::StrCat("read map ", name));
    }
    Fd chunk(bpf_map_get_fd_by_id(id));
    if (!chunk.valid()) return ErrnoStatus(errno, absl::StrCat("open chunk of map ", name));
    chunks.push_back(std::move(chunk));
  }
  return absl::OkStatus();
}

Status KernelBpfMaps::Chunked::Grow(uint32_t chunk) {
  if (chunk < chunks.size()) return absl::OkStatus();
  if (chunk >= max_chunks) return absl::ResourceExhaustedError(absl::StrCat("map ", name, " is full"));
  std::vector<Fd> made;
  std::vector<uint32_t> keys;
  std::vector<int> numbers;
  // The kernel waits for all running programs after each change of a map of maps, which on a busy machine takes over
  // 100 ms: once for all of them, and beyond the first with one to spare, so that few changes of one endpoint meet it.
  uint32_t last = chunk == 0 ? 0 : std::min(chunk + 1, max_chunks - 1);
  for (auto index = static_cast<uint32_t>(chunks.size()); index <= last; index++) {
    Fd fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, SKIFF_CHUNK_SIZE, nullptr));
    if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("make chunk of map ", name));
    keys.push_back(index);
    numbers.push_back(fd.get());
    made.push_back(std::move(fd));
  }
  auto count = static_cast<uint32_t>(keys.size());
  int err = count == 1 ? -1 : bpf_map_update_batch(outer.get(), keys.data(), numbers.data(), &count, nullptr);
  if (err != 0) {
    for (size_t i = 0; i < keys.size(); i++) {
      if (bpf_map_update_elem(outer.get(), &keys[i], &numbers[i], BPF_ANY) != 0) {
        return ErrnoStatus(errno, absl::StrCat("add chunk to map ", name));
      }
    }
  }
  for (Fd& fd : made) chunks.push_back(std::move(fd));
  return absl::OkStatus();
}

StatusOr<int> KernelBpfMaps::Chunked::At(uint32_t chunk) {
  RETURN_IF_ERROR(Grow(chunk));
  return chunks[chunk].get();
}

StatusOr<std::unique_ptr<KernelBpfMaps>> KernelBpfMaps::Open(const std::string& dir) {
  std::unique_ptr<KernelBpfMaps> out(new KernelBpfMaps());
  ASSIGN_OR_RETURN(out->frontends_, bpf::OpenPinned(JoinPath(dir, "frontends")));
  ASSIGN_OR_RETURN(out->settings_, bpf::OpenPinned(JoinPath(dir, "settings")));
  ASSIGN_OR_RETURN(out->counters_, bpf::OpenPinned(JoinPath(dir, "counters")));
  ASSIGN_OR_RETURN(out->ranges_, bpf::OpenPinned(JoinPath(dir, "source_ranges")));
  RETURN_IF_ERROR(out->slots_.Open(dir));
  RETURN_IF_ERROR(out->backends_.Open(dir));
  RETURN_IF_ERROR(out->counts_.Open(dir));
  return out;
}

Status KernelBpfMaps::PutFrontends(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values) {
  for (size_t at = 0; at < keys.size(); at += kBatch) {
    auto count = static_cast<uint32_t>(std::min<size_t>(kBatch, keys.size() - at));
    if (bpf_map_update_batch(frontends_.get(), keys.data() + at, values.data() + at, &count, nullptr) != 0) {
      if (errno == E2BIG) return PutWhatFits(keys.subspan(at), values.subspan(at));
      return ErrnoStatus(errno, "update map frontends");
    }
  }
  return absl::OkStatus();
}

// A full map still takes other values of the keys that it has.
Status KernelBpfMaps::PutWhatFits(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values) {
  size_t left = 0;
  for (size_t i = 0; i < keys.size(); i++) {
    if (bpf_map_update_elem(frontends_.get(), &keys[i], &values[i], BPF_ANY) == 0) continue;
    if (errno != E2BIG) return ErrnoStatus(errno, "update map frontends");
    left++;
  }
  if (left == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("map frontends is full (", SKIFF_MAX_FRONTENDS, "), ", left, " did not fit"));
}

Status KernelBpfMaps::DeleteFrontends(std::span<const FrontendKey> keys) {
  for (size_t at = 0; at < keys.size();) {
    auto count = static_cast<uint32_t>(std::min<size_t>(kBatch, keys.size() - at));
    if (bpf_map_delete_batch(frontends_.get(), keys.data() + at, &count, nullptr) == 0) {
      at += count;
      continue;
    }
    if (errno != ENOENT) return ErrnoStatus(errno, "delete from map frontends");
    at += count + 1;  // `count` were deleted, the next was not there
  }
  return absl::OkStatus();
}

template <typename T>
Status KernelBpfMaps::PutRun(Chunked& map, uint32_t first, const T* values, size_t count) {
  uint32_t keys[SKIFF_CHUNK_SIZE];
  if (count > 0) RETURN_IF_ERROR(map.Grow(static_cast<uint32_t>((first + count - 1) >> SKIFF_CHUNK_BITS)));
  while (count > 0) {
    uint32_t at = first & (SKIFF_CHUNK_SIZE - 1);
    auto n = static_cast<uint32_t>(std::min<size_t>(count, SKIFF_CHUNK_SIZE - at));
    ASSIGN_OR_RETURN(int fd, map.At(first >> SKIFF_CHUNK_BITS));
    for (uint32_t i = 0; i < n; i++) keys[i] = at + i;
    uint32_t done = n;
    int err = n == 1 ? bpf_map_update_elem(fd, keys, values, BPF_ANY)
                     : bpf_map_update_batch(fd, keys, values, &done, nullptr);
    if (err != 0) return ErrnoStatus(errno, absl::StrCat("update map ", map.name));
    first += n;
    values += n;
    count -= n;
  }
  return absl::OkStatus();
}

Status KernelBpfMaps::PutSlots(uint32_t first, std::span<const skiff_slot> values) {
  return PutRun(slots_, first, values.data(), values.size());
}

Status KernelBpfMaps::PutBackends(std::span<const uint32_t> ids, std::span<const skiff_backend> values) {
  if (!ids.empty()) RETURN_IF_ERROR(backends_.Grow(ids.back() >> SKIFF_CHUNK_BITS));
  for (size_t from = 0, to; from < ids.size(); from = to) {
    for (to = from + 1; to < ids.size() && ids[to] == ids[to - 1] + 1; to++) {
    }
    RETURN_IF_ERROR(PutRun(backends_, ids[from], values.data() + from, to - from));
  }
  return absl::OkStatus();
}

namespace {

skiff_source_range RangeKey(const SourceRange& range) {
  return {.prefix = 32u + range.prefix.bits, .service = range.service, .source = range.prefix.base};
}

}  // namespace

Status KernelBpfMaps::PutRanges(std::span<const SourceRange> ranges) {
  const uint32_t yes = 1;
  size_t left = 0;
  for (const SourceRange& range : ranges) {
    skiff_source_range key = RangeKey(range);
    if (bpf_map_update_elem(ranges_.get(), &key, &yes, BPF_ANY) == 0) continue;
    if (errno != ENOSPC && errno != E2BIG) return ErrnoStatus(errno, "update map source_ranges");
    left++;
  }
  if (left == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("map source_ranges is full (", SKIFF_MAX_SOURCE_RANGES, "), ", left, " did not fit"));
}

Status KernelBpfMaps::DeleteRanges(std::span<const SourceRange> ranges) {
  for (const SourceRange& range : ranges) {
    skiff_source_range key = RangeKey(range);
    if (bpf_map_delete_elem(ranges_.get(), &key) != 0 && errno != ENOENT) {
      return ErrnoStatus(errno, "delete from map source_ranges");
    }
  }
  return absl::OkStatus();
}

Status KernelBpfMaps::ClearCounts(std::span<const uint32_t> services) {
  constexpr uint32_t kLimit = SKIFF_MAX_COUNT_CHUNKS << SKIFF_CHUNK_BITS;  // what is beyond is not counted
  std::vector<uint32_t> ids(services.begin(), services.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::lower_bound(ids.begin(), ids.end(), kLimit), ids.end());
  for (size_t from = 0, to; from < ids.size(); from = to) {
    for (to = from + 1; to < ids.size() && ids[to] == ids[to - 1] + 1; to++) {
    }
    const std::vector<skiff_service_counts> none(to - from, skiff_service_counts{});
    RETURN_IF_ERROR(PutRun(counts_, ids[from], none.data(), none.size()));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<SourceRange>> KernelBpfMaps::ReadRanges() {
  std::vector<SourceRange> out;
  skiff_source_range key = {}, next = {};
  for (bool first = true; bpf_map_get_next_key(ranges_.get(), first ? nullptr : &key, &next) == 0; first = false) {
    out.push_back({next.service, Prefix{next.source, static_cast<uint8_t>(next.prefix - 32)}});
    key = next;
  }
  return out;
}

StatusOr<std::vector<std::pair<FrontendKey, skiff_frontend>>> KernelBpfMaps::ReadFrontends() {
  std::vector<std::pair<FrontendKey, skiff_frontend>> out;
  std::vector<FrontendKey> keys(kBatch);
  std::vector<skiff_frontend> values(kBatch);
  uint64_t in = 0, next = 0;  // the hash's cursor: a bucket number
  for (bool first = true;; first = false) {
    auto count = static_cast<uint32_t>(keys.size());
    int err = bpf_map_lookup_batch(frontends_.get(), first ? nullptr : &in, &next, keys.data(), values.data(), &count,
                                   nullptr);
    if (err != 0 && errno == ENOSPC) {  // one bucket holds more than the batch
      keys.resize(keys.size() * 2);
      values.resize(values.size() * 2);
      continue;
    }
    if (err != 0 && errno != ENOENT) return ErrnoStatus(errno, "read map frontends");
    for (uint32_t i = 0; i < count; i++) out.emplace_back(keys[i], values[i]);
    if (err != 0) return out;
    in = next;
  }
}

template <typename T, typename F>
Status KernelBpfMaps::ReadChunks(Chunked& map, F visit) {
  std::vector<uint32_t> keys(SKIFF_CHUNK_SIZE);
  std::vector<T> values(SKIFF_CHUNK_SIZE);
  for (size_t c = 0; c < map.chunks.size(); c++) {
    uint32_t next = 0, count = SKIFF_CHUNK_SIZE;
    int err = bpf_map_lookup_batch(map.chunks[c].get(), nullptr, &next, keys.data(), values.data(), &count, nullptr);
    if (err != 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("read map ", map.name));
    for (uint32_t i = 0; i < count; i++) visit(static_cast<uint32_t>(c << SKIFF_CHUNK_BITS) + keys[i], values[i]);
  }
  return absl::OkStatus();
}

StatusOr<std::vector<skiff_slot>> KernelBpfMaps::ReadSlots() {
  std::vector<skiff_slot> out(slots_.chunks.size() << SKIFF_CHUNK_BITS);
  RETURN_IF_ERROR(ReadChunks<skiff_slot>(slots_, [&](uint32_t index, const skiff_slot& slot) { out[index] = slot; }));
  return out;
}

StatusOr<std::vector<std::pair<uint32_t, skiff_backend>>> KernelBpfMaps::ReadBackends() {
  std::vector<std::pair<uint32_t, skiff_backend>> out;
  RETURN_IF_ERROR(ReadChunks<skiff_backend>(backends_, [&](uint32_t index, const skiff_backend& backend) {
    if (backend.state != 0) out.emplace_back(index, backend);
  }));
  return out;
}

StatusOr<std::vector<std::pair<uint32_t, skiff_service_counts>>> KernelBpfMaps::ReadCounts() {
  std::vector<std::pair<uint32_t, skiff_service_counts>> out;
  RETURN_IF_ERROR(ReadChunks<skiff_service_counts>(counts_, [&](uint32_t id, const skiff_service_counts& counts) {
    if (counts.connections != 0 || counts.refused != 0) out.emplace_back(id, counts);
  }));
  return out;
}

Status KernelBpfMaps::PutSettings(const skiff_settings& settings) {
  uint32_t zero = 0;
  if (bpf_map_update_elem(settings_.get(), &zero, &settings, BPF_ANY) != 0) {
    return ErrnoStatus(errno, "update map settings");
  }
  return absl::OkStatus();
}

StatusOr<skiff_settings> KernelBpfMaps::ReadSettings() {
  uint32_t zero = 0;
  skiff_settings out = {};
  if (bpf_map_lookup_elem(settings_.get(), &zero, &out) != 0) return ErrnoStatus(errno, "read map settings");
  return out;
}

StatusOr<std::vector<uint64_t>> KernelBpfMaps::ReadCounters() {
  int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return Internal("number of CPUs unknown");
  std::vector<uint64_t> out(SKIFF_COUNTERS), per_cpu(static_cast<size_t>(cpus));
  for (uint32_t i = 0; i < SKIFF_COUNTERS; i++) {
    if (bpf_map_lookup_elem(counters_.get(), &i, per_cpu.data()) != 0) return ErrnoStatus(errno, "read map counters");
    for (uint64_t value : per_cpu) out[i] += value;
  }
  return out;
}

size_t KernelBpfMaps::chunks() const { return slots_.chunks.size() + backends_.chunks.size(); }

}  // namespace skiff::proxy
