#include "base/foreign_work.h"

#include <algorithm>
#include <utility>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

#include "base/blocking_pool.h"

namespace skiff {

static_assert(ForeignWork::Options{}.most * 4 <= BlockingPool::Options{}.most);

ForeignWork& ForeignWork::Of(const asio::any_io_executor& executor) {
  return asio::use_service<ForeignWork>(asio::query(executor, asio::execution::context));
}

void ForeignWork::shutdown() {
  pieces_.clear();
  queue_.clear();
}

Task<Status> ForeignWork::Run(std::string key, std::function<Status()> work, std::shared_ptr<void> keep) {
  if (co_await IsCancelled()) co_return absl::CancelledError("context canceled");
  const auto executor = co_await asio::this_coro::executor;
  std::shared_ptr<Piece>& slot = pieces_[key];
  std::shared_ptr<Piece> piece = slot;
  const auto turn = std::make_shared<Wakeup>(executor);
  if (piece == nullptr) {
    piece = slot = std::make_shared<Piece>();
    piece->waiting.push_back(turn);
    Spawn(executor, key, Do(piece, key, std::move(work), std::move(keep)));
  } else {
    piece->waiting.push_back(turn);
  }
  Status waited;
  while (!piece->finished && waited.ok()) waited = co_await turn->Wait();
  std::erase(piece->waiting, turn);
  if (!piece->finished) co_return waited;
  co_return piece->result;
}

Task<void> ForeignWork::Do(std::shared_ptr<Piece> piece, std::string key, std::function<Status()> work,
                           std::shared_ptr<void> keep) {
  piece->result = co_await TakePlace();
  if (piece->result.ok()) {
    piece->result = co_await RunBlocking(std::move(work));
    GivePlace();
  }
  work = nullptr;
  keep.reset();
  piece->finished = true;
  pieces_.erase(key);
  for (const auto& waiter : piece->waiting) waiter->Notify();
}

Task<Status> ForeignWork::TakePlace() {
  if (held_ < options_.most) {
    ++held_;
    co_return absl::OkStatus();
  }
  const auto turn = std::make_shared<Wakeup>(co_await asio::this_coro::executor);
  queue_.push_back(turn);
  const Status waited = co_await turn->WaitFor(options_.patience);
  const auto at = std::find(queue_.begin(), queue_.end(), turn);
  if (at == queue_.end()) co_return absl::OkStatus();  // the place was handed over
  queue_.erase(at);
  if (absl::IsDeadlineExceeded(waited)) {
    co_return absl::ResourceExhaustedError(
        absl::StrCat(options_.most, " other paths of the host do not answer, which is as many as may be waited for"));
  }
  co_return waited;
}

void ForeignWork::GivePlace() {
  if (queue_.empty()) {
    --held_;
    return;
  }
  const auto next = std::move(queue_.front());
  queue_.pop_front();
  next->Notify();
}

}  // namespace skiff
