// A connection that is read even while nobody takes what it sends, so that its end is seen. A process that never
// reads its standard input blocks whoever copies to it, and a copier that blocks does not notice that its client died.
//
// Up to `held` bytes are read ahead. A peer that has ended, and whose bytes stay untaken for `patience`, is gone:
// `on_gone` is called once and the connection closed. So it is at once when the connection is reset (which keep-alive
// probes bring about where the peer's kernel has more to send than is read), and when nothing moved either way for
// `idle_timeout`. Loop only.
#ifndef SKIFF_BASE_HTTP_WATCH_H_
#define SKIFF_BASE_HTTP_WATCH_H_

#include <functional>
#include <memory>

#include "base/http.h"

namespace skiff::http {

struct WatchOptions {
  std::chrono::nanoseconds patience = std::chrono::seconds(10);
  std::chrono::nanoseconds idle_timeout{0};  // 0: none
  size_t held = 64 * 1024;
};

// The peer is closed when the answer is destroyed, unless it has ended by itself. `on_gone` may be called until then.
std::unique_ptr<Stream> WatchStream(asio::any_io_executor executor, std::shared_ptr<Stream> peer, WatchOptions options,
                                    std::function<void()> on_gone);

// As http::Relay; `a` is the side whose idleness ends both.
Task<void> Relay(Stream& a, Stream& b, WatchOptions options);

// Until the connection is reset or timed out by the kernel, which needs no reading; only sees real sockets. Ends with
// kCancelled when cancelled or closed.
Task<Status> WaitForReset(Stream& stream);

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_WATCH_H_
