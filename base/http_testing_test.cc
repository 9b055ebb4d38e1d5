// The out-of-line half of http_testing.h; named so that it is built into the test binary alone.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/http_testing.h"
#include "base/http_transport.h"

namespace skiff::http {
namespace {

Task<std::string> Talk(asio::any_io_executor executor, uint16_t port, std::vector<std::string> parts,
                       std::chrono::nanoseconds pause, bool close_write) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto transport = *Transport::Adopt(executor, fd);
  bool first = true;
  for (const std::string& part : parts) {
    if (!first) (void)co_await SleepFor(pause);
    first = false;
    if (!(co_await transport->WriteOne(part)).ok()) break;
  }
  if (close_write) transport->CloseWrite();
  std::string got;
  while (true) {
    const auto more = co_await transport->ReadInto(&got, 4096);
    if (!more.ok() || !*more) break;
  }
  co_return got;
}

}  // namespace

std::string HttpTest::RawParts(std::vector<std::string> parts, std::chrono::nanoseconds pause, bool close_write) {
  return Run(Talk(executor(), port, std::move(parts), pause, close_write));
}

std::string HttpTest::Raw(std::string bytes, bool close_write) {
  return RawParts({std::move(bytes)}, std::chrono::nanoseconds(0), close_write);
}

Task<void> HttpTest::Echo(Exchange& exchange) {
  const Request& request = exchange.request();
  last_peer = request.peer.address;
  auto body = co_await exchange.ReadBody();
  if (!body.ok()) {
    const int status = absl::IsResourceExhausted(body.status()) ? 413 : 400;
    (void)co_await exchange.Respond(status, {}, std::string(body.status().message()));
    co_return;
  }
  std::string query;
  for (const auto& [key, value] : request.query.pairs()) absl::StrAppend(&query, key, "=", value);
  (void)co_await exchange.Respond(200, {}, absl::StrCat(request.method, " ", request.path, " ", query, " ", *body));
}

void HttpTest::UntilConnections(size_t n) {
  loop.restart();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (server->connections() != n && std::chrono::steady_clock::now() < end)
    loop.run_one_for(std::chrono::seconds(1));
  EXPECT_EQ(server->connections(), n);
}

}  // namespace skiff::http
