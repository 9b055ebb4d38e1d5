// The file under SqliteStore: a log table of one row a write, read and written synchronously. One object is used by one
// thread; the writer and the reader each open their own.
#ifndef SKIFF_CONTROLPLANE_STORAGE_SQLITE_FILE_H_
#define SKIFF_CONTROLPLANE_STORAGE_SQLITE_FILE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace skiff::controlplane {

// A write as it stands in the log. A deletion is a row without value.
struct LogRow {
  int64_t revision = 0;
  std::string key;
  int64_t create_revision = 0;
  int64_t previous_revision = 0;  // 0: the key did not exist
  int64_t expires_unix = 0;
  bool deleted = false;
  std::string data;
};

class SqliteFile {
 public:
  // Opens; the writer also makes the schema and sets the journal mode.
  static StatusOr<std::unique_ptr<SqliteFile>> Open(const std::string& path, bool writer);
  ~SqliteFile();

  // All rows in one transaction, on disk when it returns OK; none otherwise.
  Status Append(const std::vector<const LogRow*>& rows);
  // Rows with from < revision <= to in order, until `visit` returns false.
  Status Scan(int64_t from, int64_t to, const std::function<bool(LogRow&&)>& visit);
  StatusOr<LogRow> Read(int64_t revision);  // kNotFound when compacted away
  // Forgets rows that were superseded at or before `revision`, and notes both numbers.
  Status Compact(int64_t revision, int64_t current);
  // The last revision ever written (1 in a new file) and the compacted one.
  Status Revisions(int64_t* current, int64_t* compacted);

 private:
  explicit SqliteFile(std::string path) : path_(std::move(path)) {}
  Status Execute(const char* sql);
  Status Prepare(const char* sql, sqlite3_stmt** statement);
  Status Error(const char* what);

  const std::string path_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* read_ = nullptr;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_STORAGE_SQLITE_FILE_H_
