#include "proxy/write_plan.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "proxy/reconcile.h"

namespace skiff::proxy {

Status WritePlan::Write(BpfMaps& maps, ApplyResult* result) {
  auto by_number = [](const auto& a, const auto& b) { return a.first < b.first; };
  auto put_backends = [&](std::vector<std::pair<uint32_t, skiff_backend>>& entries) -> Status {
    if (entries.empty()) return absl::OkStatus();
    std::sort(entries.begin(), entries.end(), by_number);
    std::vector<uint32_t> ids;
    std::vector<skiff_backend> values;
    ids.reserve(entries.size());
    values.reserve(entries.size());
    for (const auto& [id, value] : entries) {
      ids.push_back(id);
      values.push_back(value);
    }
    return maps.PutBackends(ids, values);
  };
  RETURN_IF_ERROR(put_backends(backends), "write backends");
  result->backends_written = backends.size();

  std::sort(slots.begin(), slots.end(), by_number);
  std::vector<skiff_slot> run;
  for (size_t i = 0; i < slots.size(); i++) {
    run.push_back(slots[i].second);
    if (i + 1 < slots.size() && slots[i + 1].first == slots[i].first + 1) continue;
    auto first = slots[i].first + 1 - static_cast<uint32_t>(run.size());
    RETURN_IF_ERROR(maps.PutSlots(first, run), "write slots");
    run.clear();
  }
  result->slots_written = slots.size();

  if (!new_services.empty()) RETURN_IF_ERROR(maps.ClearCounts(new_services), "clear counters");

  bool removed = false;
  auto remove = [&]() -> Status {
    if (std::exchange(removed, true)) return absl::OkStatus();
    std::vector<FrontendKey> gone(deleted.begin(), deleted.end());
    if (!gone.empty()) RETURN_IF_ERROR(maps.DeleteFrontends(gone), "delete frontends");
    result->frontends_deleted = deleted.size();
    if (removed_ranges.empty()) return absl::OkStatus();
    return Annotate(maps.DeleteRanges(removed_ranges), "delete source ranges");
  };
  // Into a full map what goes makes room. What does not fit even then keeps nothing else from being written; a client
  // whose range is missing is kept out.
  auto put = [&](const char* what, const std::function<Status()>& write) -> Status {
    Status status = write();
    if (absl::IsResourceExhausted(status)) {
      RETURN_IF_ERROR(remove());
      status = write();
    }
    status = Annotate(status, what);
    if (!absl::IsResourceExhausted(status)) return status;
    if (result->left_out.ok()) result->left_out = status;
    return absl::OkStatus();
  };
  if (!ranges.empty()) RETURN_IF_ERROR(put("write source ranges", [&] { return maps.PutRanges(ranges); }));

  // Ports before the addresses that refuse all others: a service must not refuse its own port while it comes.
  for (bool address_entries : {false, true}) {
    std::vector<FrontendKey> keys;
    std::vector<skiff_frontend> values;
    for (const auto& [key, value] : frontends) {
      if ((key.port == 0) != address_entries) continue;
      keys.push_back(key);
      values.push_back(value);
    }
    if (!keys.empty()) RETURN_IF_ERROR(put("write frontends", [&] { return maps.PutFrontends(keys, values); }));
    result->frontends_written += keys.size();
  }

  RETURN_IF_ERROR(remove());
  RETURN_IF_ERROR(put_backends(late_backends), "clear backends");
  result->backends_removed = static_cast<size_t>(
      std::count_if(late_backends.begin(), late_backends.end(), [](const auto& e) { return e.second.state == 0; }));
  result->udp_backend_removed = udp_backend_removed;
  result->try_again = std::move(try_again);
  return absl::OkStatus();
}

}  // namespace skiff::proxy
