// The client's side of SPDY/3.1, as much as the CRI's streaming servers (and upstream's) speak: streams opened by us,
// data both ways, no flow control (they have none), no streams opened by the server. Loop only; one reader.
//
// Headers are sent in stored (uncompressed) deflate blocks without SPDY's dictionary, which its zlib format allows; the
// headers of answers carry nothing that is needed and are not decompressed.
#ifndef SKIFF_KUBELET_SERVER_SPDY_H_
#define SKIFF_KUBELET_SERVER_SPDY_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async_lock.h"
#include "base/http.h"

namespace skiff::kubelet {

// One frame from the server. Bytes from outside (fuzzed).
struct SpdyFrame {
  enum Kind { kData, kSynReply, kReset, kPing, kGoAway, kOther } kind = kOther;
  uint32_t stream = 0;  // or the ping's id
  bool fin = false;
  uint32_t status = 0;  // kReset
  size_t head = 8;      // bytes before `length` bytes of payload
  size_t length = 0;
};
// nullopt: more bytes are needed (for kData the head is enough). kInvalidArgument: not SPDY/3, or too long.
StatusOr<std::optional<SpdyFrame>> ParseSpdyFrame(std::string_view data);

class SpdyClient {
 public:
  explicit SpdyClient(std::unique_ptr<http::Stream> stream) : stream_(std::move(stream)) {}

  // Opens a stream; its id.
  Task<StatusOr<uint32_t>> Open(std::vector<std::pair<std::string, std::string>> headers);
  Task<Status> Write(uint32_t stream, std::string_view data, bool fin);
  struct Event {
    uint32_t stream = 0;
    std::string data;
    bool opened = false;  // the server accepted the stream
    bool fin = false;     // nothing more comes on it
    bool reset = false;
  };
  // The next thing that happened; kOutOfRange when the connection ended.
  Task<StatusOr<Event>> Read();
  void Close() { stream_->Close(); }

 private:
  Task<Status> Send(std::string frame);

  std::unique_ptr<http::Stream> stream_;
  std::string in_;
  uint32_t next_ = 1;
  bool zlib_started_ = false;
  std::shared_ptr<AsyncLock> writing_ = std::make_shared<AsyncLock>();
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_SPDY_H_
