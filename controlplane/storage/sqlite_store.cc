#include "controlplane/storage/sqlite_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/files.h"
#include "base/log.h"
#include "controlplane/storage/history.h"
#include "controlplane/storage/log_writer.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kEventsAtOnce = 500;

// A write on its way to disk. Whoever needs its outcome waits on the timer, which is cancelled at the end.
struct PendingWrite {
  PendingWrite(asio::io_context& loop, std::shared_ptr<const LogRow> row)
      : row(std::move(row)), timer(loop, asio::steady_timer::time_point::max()), work(loop.get_executor()) {}
  std::shared_ptr<const LogRow> row;
  asio::steady_timer timer;
  asio::executor_work_guard<asio::io_context::executor_type> work;  // the loop must not end before the answer came
  bool done = false;
  Status status;
  ValuePtr value;
};

Task<Status> WaitFor(std::shared_ptr<PendingWrite> write) {
  while (!write->done) {
    co_await write->timer.async_wait(kAwait);
    if (!write->done && co_await IsCancelled()) co_return absl::CancelledError("write abandoned");
  }
  co_return write->status;
}

ValuePtr ValueOf(LogRow&& row) {
  if (row.deleted) return nullptr;
  row.data.shrink_to_fit();
  return std::make_shared<const StoredValue>(
      StoredValue{std::move(row.data), row.create_revision, row.revision, row.expires_unix});
}

Status Gone(int64_t wanted, int64_t compacted) {
  return absl::OutOfRangeError(
      absl::StrCat("required revision has been compacted: ", wanted, " is not newer than ", compacted));
}

class WatchImpl;

struct StoreState {
  StoreState(asio::io_context& loop, const SqliteStoreOptions& options)
      : loop(loop), history(options.history_bytes, options.history_events) {}

  asio::io_context& loop;
  Fd lock;
  std::unique_ptr<SqliteFile> reader;
  std::map<std::string, ValuePtr, std::less<>> index;
  History history;
  int64_t revision = 1;  // committed
  int64_t next = 2;      // the next write's
  int64_t compacted = 0;
  std::deque<std::shared_ptr<PendingWrite>> in_flight;  // in order
  std::unordered_map<std::string, std::shared_ptr<PendingWrite>> by_key;
  std::set<WatchImpl*> watches;
  std::vector<std::function<void(const StoreEvent&)>> observers;
  bool closed = false;

  void Committed(const Status& status, size_t rows);
  StatusOr<std::vector<StoreEvent>> ReadEvents(const std::string& prefix, int64_t after, int64_t to, size_t limit,
                                               int64_t* reached);
};

class WatchImpl final : public StoreWatch {
 public:
  WatchImpl(std::shared_ptr<StoreState> state, std::string prefix, int64_t after)
      : state_(std::move(state)), prefix_(std::move(prefix)), position_(after), timer_(state_->loop) {
    state_->watches.insert(this);
  }
  ~WatchImpl() override { state_->watches.erase(this); }

  int64_t revision() const override { return position_; }

  Task<StatusOr<std::vector<StoreEvent>>> Next(std::chrono::nanoseconds timeout) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (true) {
      if (state_->closed) co_return absl::CancelledError("store closed");
      std::vector<StoreEvent> events;
      while (events.empty() && position_ < state_->revision) {
        if (position_ < state_->compacted && position_ < state_->history.floor())
          co_return Gone(position_, state_->compacted);
        if (position_ < state_->history.floor()) {
          int64_t reached = position_;
          auto read = state_->ReadEvents(prefix_, position_, state_->history.floor(), kEventsAtOnce, &reached);
          if (!read.ok()) co_return read.status();
          events = *std::move(read);
          position_ = reached;
        } else {
          auto it = state_->history.After(position_);
          for (; it != state_->history.end() && events.size() < kEventsAtOnce; ++it) {
            if (it->key.starts_with(prefix_)) events.push_back(*it);
            position_ = it->revision;
          }
          if (it == state_->history.end()) position_ = std::max(position_, state_->revision);
        }
      }
      if (!events.empty()) co_return events;
      const auto now = std::chrono::steady_clock::now();
      if (now >= deadline) co_return events;
      idle_ = true;
      timer_.expires_at(deadline);
      co_await timer_.async_wait(kAwait);
      idle_ = false;
      if (co_await IsCancelled()) co_return absl::CancelledError("watch cancelled");
    }
  }

  // Called at each commit. A watch that waits and is not concerned moves on at once, so that it never falls out of the
  // history for being quiet.
  void Advance(int64_t before, int64_t now, const std::vector<const StoreEvent*>& events) {
    if (!idle_) return;
    for (const StoreEvent* event : events) {
      if (event->key.starts_with(prefix_) && event->revision > position_) {
        timer_.cancel();
        return;
      }
    }
    if (position_ >= before) position_ = std::max(position_, now);
  }
  void Wake() { timer_.cancel(); }

 private:
  std::shared_ptr<StoreState> state_;
  const std::string prefix_;
  int64_t position_;
  bool idle_ = false;
  asio::steady_timer timer_;
};

void StoreState::Committed(const Status& status, size_t rows) {
  const int64_t before = revision;
  std::vector<std::shared_ptr<PendingWrite>> ended;
  std::vector<StoreEvent> added;
  for (size_t i = 0; i < rows; ++i) {
    std::shared_ptr<PendingWrite> write = std::move(in_flight.front());
    in_flight.pop_front();
    by_key.erase(write->row->key);
    write->done = true;
    write->status = status;
    if (status.ok()) {
      const LogRow& row = *write->row;
      StoreEvent event{row.revision, row.key, write->value, nullptr};
      auto it = index.find(row.key);
      if (it != index.end()) event.previous = it->second;
      if (!write->value) {
        if (it != index.end()) index.erase(it);
      } else if (it != index.end()) {
        it->second = write->value;
      } else {
        index.emplace(row.key, write->value);
      }
      revision = row.revision;
      for (const auto& observer : observers) observer(event);
      added.push_back(event);
      history.Add(std::move(event));
    }
    ended.push_back(std::move(write));
  }
  std::vector<const StoreEvent*> pointers;
  for (const StoreEvent& event : added) pointers.push_back(&event);
  if (!pointers.empty())
    for (WatchImpl* watch : watches) watch->Advance(before, revision, pointers);
  for (auto& write : ended) {
    write->work.reset();
    write->timer.cancel();
  }
}

StatusOr<std::vector<StoreEvent>> StoreState::ReadEvents(const std::string& prefix, int64_t after, int64_t to,
                                                         size_t limit, int64_t* reached) {
  std::vector<StoreEvent> events;
  std::vector<int64_t> previous;
  *reached = to;
  RETURN_IF_ERROR(reader->Scan(after, to, [&](LogRow&& row) {
    if (events.size() >= limit) {
      *reached = events.back().revision;
      return false;
    }
    if (!row.key.starts_with(prefix)) return true;
    previous.push_back(row.previous_revision);
    StoreEvent event{row.revision, row.key, nullptr, nullptr};
    event.value = ValueOf(std::move(row));
    events.push_back(std::move(event));
    return true;
  }));
  for (size_t i = 0; i < events.size(); ++i) {
    if (previous[i] == 0) continue;
    ASSIGN_OR_RETURN(LogRow row, reader->Read(previous[i]));
    events[i].previous = ValueOf(std::move(row));
  }
  return events;
}

class SqliteStoreImpl final : public SqliteStore {
 public:
  SqliteStoreImpl(std::shared_ptr<StoreState> state, std::unique_ptr<LogWriter> writer)
      : state_(std::move(state)), writer_(std::move(writer)) {}

  ~SqliteStoreImpl() override {
    writer_.reset();  // what was submitted still reaches the disk
    state_->closed = true;
    for (WatchImpl* watch : state_->watches) watch->Wake();
    for (auto& write : state_->in_flight) {
      write->done = true;
      write->status = absl::CancelledError("store closed");
      write->work.reset();
      write->timer.cancel();
    }
    state_->reader.reset();
    state_->lock = Fd();
  }

  Task<StatusOr<StoredEntry>> Get(std::string key, int64_t revision) override {
    if (revision > 0 && revision != state_->revision) {
      ListRequest request{.prefix = key, .start = key, .limit = 1, .revision = revision};
      auto list = co_await List(std::move(request));
      if (!list.ok()) co_return list.status();
      if (list->entries.empty() || list->entries[0].key != key) co_return NotFound("key not found: ", key);
      co_return std::move(list->entries[0]);
    }
    auto it = state_->index.find(key);
    if (it == state_->index.end()) co_return NotFound("key not found: ", key);
    co_return StoredEntry{it->first, it->second};
  }

  Task<StatusOr<ListResponse>> List(ListRequest request) override {
    ListResponse response;
    response.revision = request.revision > 0 ? request.revision : state_->revision;
    if (response.revision > state_->revision)
      co_return FailedPrecondition("revision ", response.revision, " is in the future, now is ", state_->revision);
    // Keys that changed since the wanted revision, with their value then.
    std::map<std::string_view, ValuePtr> then;
    std::vector<StoreEvent> old_events;
    if (response.revision < state_->revision) {
      if (response.revision < state_->compacted) co_return Gone(response.revision, state_->compacted);
      if (response.revision < state_->history.floor()) {
        int64_t reached = 0;
        auto read = state_->ReadEvents(request.prefix, response.revision, state_->history.floor(), SIZE_MAX, &reached);
        if (!read.ok()) co_return read.status();
        old_events = *std::move(read);
        for (const StoreEvent& event : old_events) then.emplace(event.key, event.previous);
      }
      for (auto it = state_->history.After(response.revision); it != state_->history.end(); ++it)
        if (it->key.starts_with(request.prefix)) then.emplace(it->key, it->previous);
    }
    const std::string& start = std::max(request.prefix, request.start);
    auto now_it = state_->index.lower_bound(start);
    auto then_it = then.lower_bound(start);
    while (true) {
      const bool now_more = now_it != state_->index.end() && now_it->first.starts_with(request.prefix);
      const bool then_more = then_it != then.end();
      if (!now_more && !then_more) break;
      const std::string* key = nullptr;
      std::string key_then;
      ValuePtr value;
      if (then_more && (!now_more || then_it->first <= now_it->first)) {
        if (now_more && then_it->first == now_it->first) ++now_it;
        key_then = std::string(then_it->first);
        key = &key_then;
        value = then_it->second;
        ++then_it;
      } else {
        key = &now_it->first;
        value = now_it->second;
        ++now_it;
      }
      if (!value) continue;
      if (request.limit > 0 && response.entries.size() >= request.limit) {
        response.more = true;
        ++response.remaining;
        continue;
      }
      response.entries.push_back({*key, std::move(value)});
    }
    co_return response;
  }

  Task<StatusOr<ValuePtr>> Create(std::string key, std::string data, std::chrono::seconds ttl) override {
    co_return co_await Write(std::move(key), std::move(data), false, -1, ttl);
  }
  Task<StatusOr<ValuePtr>> Update(std::string key, std::string data, int64_t expected,
                                  std::chrono::seconds ttl) override {
    co_return co_await Write(std::move(key), std::move(data), false, expected, ttl);
  }
  Task<StatusOr<int64_t>> Delete(std::string key, int64_t expected) override {
    int64_t revision = 0;
    auto result = co_await Write(std::move(key), "", true, expected, std::chrono::seconds(0), &revision);
    if (!result.ok()) co_return result.status();
    co_return revision;
  }

  StatusOr<std::unique_ptr<StoreWatch>> Watch(std::string prefix, int64_t after) override {
    if (after == 0) after = state_->revision;
    if (after < state_->compacted && after < state_->history.floor()) return Gone(after, state_->compacted);
    return std::unique_ptr<StoreWatch>(std::make_unique<WatchImpl>(state_, std::move(prefix), after));
  }

  int64_t revision() const override { return state_->revision; }
  int64_t compacted_revision() const override { return state_->compacted; }

  Task<Status> Compact(int64_t revision) override {
    revision = std::min(revision, state_->revision);
    if (revision <= state_->compacted) co_return absl::OkStatus();
    state_->compacted = revision;
    state_->history.DropThrough(revision);
    auto pending = std::make_shared<PendingWrite>(state_->loop, nullptr);
    LogWriter::Job job = [revision, now = state_->revision](SqliteFile& file) { return file.Compact(revision, now); };
    std::function<void(const Status&)> done = [pending](const Status& status) {
      pending->done = true;
      pending->status = status;
      pending->work.reset();
      pending->timer.cancel();
    };
    writer_->Submit(std::move(job), std::move(done));
    co_return co_await WaitFor(pending);
  }

  Task<Status> RemoveExpired(int64_t now_unix) override {
    std::vector<StoredEntry> expired;
    for (const auto& [key, value] : state_->index)
      if (value->expires_unix > 0 && value->expires_unix <= now_unix) expired.push_back({key, value});
    for (const StoredEntry& entry : expired) {
      auto result = co_await Delete(entry.key, entry.value->mod_revision);
      if (!result.ok() && !absl::IsNotFound(result.status()) && !absl::IsAborted(result.status()))
        co_return result.status();
    }
    co_return absl::OkStatus();
  }

  void Observe(std::function<void(const StoreEvent&)> observer) override {
    state_->observers.push_back(std::move(observer));
  }

  ValuePtr Peek(std::string_view key) const override {
    auto it = state_->index.find(key);
    return it == state_->index.end() ? nullptr : it->second;
  }
  void PeekPrefix(std::string_view prefix,
                  const std::function<bool(const std::string&, const ValuePtr&)>& visit) const override {
    for (auto it = state_->index.lower_bound(prefix); it != state_->index.end() && it->first.starts_with(prefix); ++it)
      if (!visit(it->first, it->second)) return;
  }

 private:
  // `expected`: -1 the key must not exist, 0 anything that exists, else that mod revision. A deletion's revision goes
  // to
  // `*revision`.
  Task<StatusOr<ValuePtr>> Write(std::string key, std::string data, bool deleted, int64_t expected,
                                 std::chrono::seconds ttl, int64_t* revision = nullptr) {
    // One write a key at a time: the next one must see, and be compared with, the outcome of the one before it.
    for (auto it = state_->by_key.find(key); it != state_->by_key.end(); it = state_->by_key.find(key)) {
      Status status = co_await WaitFor(it->second);
      if (absl::IsCancelled(status)) co_return status;
    }
    if (state_->closed) co_return absl::CancelledError("store closed");
    auto it = state_->index.find(key);
    if (expected < 0 && it != state_->index.end())
      co_return absl::AlreadyExistsError(absl::StrCat("key exists: ", key));
    if (expected >= 0 && it == state_->index.end()) co_return NotFound("key not found: ", key);
    if (expected > 0 && it->second->mod_revision != expected)
      co_return absl::AbortedError(
          absl::StrCat("key ", key, " is at revision ", it->second->mod_revision, ", not ", expected));

    LogRow row;
    row.revision = state_->next++;
    row.create_revision = it == state_->index.end() ? row.revision : it->second->create_revision;
    row.previous_revision = it == state_->index.end() ? 0 : it->second->mod_revision;
    if (ttl.count() > 0)
      row.expires_unix =
          std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch() + ttl)
              .count();
    row.deleted = deleted;
    data.shrink_to_fit();
    row.data = data;
    row.key = std::move(key);
    ValuePtr value;
    if (!deleted)
      value = std::make_shared<const StoredValue>(
          StoredValue{std::move(data), row.create_revision, row.revision, row.expires_unix});
    if (revision) *revision = row.revision;
    auto pending = std::make_shared<PendingWrite>(state_->loop, std::make_shared<const LogRow>(std::move(row)));
    pending->value = std::move(value);
    state_->in_flight.push_back(pending);
    state_->by_key[pending->row->key] = pending;
    writer_->Submit(pending->row);
    Status status = co_await WaitFor(pending);
    if (!status.ok()) co_return status;
    co_return pending->value;
  }

  std::shared_ptr<StoreState> state_;
  std::unique_ptr<LogWriter> writer_;
};

}  // namespace

StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(asio::io_context& loop, SqliteStoreOptions options) {
  auto state = std::make_shared<StoreState>(loop, options);
  const std::string lock_path = options.path + ".lock";
  state->lock = Fd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!state->lock.valid()) return ErrnoStatus(errno, absl::StrCat("open ", lock_path));
  if (flock(state->lock.get(), LOCK_EX | LOCK_NB) != 0)
    return FailedPrecondition("store ", options.path, ": in use by another process");
  const mode_t old_mask = umask(0077);  // it holds secrets
  auto writer_file = SqliteFile::Open(options.path, true);
  umask(old_mask);
  if (!writer_file.ok()) return writer_file.status();
  ASSIGN_OR_RETURN(state->reader, SqliteFile::Open(options.path, false));
  RETURN_IF_ERROR((*writer_file)->Revisions(&state->revision, &state->compacted));
  RETURN_IF_ERROR(state->reader->Scan(0, INT64_MAX, [&](LogRow&& row) {
    std::string key = row.key;
    ValuePtr value = ValueOf(std::move(row));
    if (value)
      state->index.insert_or_assign(std::move(key), std::move(value));
    else
      state->index.erase(key);
    return true;
  }));
  state->next = state->revision + 1;
  state->history.SetFloor(state->revision);
  auto committed = [weak = std::weak_ptr<StoreState>(state)](const Status& status, size_t rows) {
    auto live = weak.lock();
    if (!live || live->closed) return;
    if (!status.ok()) LOG_ERROR(status, "Failed to write to the store", {"rows", rows});
    live->Committed(status, rows);
  };
  auto writer = std::make_unique<LogWriter>(loop, *std::move(writer_file), committed);
  return std::unique_ptr<SqliteStore>(std::make_unique<SqliteStoreImpl>(std::move(state), std::move(writer)));
}

}  // namespace skiff::controlplane
