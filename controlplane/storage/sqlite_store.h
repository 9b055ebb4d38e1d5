// The store in one SQLite file (WAL mode, synchronous=FULL), for one API server. One table row a write, appended in
// revision order; a writer thread puts all writes that wait into one transaction, and a write is acknowledged, shown to
// readers and given to watchers only after that transaction is on disk. What is current, and a window of recent
// changes, is also held in memory, encoded, once; older history is read back from the file.
#ifndef SKIFF_CONTROLPLANE_STORAGE_SQLITE_STORE_H_
#define SKIFF_CONTROLPLANE_STORAGE_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "controlplane/storage/store.h"

namespace skiff::controlplane {

struct SqliteStoreOptions {
  std::string path;                        // the database file; its directory must exist
  size_t history_bytes = 4 * 1024 * 1024;  // of changes kept in memory for watches that begin in the past
  size_t history_events = 20000;
};

class SqliteStore : public Store {
 public:
  // Opens or makes the file. Errors name it: in use by another server, not ours, from a newer version, corrupt.
  static StatusOr<std::unique_ptr<SqliteStore>> Open(asio::io_context& loop, SqliteStoreOptions options);

  // Deletes what has expired (events). Called by the server now and then.
  virtual Task<Status> RemoveExpired(int64_t now_unix) = 0;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_STORAGE_SQLITE_STORE_H_
