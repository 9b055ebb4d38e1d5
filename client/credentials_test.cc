#include "client/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/async_testing.h"
#include "base/files.h"

namespace skiff::client {
namespace {

using testing::HasSubstr;

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() {
    std::string name = testing::TempDir() + "/skiff-credentials-XXXXXX";
    dir_ = ::mkdtemp(name.data());
  }
  ~CredentialsTest() override { RemoveAll(dir_).IgnoreError(); }

  // A plugin that counts its runs and says `status` ($n: which run this is).
  void Plugin(const std::string& status, const std::string& version = "client.authentication.k8s.io/v1") {
    const std::string path = dir_ + "/plugin";
    ASSERT_TRUE(WriteFileAtomic(path,
                                absl::StrCat("#!/bin/sh\necho x >>", dir_, "/runs\nn=$(wc -l <", dir_,
                                             "/runs)\necho \"$KUBERNETES_EXEC_INFO $A\" >", dir_,
                                             "/told\necho \"note $*\" >&2\n", R"(cat <<END
{"kind": "ExecCredential", "apiVersion": ")",
                                             version, R"(", "status": )", status, "}\nEND\n"),
                                0700)
                    .ok());
  }
  Config Exec(const std::string& more = "") {
    auto config = ParseKubeconfig(absl::StrCat(R"(
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters:
- name: k
  cluster:
    server: http://10.0.0.1:6443
    extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: a}}]
users:
- name: u
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [one, two], interactiveMode: Never,
           installHint: get it, env: [{name: A, value: b}])",
                                               more, "}\n"),
                                  "f", dir_);
    EXPECT_TRUE(config.ok()) << config.status();
    return *config;
  }
  std::string Runs() const { return *ReadFile(dir_ + "/runs"); }

  asio::io_context loop_;
  FakeClock clock_;
  std::string dir_;
};

TEST_F(CredentialsTest, AProgramsTokenHoldsUntilItExpiresOrIsRefused) {
  Plugin(R"({"token": "t$n", "expirationTimestamp": "2026-01-01T01:00:00Z"})");
  auto one = Credentials::Make(Exec(", provideClusterInfo: true"), clock_),
       two = Credentials::Make(Exec(", provideClusterInfo: true"), clock_);
  ASSERT_TRUE(one.ok() && two.ok()) << one.status();
  auto token = [&](Credentials& credentials) {
    http::Headers headers;
    const Status status = RunTask(loop_, credentials.Authorize(&headers));
    return status.ok() ? std::string(headers.Get("Authorization")) : std::string(status.message());
  };
  EXPECT_EQ(token(**one), "Bearer t1");
  EXPECT_EQ(token(**two), "Bearer t1");  // clients of one user share it
  EXPECT_EQ(*ReadFile(dir_ + "/told"),
            R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"config":)"
            R"({"audience":"a"},"server":"http://10.0.0.1:6443"},"interactive":false}} b)"
            "\n");
  EXPECT_TRUE((*one)->Refused());
  EXPECT_EQ(token(**one), "Bearer t2");
  EXPECT_TRUE((*two)->Refused());  // of the first answer, which is gone already
  EXPECT_EQ(token(**two), "Bearer t2");
  clock_.Advance(std::chrono::hours(2), loop_);
  EXPECT_EQ(token(**two), "Bearer t3");
}

TEST_F(CredentialsTest, WhatAProgramGetsWrongIsNamedWithoutItsSecrets) {
  struct {
    const char *status, *error;
  } const rows[] = {
      {R"({})", "getting credentials: exec plugin didn't return a token or cert/key pair"},
      {R"("s3cret")", "getting credentials: exec plugin didn't return a status field"},
      {R"({"token": ["s3cret"]})", "getting credentials: status.token: must be a string"},
      {R"({"clientKeyData": "s3cret"})", "getting credentials: exec plugin returned only certificate or key, not both"},
      {R"({"token": "s3cret", "expirationTimestamp": "soon"})", "getting credentials: status.expirationTimestamp"},
      {R"({"token": "s3cret" )", "getting credentials: decoding stdout: it is not a JSON object"},
  };
  for (const auto& [status, error] : rows) {
    Plugin(status);
    http::Headers headers;
    const Status got = RunTask(loop_, (*Credentials::Make(Exec(), clock_))->Authorize(&headers));
    EXPECT_THAT(std::string(got.message()), HasSubstr(error));
    EXPECT_THAT(std::string(got.message()), testing::Not(HasSubstr("s3cret")));
  }
  Plugin(R"({"token": "t"})", "client.authentication.k8s.io/v1beta1");
  http::Headers headers;
  EXPECT_THAT(
      std::string(RunTask(loop_, (*Credentials::Make(Exec(), clock_))->Authorize(&headers)).message()),
      HasSubstr("exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin returned version "
                "client.authentication.k8s.io/v1beta1"));
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/plugin", "#!/bin/sh\nexit 3\n", 0700).ok());
  EXPECT_THAT(std::string(RunTask(loop_, (*Credentials::Make(Exec(), clock_))->Authorize(&headers)).message()),
              HasSubstr("/plugin failed with exit code 3"));
  ASSERT_TRUE(RemoveAll(dir_ + "/plugin").ok());
  EXPECT_THAT(std::string(RunTask(loop_, (*Credentials::Make(Exec(), clock_))->Authorize(&headers)).message()),
              HasSubstr("/plugin not found\n\nget it"));
}

TEST_F(CredentialsTest, AProgramsCertificateIsTheConnections) {
  const KeyPair pair = SelfSigned({.common_name = "me", .client_auth = true}).value();
  const nlohmann::json status = {{"clientCertificateData", pair.cert_pem}, {"clientKeyData", pair.key_pem}};
  Plugin(status.dump());
  Config config = Exec();
  config.server = "https://10.0.0.1:6443";
  auto credentials = Credentials::Make(config, clock_);
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  const auto before = (*credentials)->tls()->Context();
  http::Headers headers;
  const Status authorized = RunTask(loop_, (*credentials)->Authorize(&headers));
  ASSERT_TRUE(authorized.ok()) << authorized;
  EXPECT_FALSE(headers.Has("Authorization"));
  const auto after = (*credentials)->tls()->Context();
  EXPECT_NE(before, after);  // connections of before are left
  ASSERT_TRUE(RunTask(loop_, (*credentials)->Authorize(&headers)).ok());
  EXPECT_EQ(after, (*credentials)->tls()->Context());
}

TEST_F(CredentialsTest, ActingAsSomebodyElse) {
  Config config;
  config.server = "http://10.0.0.1";
  config.impersonate_user = "jane";
  config.impersonate_uid = "7";
  config.impersonate_groups = {"a", "b"};
  config.impersonate_extra = {{"example.com/x y", {"1", "2"}}};
  auto credentials = Credentials::Make(config, clock_);
  ASSERT_TRUE(credentials.ok());
  http::Headers headers;
  for (int again = 0; again < 2; ++again) ASSERT_TRUE(RunTask(loop_, (*credentials)->Authorize(&headers)).ok());
  const std::vector<std::pair<std::string, std::string>> want = {{"Impersonate-User", "jane"},
                                                                 {"Impersonate-Uid", "7"},
                                                                 {"Impersonate-Group", "a"},
                                                                 {"Impersonate-Group", "b"},
                                                                 {"Impersonate-Extra-example.com%2Fx%20y", "1"},
                                                                 {"Impersonate-Extra-example.com%2Fx%20y", "2"}};
  EXPECT_EQ(headers.fields(), want);
}

}  // namespace
}  // namespace skiff::client
