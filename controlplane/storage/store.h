// The API server's store: a flat, ordered space of keys and bytes with etcd's semantics. Every write gets the next
// revision; reads may ask for an older one; a watch gives every change after a revision, in order, without gap or
// repeat; compaction forgets old revisions, and who asks for them is told so. Keys are upstream's etcd layout
// ("/registry/pods/NAMESPACE/NAME"), values are opaque here. Loop thread only.
//
// Errors, the same for every implementation:
//   kNotFound            the key does not exist
//   kAlreadyExists       Create of a key that exists
//   kAborted             the key is not at the expected revision: read again
//   kOutOfRange          the revision was compacted away ("gone"): list again
//   kFailedPrecondition  the revision lies in the future
//   kUnavailable         the storage failed; nothing was written
#ifndef SKIFF_CONTROLPLANE_STORAGE_STORE_H_
#define SKIFF_CONTROLPLANE_STORAGE_STORE_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.h"

namespace skiff::controlplane {

// One version of one key. Immutable and shared: the cache, the history and answers in flight hold the same bytes.
struct StoredValue {
  std::string data;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t expires_unix = 0;  // seconds; 0: never
};
using ValuePtr = std::shared_ptr<const StoredValue>;

struct StoreEvent {
  int64_t revision = 0;
  std::string key;
  ValuePtr value;     // null: deleted
  ValuePtr previous;  // null: created
};

struct StoredEntry {
  std::string key;
  ValuePtr value;
};

struct ListRequest {
  std::string prefix;    // every key that begins with it
  std::string start;     // the first key wanted (inclusive), "" for the first of the prefix
  size_t limit = 0;      // 0: all
  int64_t revision = 0;  // 0: now
};

struct ListResponse {
  int64_t revision = 0;  // of the snapshot
  std::vector<StoredEntry> entries;
  bool more = false;
  int64_t remaining = 0;  // keys left out by the limit
};

class StoreWatch {
 public:
  virtual ~StoreWatch() = default;
  // The next changes in order, at least one unless `timeout` passed (then none, and everything up to revision() was
  // seen). kOutOfRange when the watch fell behind a compaction, kCancelled when cancelled.
  virtual Task<StatusOr<std::vector<StoreEvent>>> Next(std::chrono::nanoseconds timeout) = 0;
  // Every change of the prefix up to here was handed out.
  virtual int64_t revision() const = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  virtual Task<StatusOr<StoredEntry>> Get(std::string key, int64_t revision = 0) = 0;
  virtual Task<StatusOr<ListResponse>> List(ListRequest request) = 0;
  virtual Task<StatusOr<ValuePtr>> Create(std::string key, std::string data, std::chrono::seconds ttl = {}) = 0;
  // `expected` is the key's mod revision that the new data was made from.
  virtual Task<StatusOr<ValuePtr>> Update(std::string key, std::string data, int64_t expected,
                                          std::chrono::seconds ttl = {}) = 0;
  // `expected` 0: whatever is there. Returns the revision of the deletion.
  virtual Task<StatusOr<int64_t>> Delete(std::string key, int64_t expected) = 0;

  // Changes with a revision greater than `after`; 0: from now on.
  virtual StatusOr<std::unique_ptr<StoreWatch>> Watch(std::string prefix, int64_t after) = 0;

  virtual int64_t revision() const = 0;            // of the last acknowledged write
  virtual int64_t compacted_revision() const = 0;  // what is older cannot be read any more
  virtual Task<Status> Compact(int64_t revision) = 0;

  // `observer` sees every change in order, before any watch or writer hears of it, for as long as the store lives. It
  // must be quick and must not write.
  virtual void Observe(std::function<void(const StoreEvent&)> observer) = 0;

  // A cheap synchronous view for what must decide at once (authorization, admission): the value now, or null. May
  // trail other servers' writes.
  virtual ValuePtr Peek(std::string_view key) const = 0;
  // Calls `visit` for each key of the prefix in order until it returns false.
  virtual void PeekPrefix(std::string_view prefix,
                          const std::function<bool(const std::string& key, const ValuePtr& value)>& visit) const = 0;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_STORAGE_STORE_H_
