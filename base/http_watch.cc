#include "base/http_watch.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace skiff::http {
namespace {

constexpr size_t kPiece = 16 * 1024;

struct Core : std::enable_shared_from_this<Core> {
  Core(asio::any_io_executor executor, std::shared_ptr<Stream> client, WatchOptions options,
       std::function<void()> on_gone)
      : client(std::move(client)),
        options(options),
        on_gone(std::move(on_gone)),
        readable(executor),
        taken(executor),
        moved(executor) {}

  std::shared_ptr<Stream> client;
  const WatchOptions options;
  std::function<void()> on_gone;
  std::string held;
  bool ended = false, closed = false, active = false;
  Status error;
  Wakeup readable, taken, moved;

  void Close() {
    if (std::exchange(closed, true)) return;
    client->Close();
    readable.Notify();
    taken.Notify();
    moved.Notify();
  }
  void Gone() {
    if (closed) return;
    auto tell = std::exchange(on_gone, nullptr);
    Close();
    if (tell) tell();
  }
};

Task<void> ReadClient(std::shared_ptr<Core> core) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kPiece);
  while (!core->closed) {
    if (core->held.size() >= core->options.held) {
      if (!(co_await core->taken.Wait()).ok()) break;
      continue;
    }
    auto got = co_await core->client->Read({buffer.get(), kPiece});
    if (core->closed) break;
    core->active = true;
    if (got.ok() && *got > 0) {
      core->held.append(buffer.get(), *got);
      core->readable.Notify();
      continue;
    }
    core->error = got.status();
    core->ended = true;
    core->readable.Notify();
    // Who takes the rest makes progress; who does not will not, and has nobody to do it for.
    while (!core->held.empty() && !core->closed) {
      const size_t before = core->held.size();
      const Status waited = co_await core->taken.WaitFor(core->options.patience);
      if (absl::IsCancelled(waited)) co_return;
      if (!waited.ok() && core->held.size() == before) core->Gone();
    }
    co_return;
  }
}

Task<void> WatchReset(std::shared_ptr<Core> core) {
  const Status status = co_await WaitForReset(*core->client);
  if (status.ok()) core->Gone();
}

Task<void> WatchIdle(std::shared_ptr<Core> core) {
  while (!core->closed) {
    core->active = false;
    const Status waited = co_await core->moved.WaitFor(core->options.idle_timeout);
    if (core->closed || absl::IsCancelled(waited)) co_return;
    if (!core->active) core->Gone();
  }
}

class WatchedStream final : public Stream {
 public:
  explicit WatchedStream(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~WatchedStream() override {
    core_->on_gone = nullptr;
    if (!core_->ended) core_->Close();
    core_->closed = true;  // what still watches leaves the peer alone
    core_->taken.Notify();
    core_->moved.Notify();
  }
  Task<StatusOr<size_t>> Read(std::span<char> buffer) override { return Take(core_, buffer); }
  Task<Status> Write(std::string_view data) override { return Send(core_, data); }
  void CloseWrite() override { core_->client->CloseWrite(); }
  void Close() override { core_->Close(); }

 private:
  static Task<StatusOr<size_t>> Take(std::shared_ptr<Core> core, std::span<char> buffer) {
    while (core->held.empty()) {
      if (core->closed) co_return absl::CancelledError("read: stream closed");
      if (core->ended) {
        CO_RETURN_IF_ERROR(core->error);
        co_return size_t{0};
      }
      CO_RETURN_IF_ERROR(co_await core->readable.Wait());
    }
    const size_t n = std::min(buffer.size(), core->held.size());
    memcpy(buffer.data(), core->held.data(), n);
    core->held.erase(0, n);
    core->taken.Notify();
    co_return n;
  }
  static Task<Status> Send(std::shared_ptr<Core> core, std::string_view data) {
    core->active = true;
    co_return co_await core->client->Write(data);
  }
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<Stream> WatchStream(asio::any_io_executor executor, std::shared_ptr<Stream> client,
                                    WatchOptions options, std::function<void()> on_gone) {
  auto core = std::make_shared<Core>(executor, std::move(client), options, std::move(on_gone));
  Spawn(executor, "watched stream", ReadClient(core));
  Spawn(executor, "reset of a watched stream", WatchReset(core));
  if (options.idle_timeout.count() > 0) Spawn(executor, "idle stream", WatchIdle(core));
  return std::make_unique<WatchedStream>(std::move(core));
}

}  // namespace skiff::http
