#include "proxy/map_fill.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/files.h"
#include "bpf/layout.h"
#include "bpf/objects.h"

namespace skiff::proxy {

StatusOr<size_t> CountEntries(const std::string& maps_dir, const std::string& map) {
  ASSIGN_OR_RETURN(Fd fd, bpf::OpenPinned(JoinPath(maps_dir, map)));
  bpf_map_info info = {};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return ErrnoStatus(errno, absl::StrCat("look at map ", map));
  size_t out = 0, batch = 4096;
  std::vector<char> keys, values;
  // The cursor: a number of a hash map's, a key of others'.
  std::vector<char> in(std::max<size_t>(info.key_size, 8)), next(in.size());
  for (bool first = true;;) {
    keys.resize(batch * info.key_size);
    values.resize(batch * info.value_size);
    auto count = static_cast<uint32_t>(batch);
    int err = bpf_map_lookup_batch(fd.get(), first ? nullptr : in.data(), next.data(), keys.data(), values.data(),
                                   &count, nullptr);
    if (err != 0 && errno == ENOSPC) {  // one bucket holds more than the batch: once more from where we were
      batch *= 2;
      continue;
    }
    if (err != 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("read map ", map));
    out += count;
    if (err != 0) return out;
    in.swap(next);
    first = false;
  }
}

std::vector<MapFill> ReadMapFills(const std::string& maps_dir) {
  std::vector<MapFill> out;
  for (auto [map, capacity] : {std::pair<const char*, size_t>{"affinity", SKIFF_MAX_AFFINITY},
                               {"source_ranges", SKIFF_MAX_SOURCE_RANGES},
                               {"flows", SKIFF_MAX_FLOWS},
                               {"fragments", SKIFF_MAX_FRAGMENTS}}) {
    auto entries = CountEntries(maps_dir, map);
    if (entries.ok()) out.push_back({map, *entries, capacity});
  }
  return out;
}

}  // namespace skiff::proxy
