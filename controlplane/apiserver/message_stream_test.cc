#include "controlplane/apiserver/message_stream.h"

#include <algorithm>
#include <deque>
#include <utility>

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/websocket.h"

namespace skiff::controlplane {
namespace {

// Pieces, then the end; or, without an end, nothing more.
class Pieces final : public http::BodyReader {
 public:
  Pieces(std::deque<std::string> pieces, bool ends) : pieces_(std::move(pieces)), ends_(ends) {}
  int status() const override { return 200; }
  const http::Headers& headers() const override { return headers_; }
  Task<StatusOr<size_t>> Read(std::span<char> buffer) override {
    if (pieces_.empty()) {
      if (ends_) co_return 0;
      Wakeup never(co_await asio::this_coro::executor);
      co_return co_await never.Wait();
    }
    const std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    std::copy(piece.begin(), piece.end(), buffer.begin());
    co_return piece.size();
  }

 private:
  std::deque<std::string> pieces_;
  bool ends_;
  http::Headers headers_;
};

class MessageStreamTest : public testing::Test {
 protected:
  // What a client reads until the server ends.
  std::string Get(const std::string& protocol, bool ends = true, const std::string& sent = "") {
    http::Server server(loop_.get_executor(), [this, ends](http::Exchange& e) { return Serve(this, ends, e); });
    auto port = server.Listen("127.0.0.1:0", nullptr);
    EXPECT_TRUE(port.ok());
    std::string got = RunTask(loop_, Ask(absl::StrCat("127.0.0.1:", *port), protocol, sent));
    loop_.restart();
    while (!ended_ && loop_.run_one() > 0) {
    }
    EXPECT_TRUE(std::exchange(ended_, false));
    return got;
  }
  static Task<void> Serve(MessageStreamTest* self, bool ends, http::Exchange& exchange) {
    Pieces from({"one\n", "two\n"}, ends);
    self->status_ = co_await CopyAsMessages(exchange, from);
    self->ended_ = true;
  }
  Task<std::string> Ask(std::string authority, std::string protocol, std::string sent) {
    http::Client client(loop_.get_executor(), std::move(authority));
    http::ClientRequest request{.method = "GET", .target = "/"};
    request.headers.Set("Connection", "Upgrade");
    request.headers.Set("Upgrade", "websocket");
    request.headers.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    if (!protocol.empty()) request.headers.Set("Sec-WebSocket-Protocol", protocol);
    auto answer = co_await client.Upgrade(std::move(request));
    EXPECT_TRUE(answer.ok()) << answer.status();
    if (!answer.ok() || !answer->stream) co_return absl::StrCat("status ", answer.ok() ? answer->status : 0);
    EXPECT_EQ(answer->headers.Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    EXPECT_EQ(answer->headers.Get("Sec-WebSocket-Protocol"), protocol);
    std::string all;
    char buffer[1024];
    if (!sent.empty()) EXPECT_TRUE((co_await answer->stream->Write(sent)).ok());
    for (;;) {
      auto n = co_await answer->stream->Read(buffer);
      if (!n.ok() || *n == 0) break;
      all.append(buffer, *n);
    }
    co_return all;
  }

  asio::io_context loop_;
  Status status_;
  bool ended_ = false;
};

// As recorded of upstream (stream-ws-log-follow): an empty message, the bytes, a close with 1000.
TEST_F(MessageStreamTest, BytesAreBinaryMessages) {
  const std::string want("\x82\x00\x82\x04one\n\x82\x04two\n\x88\x02\x03\xe8", 18);
  EXPECT_EQ(Get("binary.k8s.io"), want);
  EXPECT_EQ(Get(""), want);
}

TEST_F(MessageStreamTest, OrBase64) {
  const std::string want(
      "\x81\x00\x81\x08"
      "b25lCg=="
      "\x81\x08"
      "dHdvCg=="
      "\x88\x02\x03\xe8",
      26);
  EXPECT_EQ(Get("base64.binary.k8s.io"), want);
}

TEST_F(MessageStreamTest, AnUnknownProtocolIsRefused) { EXPECT_EQ(Get("channel.k8s.io"), "status 403"); }

TEST_F(MessageStreamTest, AClientThatClosesEndsAFollowedLog) {
  const std::string close("\x88\x80\x00\x00\x00\x00", 6);  // masked, without a code
  const std::string got = Get("binary.k8s.io", /*ends=*/false, close);
  EXPECT_TRUE(got.ends_with(std::string("\x88\x02\x03\xe8", 4)));
}

}  // namespace
}  // namespace skiff::controlplane
