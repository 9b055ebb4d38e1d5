// The pinned maps of the data path. Chunks of `slots` and `backends` are made when they are first written to.
#ifndef SKIFF_PROXY_KERNEL_BPF_MAPS_H_
#define SKIFF_PROXY_KERNEL_BPF_MAPS_H_

#include <string>
#include <vector>

#include "base/files.h"
#include "proxy/bpf_maps.h"

namespace skiff::proxy {

// Names of enum skiff_counter, as the metrics and `show` give them.
extern const char* const kCounterNames[SKIFF_COUNTERS];

class KernelBpfMaps final : public BpfMaps {
 public:
  // `dir` is where the data path has pinned its maps. kNotFound if it has not.
  static StatusOr<std::unique_ptr<KernelBpfMaps>> Open(const std::string& dir);

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

  Status PutSettings(const skiff_settings& settings);
  StatusOr<skiff_settings> ReadSettings();
  // Summed over CPUs, by enum skiff_counter.
  StatusOr<std::vector<uint64_t>> ReadCounters();
  size_t chunks() const;  // of both arrays, that exist

 private:
  Status PutWhatFits(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values);
  // An array whose chunks are maps of their own.
  struct Chunked {
    const char* name;
    uint32_t value_size;
    uint32_t max_chunks;
    Fd outer;
    std::vector<Fd> chunks;  // invalid: not made yet
    Status Open(const std::string& dir);
    Status Grow(uint32_t chunk);       // makes all up to this one, and one to spare
    StatusOr<int> At(uint32_t chunk);  // the chunk's descriptor, made if need be
  };

  KernelBpfMaps() = default;
  template <typename T>
  Status PutRun(Chunked& map, uint32_t first, const T* values, size_t count);
  template <typename T, typename F>
  Status ReadChunks(Chunked& map, F visit);

  Fd frontends_, settings_, counters_, ranges_;
  Chunked slots_{"slots", sizeof(skiff_slot), SKIFF_MAX_SLOT_CHUNKS, {}, {}};
  Chunked backends_{"backends", sizeof(skiff_backend), SKIFF_MAX_BACKEND_CHUNKS, {}, {}};
  Chunked counts_{"service_counts", sizeof(skiff_service_counts), SKIFF_MAX_COUNT_CHUNKS, {}, {}};
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_KERNEL_BPF_MAPS_H_
