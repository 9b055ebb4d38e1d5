// The writer thread: takes log rows, puts all that wait into one transaction, and reports back on the loop once it is
// on disk (or has failed). Submit on the loop; `done` runs on the loop, in the order of submission.
#ifndef SKIFF_CONTROLPLANE_STORAGE_LOG_WRITER_H_
#define SKIFF_CONTROLPLANE_STORAGE_LOG_WRITER_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/async.h"
#include "controlplane/storage/sqlite_file.h"

namespace skiff::controlplane {

class LogWriter {
 public:
  using Job = std::function<Status(SqliteFile&)>;
  // `committed` gets each batch's outcome and its number of rows; rows are committed first in, first out.
  LogWriter(asio::io_context& loop, std::unique_ptr<SqliteFile> file,
            std::function<void(const Status&, size_t rows)> committed);
  // Finishes what was submitted.
  ~LogWriter();

  void Submit(std::shared_ptr<const LogRow> row);
  // Runs between batches; `done` on the loop.
  void Submit(Job job, std::function<void(const Status&)> done);

 private:
  struct PendingJob {
    Job job;
    std::function<void(const Status&)> done;
  };
  void Run();

  asio::io_context& loop_;
  std::unique_ptr<SqliteFile> file_;                                             // the thread's
  const std::shared_ptr<std::function<void(const Status&, size_t)>> committed_;  // outlives this in posted calls
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<const LogRow>> rows_;
  std::vector<PendingJob> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_STORAGE_LOG_WRITER_H_
