#include "controlplane/storage/sqlite_file.h"

#include <sqlite3.h>

namespace skiff::controlplane {
namespace {

// The number in PRAGMA user_version; a file of a newer layout is refused.
constexpr int kLayout = 1;

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS log("
    " revision INTEGER PRIMARY KEY, key BLOB NOT NULL, create_revision INTEGER NOT NULL,"
    " previous_revision INTEGER NOT NULL, expires INTEGER NOT NULL, value BLOB);"
    "CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;";

constexpr char kColumns[] = "SELECT revision, key, create_revision, previous_revision, expires, value FROM log ";

std::string Blob(sqlite3_stmt* statement, int column) {
  const void* data = sqlite3_column_blob(statement, column);
  const int size = sqlite3_column_bytes(statement, column);
  return data ? std::string(static_cast<const char*>(data), size) : std::string();
}

LogRow RowOf(sqlite3_stmt* statement) {
  LogRow row;
  row.revision = sqlite3_column_int64(statement, 0);
  row.key = Blob(statement, 1);
  row.create_revision = sqlite3_column_int64(statement, 2);
  row.previous_revision = sqlite3_column_int64(statement, 3);
  row.expires_unix = sqlite3_column_int64(statement, 4);
  row.deleted = sqlite3_column_type(statement, 5) == SQLITE_NULL;
  row.data = Blob(statement, 5);
  return row;
}

}  // namespace

StatusOr<std::unique_ptr<SqliteFile>> SqliteFile::Open(const std::string& path, bool writer) {
  auto file = std::unique_ptr<SqliteFile>(new SqliteFile(path));
  const int flags = (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &file->db_, flags, nullptr) != SQLITE_OK) return file->Error("open");
  sqlite3_busy_timeout(file->db_, 10'000);
  // 512 KiB a connection: what is current lives in the store's own memory.
  RETURN_IF_ERROR(file->Execute("PRAGMA cache_size=-512"));
  if (writer) {
    RETURN_IF_ERROR(file->Execute("PRAGMA journal_mode=WAL"));
    RETURN_IF_ERROR(file->Execute("PRAGMA synchronous=FULL"));
    RETURN_IF_ERROR(file->Execute("PRAGMA journal_size_limit=4194304"));
    sqlite3_stmt* statement = nullptr;
    RETURN_IF_ERROR(file->Prepare("PRAGMA user_version", &statement));
    const int layout = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int(statement, 0) : -1;
    sqlite3_finalize(statement);
    if (layout < 0) return file->Error("read its layout");
    if (layout > kLayout)
      return FailedPrecondition("store ", path, ": written by a newer version (layout ", layout, ", this one knows ",
                                kLayout, ")");
    RETURN_IF_ERROR(file->Execute(kSchema));
    RETURN_IF_ERROR(file->Execute(absl::StrCat("PRAGMA user_version=", kLayout).c_str()));
    RETURN_IF_ERROR(
        file->Prepare("INSERT INTO log(revision, key, create_revision, previous_revision, expires, value) "
                      "VALUES(?,?,?,?,?,?)",
                      &file->insert_));
  }
  RETURN_IF_ERROR(file->Prepare(absl::StrCat(kColumns, "WHERE revision = ?").c_str(), &file->read_));
  return file;
}

SqliteFile::~SqliteFile() {
  sqlite3_finalize(insert_);
  sqlite3_finalize(read_);
  sqlite3_close(db_);
}

Status SqliteFile::Error(const char* what) {
  const int code = db_ ? sqlite3_errcode(db_) : SQLITE_NOMEM;
  const std::string text = absl::StrCat("store ", path_, ": ", what, ": ", db_ ? sqlite3_errmsg(db_) : "out of memory");
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) return absl::DataLossError(text);
  if (code == SQLITE_FULL) return absl::ResourceExhaustedError(text);
  return absl::UnavailableError(text);
}

Status SqliteFile::Execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return Error(sql);
  return absl::OkStatus();
}

Status SqliteFile::Prepare(const char* sql, sqlite3_stmt** statement) {
  if (sqlite3_prepare_v2(db_, sql, -1, statement, nullptr) != SQLITE_OK) return Error(sql);
  return absl::OkStatus();
}

Status SqliteFile::Append(const std::vector<const LogRow*>& rows) {
  RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  for (const LogRow* row : rows) {
    sqlite3_reset(insert_);
    sqlite3_bind_int64(insert_, 1, row->revision);
    sqlite3_bind_blob64(insert_, 2, row->key.data(), row->key.size(), SQLITE_STATIC);
    sqlite3_bind_int64(insert_, 3, row->create_revision);
    sqlite3_bind_int64(insert_, 4, row->previous_revision);
    sqlite3_bind_int64(insert_, 5, row->expires_unix);
    if (row->deleted)
      sqlite3_bind_null(insert_, 6);
    else if (row->data.empty())
      sqlite3_bind_zeroblob(insert_, 6, 0);
    else
      sqlite3_bind_blob64(insert_, 6, row->data.data(), row->data.size(), SQLITE_STATIC);
    if (sqlite3_step(insert_) != SQLITE_DONE) {
      Status status = Error("write");
      sqlite3_reset(insert_);
      sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
      return status;
    }
  }
  sqlite3_reset(insert_);
  sqlite3_clear_bindings(insert_);
  if (Status status = Execute("COMMIT"); !status.ok()) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    return status;
  }
  return absl::OkStatus();
}

Status SqliteFile::Scan(int64_t from, int64_t to, const std::function<bool(LogRow&&)>& visit) {
  sqlite3_stmt* statement = nullptr;
  RETURN_IF_ERROR(
      Prepare(absl::StrCat(kColumns, "WHERE revision > ? AND revision <= ? ORDER BY revision").c_str(), &statement));
  sqlite3_bind_int64(statement, 1, from);
  sqlite3_bind_int64(statement, 2, to);
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW)
    if (!visit(RowOf(statement))) break;
  Status status = result == SQLITE_ROW || result == SQLITE_DONE ? absl::OkStatus() : Error("read");
  sqlite3_finalize(statement);
  return status;
}

StatusOr<LogRow> SqliteFile::Read(int64_t revision) {
  sqlite3_bind_int64(read_, 1, revision);
  const int result = sqlite3_step(read_);
  StatusOr<LogRow> row = result == SQLITE_ROW    ? StatusOr<LogRow>(RowOf(read_))
                         : result == SQLITE_DONE ? NotFound("revision ", revision, " was compacted away")
                                                 : StatusOr<LogRow>(Error("read"));
  sqlite3_reset(read_);
  return row;
}

Status SqliteFile::Compact(int64_t revision, int64_t current) {
  const std::string sql = absl::StrCat(
      "BEGIN IMMEDIATE;"
      "DELETE FROM log WHERE revision IN (SELECT previous_revision FROM log WHERE revision <= ",
      revision, " AND previous_revision > 0); DELETE FROM log WHERE revision <= ", revision,
      " AND value IS NULL;"
      "INSERT OR REPLACE INTO facts VALUES('compacted', ",
      revision, "), ('revision', ", current, "); COMMIT");
  Status status = Execute(sql.c_str());
  if (!status.ok()) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  return Annotate(status, "compact");
}

Status SqliteFile::Revisions(int64_t* current, int64_t* compacted) {
  sqlite3_stmt* statement = nullptr;
  RETURN_IF_ERROR(
      Prepare("SELECT max((SELECT coalesce(max(revision), 1) FROM log), "
              "(SELECT coalesce(max(number), 1) FROM facts WHERE name = 'revision')), "
              "(SELECT coalesce(max(number), 0) FROM facts WHERE name = 'compacted')",
              &statement));
  Status status;
  if (sqlite3_step(statement) == SQLITE_ROW) {
    *current = sqlite3_column_int64(statement, 0);
    *compacted = sqlite3_column_int64(statement, 1);
  } else {
    status = Error("read its revision");
  }
  sqlite3_finalize(statement);
  return status;
}

}  // namespace skiff::controlplane
