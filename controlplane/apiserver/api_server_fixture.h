// An API server of its own in a temporary directory, and requests to it as anybody, for tests.
#ifndef SKIFF_CONTROLPLANE_APISERVER_API_SERVER_FIXTURE_H_
#define SKIFF_CONTROLPLANE_APISERVER_API_SERVER_FIXTURE_H_

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "api/codec.h"
#include "base/http_client.h"
#include "base/http_server.h"
#include "base/log.h"
#include "client/kubeconfig.h"
#include "controlplane/apiserver/api_server.h"
#include "controlplane/apiserver/credentials.h"

namespace skiff::controlplane {

using api::json;

struct Answered {
  int status = 0;
  std::string body;
  json document;
};

class ApiServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    log::SetSink([](std::string_view) {});
    char name[] = "/tmp/skiff-apiserver-XXXXXX";
    directory_ = mkdtemp(name);
    StartServer();
  }
  void TearDown() override {
    StopServer();
    std::filesystem::remove_all(directory_);
    log::SetSink(nullptr);
  }
  void StartServer() {
    ApiServerOptions options;
    options.bind_address = "127.0.0.1";
    options.secure_port = 0;
    options.data_dir = directory_;
    options.enable_admission_plugins = plugins_;
    ASSERT_TRUE(options.Complete().ok());
    cert_dir_ = options.cert_dir;
    loop_ = std::make_unique<asio::io_context>();
    auto server = ApiServer::Make(*loop_, options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Status started = Run(server_->Start());
    ASSERT_TRUE(started.ok()) << started;
  }
  void StopServer() {
    clients_.clear();
    server_.reset();
    loop_.reset();
  }

  template <typename T>
  T Run(Task<T> task) {
    std::optional<T> result;
    loop_->restart();
    asio::co_spawn(*loop_, Keep(std::move(task), &result), asio::detached);
    while (!result && loop_->run_one() > 0) {
    }
    return *std::move(result);
  }
  template <typename T>
  static Task<void> Keep(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
  }

  // A client with a certificate for `user`, or none for "".
  http::Client& ClientOf(const std::string& user, const std::vector<std::string>& groups) {
    auto& client = clients_[user];
    if (!client) {
      TlsClientConfig::Options tls;
      tls.ca_pem = server_->ca_pem();
      if (!user.empty()) {
        auto text = MakeKubeconfig(cert_dir_, server_->local_url(), user, groups);
        EXPECT_TRUE(text.ok()) << text.status();
        auto config = client::ParseKubeconfig(*text, "test", cert_dir_);
        EXPECT_TRUE(config.ok()) << config.status();
        tls = config->tls;
      }
      auto made = TlsClientConfig::Make(tls);
      EXPECT_TRUE(made.ok()) << made.status();
      client =
          std::make_unique<http::Client>(loop_->get_executor(), absl::StrCat("127.0.0.1:", server_->port()), *made);
    }
    return *client;
  }
  Answered Call(const std::string& method, const std::string& target, const json& body = nullptr,
                const std::string& user = "admin", std::vector<std::string> groups = {"system:masters"},
                http::Headers headers = {}) {
    http::ClientRequest request{.method = method, .target = target, .headers = std::move(headers)};
    if (!body.is_null()) {
      request.body = body.is_string() ? body.get<std::string>() : body.dump();
      if (!request.headers.Has("Content-Type")) request.headers.Set("Content-Type", "application/json");
    }
    auto response = Run(ClientOf(user, groups).Do(std::move(request)));
    Answered out;
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok()) return out;
    out.status = response->status;
    out.body = response->body;
    out.document = json::parse(response->body, nullptr, false);
    return out;
  }
  Answered AsNode(const std::string& method, const std::string& target, const json& body = nullptr) {
    return Call(method, target, body, "system:node:n1", {"system:nodes"});
  }
  std::string Message(const Answered& answered) { return answered.document.value("message", answered.body); }
  void MakeServiceAccount(const std::string& ns = "default") {
    EXPECT_EQ(
        Call("POST", "/api/v1/namespaces/" + ns + "/serviceaccounts", {{"metadata", {{"name", "default"}}}}).status,
        201);
  }
  json Pod(const std::string& name) {
    return {{"metadata", {{"name", name}}}, {"spec", {{"containers", {{{"name", "c"}, {"image", "i"}}}}}}};
  }

  std::string directory_, cert_dir_;
  std::vector<std::string> plugins_;
  std::unique_ptr<asio::io_context> loop_;
  std::unique_ptr<ApiServer> server_;
  std::map<std::string, std::unique_ptr<http::Client>> clients_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_API_SERVER_FIXTURE_H_
