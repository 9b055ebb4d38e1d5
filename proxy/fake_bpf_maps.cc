#include "proxy/fake_bpf_maps.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace skiff::proxy {

Status FakeBpfMaps::Step() {
  if (fail_after == 0) return absl::InternalError("failed as told");
  if (fail_after > 0) --fail_after;
  return absl::OkStatus();
}

Status FakeBpfMaps::PutFrontends(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values) {
  Status full;
  for (size_t i = 0; i < keys.size(); i++) {
    RETURN_IF_ERROR(Step());
    if (frontends.size() >= most_frontends && !frontends.contains(keys[i])) {
      full = absl::ResourceExhaustedError("frontends is full");
      continue;
    }
    frontends[keys[i]] = values[i];
    ++writes;
    if (after_write) after_write(*this);
  }
  return full;
}

Status FakeBpfMaps::DeleteFrontends(std::span<const FrontendKey> keys) {
  for (const FrontendKey& key : keys) {
    RETURN_IF_ERROR(Step());
    frontends.erase(key);
    ++writes;
    if (after_write) after_write(*this);
  }
  return absl::OkStatus();
}

Status FakeBpfMaps::PutSlots(uint32_t first, std::span<const skiff_slot> values) {
  for (size_t i = 0; i < values.size(); i++) {
    RETURN_IF_ERROR(Step());
    slots[first + static_cast<uint32_t>(i)] = values[i];
    ++writes;
    if (after_write) after_write(*this);
  }
  return absl::OkStatus();
}

Status FakeBpfMaps::PutBackends(std::span<const uint32_t> ids, std::span<const skiff_backend> values) {
  for (size_t i = 0; i < ids.size(); i++) {
    RETURN_IF_ERROR(Step());
    if (values[i].state == 0)
      backends.erase(ids[i]);
    else
      backends[ids[i]] = values[i];
    ++writes;
    if (after_write) after_write(*this);
  }
  return absl::OkStatus();
}

Status FakeBpfMaps::PutRanges(std::span<const SourceRange> put) {
  Status full;
  for (const SourceRange& range : put) {
    RETURN_IF_ERROR(Step());
    if (std::erase(ranges, range) == 0 && ranges.size() >= most_ranges) {
      full = absl::ResourceExhaustedError("source_ranges is full");
      continue;
    }
    ranges.push_back(range);
    ++writes;
  }
  return full;
}

Status FakeBpfMaps::DeleteRanges(std::span<const SourceRange> gone) {
  for (const SourceRange& range : gone) {
    RETURN_IF_ERROR(Step());
    std::erase(ranges, range);
    ++writes;
  }
  return absl::OkStatus();
}

Status FakeBpfMaps::ClearCounts(std::span<const uint32_t> services) {
  RETURN_IF_ERROR(Step());
  for (uint32_t id : services) counts.erase(id);
  return absl::OkStatus();
}

StatusOr<std::vector<std::pair<uint32_t, skiff_service_counts>>> FakeBpfMaps::ReadCounts() {
  return std::vector<std::pair<uint32_t, skiff_service_counts>>(counts.begin(), counts.end());
}

StatusOr<std::vector<SourceRange>> FakeBpfMaps::ReadRanges() { return ranges; }

StatusOr<std::vector<std::pair<FrontendKey, skiff_frontend>>> FakeBpfMaps::ReadFrontends() {
  return std::vector<std::pair<FrontendKey, skiff_frontend>>(frontends.begin(), frontends.end());
}

StatusOr<std::vector<skiff_slot>> FakeBpfMaps::ReadSlots() {
  std::vector<skiff_slot> out(slots.empty() ? 0 : slots.rbegin()->first + 1);
  for (const auto& [index, slot] : slots) out[index] = slot;
  return out;
}

StatusOr<std::vector<std::pair<uint32_t, skiff_backend>>> FakeBpfMaps::ReadBackends() {
  return std::vector<std::pair<uint32_t, skiff_backend>>(backends.begin(), backends.end());
}

std::string FakeBpfMaps::Show(const FrontendKey& key, bool outside) const {
  auto it = frontends.find(key);
  if (it == frontends.end()) return absl::StrCat(FormatKey(key), " missing");
  const skiff_frontend& f = it->second;
  std::string out = FormatKey(key);
  if (f.flags & SKIFF_FRONTEND_PASS && !outside) return absl::StrCat(out, " passed");
  skiff_range range = outside ? f.outside : f.inside;
  uint32_t local_flag = outside ? SKIFF_FRONTEND_OUTSIDE_LOCAL : SKIFF_FRONTEND_INSIDE_LOCAL;
  uint8_t state = f.flags & local_flag ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER;
  if (range.count == 0) {
    uint32_t drop = outside ? SKIFF_FRONTEND_OUTSIDE_DROP : SKIFF_FRONTEND_INSIDE_DROP;
    return absl::StrCat(out, f.flags & drop ? " dropped" : " refused");
  }
  std::vector<std::string> to;
  for (uint32_t i = 0; i < range.count; i++) {
    auto slot = slots.find(range.first + i);
    if (slot == slots.end() || slot->second.service != f.service) {
      to.push_back("BROKEN slot");
      continue;
    }
    auto b = backends.find(slot->second.backend);
    if (b == backends.end() || b->second.service != f.service || !(b->second.state & state)) {
      to.push_back("BROKEN backend");
      continue;
    }
    bool v6 = FamilyOf(b->second.address) == Family::kIPv6;
    to.push_back(absl::StrCat(v6 ? "[" : "", FormatAddress(b->second.address), v6 ? "]:" : ":", ntohs(b->second.port)));
  }
  std::sort(to.begin(), to.end());
  return absl::StrCat(out, " -> ", absl::StrJoin(to, " "));
}

std::vector<std::string> FakeBpfMaps::ShowAll(bool outside) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : frontends) {
    if (key.port != 0) out.push_back(Show(key, outside));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace skiff::proxy
