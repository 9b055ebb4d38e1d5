#include "client/kubeconfig.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace skiff::client {
namespace {

constexpr char kGood[] = R"(apiVersion: v1
kind: Config
current-context: c
contexts:
- name: c
  context: {cluster: k, user: u, namespace: apps}
- name: d
  context: {cluster: k, user: t}
clusters:
- name: k
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: Q0E=
    tls-server-name: kubernetes
users:
- name: u
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
- name: t
  user: {token: secret}
)";

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(KubeconfigTest, ReadsTheCurrentContext) {
  const auto config = ParseKubeconfig(kGood, "f", "");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server, "https://10.0.0.1:6443");
  EXPECT_EQ(config->tls.ca_pem, "CA");
  EXPECT_EQ(config->tls.pair.cert_pem, "CERT");
  EXPECT_EQ(config->tls.pair.key_pem, "KEY");
  EXPECT_EQ(config->tls.server_name, "kubernetes");
  EXPECT_EQ(config->namespace_, "apps");
  const auto other = ParseKubeconfig(kGood, "f", "", "d");
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->token, "secret");
  EXPECT_TRUE(other->tls.pair.cert_pem.empty());
}

TEST(KubeconfigTest, ReadsFilesRelativeToItself) {
  const std::string dir = testing::TempDir() + "/skiff-kubeconfig-" + std::to_string(getpid());
  ASSERT_TRUE(MakeDirs(dir).ok());
  ASSERT_TRUE(WriteFileAtomic(dir + "/ca.pem", "FILE CA").ok());
  ASSERT_TRUE(WriteFileAtomic(dir + "/crt", "c").ok());
  ASSERT_TRUE(WriteFileAtomic(dir + "/key", "k").ok());
  std::string text = Replace(kGood, "certificate-authority-data: Q0E=", "certificate-authority: ca.pem");
  text = Replace(text, "client-certificate-data: Q0VSVA==", "client-certificate: crt");
  text = Replace(text, "client-key-data: S0VZ", "client-key: key");
  ASSERT_TRUE(WriteFileAtomic(dir + "/config", text).ok());
  const auto config = LoadKubeconfig(dir + "/config");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->tls.ca_pem, "FILE CA");
  EXPECT_EQ(config->tls.cert_file, dir + "/crt");
  EXPECT_EQ(config->tls.key_file, dir + "/key");
  ASSERT_TRUE(RemoveAll(dir).ok());
}

TEST(KubeconfigTest, ErrorsNameFileAndField) {
  const struct {
    const char *from, *to, *error;
  } rows[] = {
      {"Q0E=", "\"%%%\"", "f: clusters[0].cluster.certificate-authority-data: illegal base64 data"},
      {"current-context: c", "current-context: x", "f: contexts: no entry with the name \"x\""},
      {"current-context: c\n", "", "f: current-context: not set"},
      {"cluster: k, user: u", "cluster: z, user: u", "f: clusters: no entry with the name \"z\""},
      {"cluster: k, user: u", "cluster: k, user: z", "f: users: no entry with the name \"z\""},
      {"server: https://10.0.0.1:6443", "server: [1]", "f: clusters[0].cluster.server: must be a string"},
      {"server: https://10.0.0.1:6443", "server: 10.0.0.1:6443",
       "f: clusters[0].cluster.server: \"10.0.0.1:6443\" must begin with https:// or http://"},
      {"    client-key-data: S0VZ\n", "", "f: users[0].user: client-certificate and client-key must be given together"},
      {"client-key-data: S0VZ", "exec: {command: x}",
       "f: users[0].user.exec.apiVersion: apiVersion must be specified to use exec authentication plugin"},
      {"client-key-data: S0VZ", "exec: {apiVersion: client.authentication.k8s.io/v1}",
       "f: users[0].user.exec.command: command must be specified to use exec authentication plugin"},
      {"client-key-data: S0VZ", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}",
       "f: users[0].user.exec.interactiveMode: interactiveMode must be specified to use exec authentication plugin"},
      {"client-key-data: S0VZ", "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x, args: [1]}",
       "f: users[0].user.exec.args: must be a list of strings"},
      {"client-key-data: S0VZ",
       "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x, env: [{value: v}]}",
       "f: users[0].user.exec.env[0]: env variable name must be specified to use exec authentication plugin"},
      {"client-key-data: S0VZ", "client-key-data: S0VZ\n    as-groups: [g]",
       "f: users[0].user: requesting uid, groups or user-extra without impersonating a user"},
      {"kind: Config", "kind: Pod", "f: kind: \"Pod\" is not Config"},
      {"certificate-authority-data: Q0E=", "certificate-authority: /does/not/exist",
       "f: clusters[0].cluster.certificate-authority: unable to read /does/not/exist"},
  };
  for (const auto& row : rows) {
    const auto config = ParseKubeconfig(Replace(kGood, row.from, row.to), "f", "");
    ASSERT_FALSE(config.ok()) << row.error;
    EXPECT_TRUE(std::string(config.status().message()).starts_with(row.error))
        << config.status() << "\nwanted: " << row.error;
  }
  EXPECT_FALSE(ParseKubeconfig("- a", "f", "").ok());
  EXPECT_FALSE(ParseKubeconfig("a: [", "f", "").ok());
  EXPECT_FALSE(LoadKubeconfig("/does/not/exist").ok());
}

TEST(KubeconfigTest, WhatIsWrittenCanBeRead) {
  Config config;
  config.server = "https://127.0.0.1:6443";
  config.tls.ca_pem = "CA";
  config.tls.pair = {"CERT", "KEY"};
  const auto read = ParseKubeconfig(ToKubeconfig(config), "f", "");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->server, config.server);
  EXPECT_EQ(read->tls.ca_pem, "CA");
  EXPECT_EQ(read->tls.pair.cert_pem, "CERT");
  EXPECT_EQ(read->tls.pair.key_pem, "KEY");
}

}  // namespace
}  // namespace skiff::client
