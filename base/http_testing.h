// For tests: a server on a free loopback port, and clients of all kinds against it.
#ifndef SKIFF_BASE_HTTP_TESTING_H_
#define SKIFF_BASE_HTTP_TESTING_H_

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http_client.h"
#include "base/http_server.h"

namespace skiff::http {

class HttpTest : public testing::Test {
 protected:
  ~HttpTest() override {
    server.reset();
    loop.restart();
    loop.poll();
  }

  asio::any_io_executor executor() { return loop.get_executor(); }
  std::string authority() const { return absl::StrCat("127.0.0.1:", port); }

  template <typename T>
  T Run(Task<T> task) {
    return RunTask(loop, std::move(task));
  }

  void Serve(Handler handler, ServerOptions options = {}, std::string_view address = "127.0.0.1:0",
             std::shared_ptr<TlsServerConfig> tls = nullptr) {
    server = std::make_unique<Server>(executor(), std::move(handler), options);
    const auto bound = server->Listen(address, std::move(tls));
    ASSERT_TRUE(bound.ok()) << bound.status();
    port = *bound;
  }

  // With a certificate for 127.0.0.1 and "server.test", and client certificates of the same CA.
  void ServeTls(Handler handler, ServerOptions options = {}) {
    if (ca.cert_pem.empty()) {
      CertificateRequest request;
      request.common_name = "ca";
      request.is_ca = true;
      ca = *SelfSigned(request);
      request = {};
      request.common_name = "server";
      request.dns_names = {"server.test"};
      request.ip_addresses = {"127.0.0.1"};
      request.server_auth = true;
      server_pair = *Sign(ca, request);
    }
    auto tls = TlsServerConfig::Make(server_pair, ca.cert_pem);
    ASSERT_TRUE(tls.ok()) << tls.status();
    Serve(std::move(handler), options, "127.0.0.1:0", *tls);
  }

  std::shared_ptr<TlsClientConfig> ClientTls(KeyPair pair = {}, std::string server_name = "") {
    TlsClientConfig::Options options;
    options.ca_pem = ca.cert_pem;
    options.pair = std::move(pair);
    options.server_name = std::move(server_name);
    auto tls = TlsClientConfig::Make(options);
    EXPECT_TRUE(tls.ok()) << tls.status();
    return *tls;
  }

  KeyPair ClientPair(const KeyPair& issuer, std::string name, std::vector<std::string> groups = {}) {
    CertificateRequest request;
    request.common_name = std::move(name);
    request.organizations = std::move(groups);
    request.client_auth = true;
    return *Sign(issuer, request);
  }

  // Sends bytes on a new connection and returns what comes back until the server closes.
  std::string Raw(std::string bytes, bool close_write = false);
  // The same in parts, with a pause before each but the first.
  std::string RawParts(std::vector<std::string> parts, std::chrono::nanoseconds pause, bool close_write = false);

  // Answers with method, path, query pairs and body.
  static Task<void> Echo(Exchange& exchange);
  // Runs the loop until the server has that many connections.
  void UntilConnections(size_t n);

  inline static std::string last_peer;
  asio::io_context loop{1};
  std::unique_ptr<Server> server;
  uint16_t port = 0;
  KeyPair ca, server_pair;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_TESTING_H_
