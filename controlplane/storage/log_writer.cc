#include "controlplane/storage/log_writer.h"

#include <pthread.h>
#include <signal.h>

#include <boost/asio/post.hpp>

namespace skiff::controlplane {

LogWriter::LogWriter(asio::io_context& loop, std::unique_ptr<SqliteFile> file,
                     std::function<void(const Status&, size_t)> committed)
    : loop_(loop),
      file_(std::move(file)),
      committed_(std::make_shared<std::function<void(const Status&, size_t)>>(std::move(committed))) {
  // Signals are the loop's matter.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

LogWriter::~LogWriter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void LogWriter::Submit(std::shared_ptr<const LogRow> row) {
  {
    std::lock_guard lock(mutex_);
    rows_.push_back(std::move(row));
  }
  wake_.notify_one();
}

void LogWriter::Submit(Job job, std::function<void(const Status&)> done) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(job), std::move(done)});
  }
  wake_.notify_one();
}

void LogWriter::Run() {
  pthread_setname_np(pthread_self(), "store-writer");
  std::vector<std::shared_ptr<const LogRow>> rows;
  std::vector<PendingJob> jobs;
  std::vector<const LogRow*> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !rows_.empty() || !jobs_.empty(); });
      if (rows_.empty() && jobs_.empty()) return;
      rows.swap(rows_);
      jobs.swap(jobs_);
    }
    if (!rows.empty()) {
      batch.clear();
      for (const auto& row : rows) batch.push_back(row.get());
      Status status = file_->Append(batch);
      asio::post(loop_, [committed = committed_, status, count = rows.size()] { (*committed)(status, count); });
      rows.clear();
    }
    for (PendingJob& job : jobs) {
      Status status = job.job(*file_);
      asio::post(loop_, [status, done = std::move(job.done)] { done(status); });
    }
    jobs.clear();
  }
}

}  // namespace skiff::controlplane
