// The kernel's side of the reconciler, as an interface: the maps that hold services. Writes are batches; each
// element is replaced atomically. Blocking (microseconds to milliseconds), loop thread only. After an error the maps
// may hold a part of the batch.
#ifndef SKIFF_PROXY_BPF_MAPS_H_
#define SKIFF_PROXY_BPF_MAPS_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "proxy/address.h"

namespace skiff::proxy {

struct SourceRange {
  uint32_t service = 0;
  Prefix prefix;
  bool operator==(const SourceRange&) const = default;
};

class BpfMaps {
 public:
  virtual ~BpfMaps() = default;

  // kResourceExhausted when the map is full: what fits is written.
  virtual Status PutFrontends(std::span<const FrontendKey> keys, std::span<const skiff_frontend> values) = 0;
  virtual Status DeleteFrontends(std::span<const FrontendKey> keys) = 0;  // a missing key is no error
  virtual Status PutSlots(uint32_t first, std::span<const skiff_slot> values) = 0;
  virtual Status PutBackends(std::span<const uint32_t> ids, std::span<const skiff_backend> values) = 0;  // ids ascend

  // Likewise.
  virtual Status PutRanges(std::span<const SourceRange> ranges) = 0;
  virtual Status DeleteRanges(std::span<const SourceRange> ranges) = 0;  // a missing one is no error

  // What these service ports did is forgotten.
  virtual Status ClearCounts(std::span<const uint32_t> services) = 0;

  virtual StatusOr<std::vector<SourceRange>> ReadRanges() = 0;
  virtual StatusOr<std::vector<std::pair<FrontendKey, skiff_frontend>>> ReadFrontends() = 0;
  virtual StatusOr<std::vector<skiff_slot>> ReadSlots() = 0;                             // by index
  virtual StatusOr<std::vector<std::pair<uint32_t, skiff_backend>>> ReadBackends() = 0;  // those with a state
  // By the service port's id; those that did anything.
  virtual StatusOr<std::vector<std::pair<uint32_t, skiff_service_counts>>> ReadCounts() = 0;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_BPF_MAPS_H_
