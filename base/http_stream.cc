// Relay and the in-memory stream pair.
#include <algorithm>
#include <cstring>

#include "base/http.h"
#include "base/http_watch.h"

namespace skiff::http {
namespace {

// Large enough for bulk (kubectl cp), and only held while a relay runs.
constexpr size_t kRelayBuffer = 16 * 1024;

Task<void> CopyOneWay(Stream& from, Stream& to) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kRelayBuffer);
  while (true) {
    const StatusOr<size_t> got = co_await from.Read({buffer.get(), kRelayBuffer});
    if (got.ok() && *got == 0) break;
    Status status = got.status();
    if (got.ok()) status = co_await to.Write({buffer.get(), *got});
    if (!status.ok()) {
      from.Close();
      to.Close();
      co_return;
    }
  }
  to.CloseWrite();
}

// One direction of a pair: a bounded buffer with a wake-up for either end.
struct Pipe {
  explicit Pipe(const asio::any_io_executor& executor) : readable(executor), writable(executor) {}
  static constexpr size_t kCapacity = 64 * 1024;
  std::string data;
  bool ended = false;   // no more will be written
  bool broken = false;  // nobody reads
  Wakeup readable, writable;
};

class PairStream final : public Stream {
 public:
  PairStream(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out) : in_(std::move(in)), out_(std::move(out)) {}
  ~PairStream() override { Close(); }

  Task<StatusOr<size_t>> Read(std::span<char> buffer) override { return ReadFrom(in_, buffer); }
  Task<Status> Write(std::string_view data) override { return WriteTo(out_, data); }

  void CloseWrite() override {
    out_->ended = true;
    out_->readable.Notify();
  }

  void Close() override {
    CloseWrite();
    in_->broken = true;
    in_->readable.Notify();
    in_->writable.Notify();
    out_->writable.Notify();
  }

 private:
  static Task<StatusOr<size_t>> ReadFrom(std::shared_ptr<Pipe> pipe, std::span<char> buffer) {
    while (true) {
      if (pipe->broken) co_return absl::CancelledError("read: stream closed");
      if (!pipe->data.empty()) break;
      if (pipe->ended) co_return size_t{0};
      CO_RETURN_IF_ERROR(co_await pipe->readable.Wait());
    }
    const size_t n = std::min(buffer.size(), pipe->data.size());
    memcpy(buffer.data(), pipe->data.data(), n);
    pipe->data.erase(0, n);
    pipe->writable.Notify();
    co_return n;
  }

  static Task<Status> WriteTo(std::shared_ptr<Pipe> pipe, std::string_view data) {
    while (!data.empty()) {
      if (pipe->ended) co_return absl::CancelledError("write: stream closed");
      if (pipe->broken) co_return Unavailable("write: broken pipe");
      const size_t n = std::min(data.size(), Pipe::kCapacity - pipe->data.size());
      pipe->data.append(data.substr(0, n));
      data.remove_prefix(n);
      if (n > 0) pipe->readable.Notify();
      if (!data.empty()) CO_RETURN_IF_ERROR(co_await pipe->writable.Wait());
    }
    co_return absl::OkStatus();
  }

  std::shared_ptr<Pipe> in_, out_;
};

}  // namespace

Task<void> Relay(Stream& a, Stream& b) { return Relay(a, b, {}); }

Task<void> Relay(Stream& a, Stream& b, WatchOptions options) {
  const auto executor = co_await asio::this_coro::executor;
  const auto borrow = [](Stream& stream) { return std::shared_ptr<Stream>(std::shared_ptr<void>(), &stream); };
  const auto from_a = WatchStream(executor, borrow(a), options, [&b] { b.Close(); });
  options.idle_timeout = {};
  const auto from_b = WatchStream(executor, borrow(b), options, [&a] { a.Close(); });
  TaskGroup group(executor);
  group.Spawn("relay", CopyOneWay(*from_a, *from_b));
  group.Spawn("relay", CopyOneWay(*from_b, *from_a));
  co_await group.Join();
}

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> StreamPair(asio::any_io_executor executor) {
  auto up = std::make_shared<Pipe>(executor);
  auto down = std::make_shared<Pipe>(executor);
  return {std::make_unique<PairStream>(up, down), std::make_unique<PairStream>(down, up)};
}

}  // namespace skiff::http
