// Maps in memory, for tests: the same contract, a log of the writes in their order, and failures on request.
#ifndef SKIFF_PROXY_FAKE_BPF_MAPS_H_
#define SKIFF_PROXY_FAKE_BPF_MAPS_H_

#include <map>
#include <string>
#include <vector>

#include "proxy/bpf_maps.h"

namespace skiff::proxy {

class FakeBpfMaps final : public BpfMaps {
 public:
  Status PutFrontends(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values) override;
  Status DeleteFrontends(std::span<const FrontendKey> keys) override;
  Status PutSlots(uint32_t first, std::span<const skiff_slot> values) override;
  Status PutBackends(std::span<const uint32_t> ids, std::span<const skiff_backend> values) override;
  Status PutRanges(std::span<const SourceRange> ranges) override;
  Status DeleteRanges(std::span<const SourceRange> ranges) override;
  Status ClearCounts(std::span<const uint32_t> services) override;
  StatusOr<std::vector<SourceRange>> ReadRanges() override;
  StatusOr<std::vector<std::pair<FrontendKey, skiff_frontend>>> ReadFrontends() override;
  StatusOr<std::vector<skiff_slot>> ReadSlots() override;
  StatusOr<std::vector<std::pair<uint32_t, skiff_backend>>> ReadBackends() override;
  StatusOr<std::vector<std::pair<uint32_t, skiff_service_counts>>> ReadCounts() override;

  // "10.0.0.1:80/TCP -> 10.1.0.1:8080 10.1.0.2:8080", as a packet of a client inside (or outside) would see it;
  // "refused" or "dropped" where the set is empty. Invalid content (a slot of another service, a dead backend) reads
  // "BROKEN".
  std::string Show(const FrontendKey& key, bool outside = false) const;
  std::vector<std::string> ShowAll(bool outside = false) const;  // sorted; without address entries

  std::map<FrontendKey, skiff_frontend> frontends;
  std::map<uint32_t, skiff_slot> slots;
  std::map<uint32_t, skiff_backend> backends;
  std::vector<SourceRange> ranges;
  std::map<uint32_t, skiff_service_counts> counts;
  size_t writes = 0;    // elements written or deleted
  int fail_after = -1;  // that many more calls succeed; -1: all
  size_t most_frontends = SIZE_MAX, most_ranges = SIZE_MAX;
  void (*after_write)(FakeBpfMaps&) = nullptr;  // after every element: no reader may ever see half a service

 private:
  Status Step();
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_FAKE_BPF_MAPS_H_
