// Where an API server is and how to speak to it: from kubeconfig files (clusters, users, contexts; certificates and
// tokens inline or as files) or from a pod's environment. Blocking file reads at start only; plain values, no thread
// affinity. Follows upstream's kubeconfig (v1) format; auth-provider plugins and proxies are refused, not
// ignored.
//
// Errors name file and field: `/etc/x.conf: users[0].user.client-certificate-data: illegal base64 data`.
#ifndef SKIFF_CLIENT_KUBECONFIG_H_
#define SKIFF_CLIENT_KUBECONFIG_H_

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/tls.h"

namespace skiff::client {

// A program that hands out credentials (client.authentication.k8s.io).
struct ExecPlugin {
  std::string api_version, command;  // a command with a slash is a path
  std::vector<std::string> args;
  std::map<std::string, std::string> env;  // beside what the client itself has
  std::string install_hint;                // shown where the command is not found
  bool provide_cluster_info = false;
  std::string interactive_mode;
  nlohmann::json cluster_config;  // the cluster's extension of that name
};

struct Config {
  std::string server;              // "https://10.0.0.1:6443", optionally with a path prefix; "http://.." is plain
  TlsClientConfig::Options tls;    // used with https
  std::string token;               // bearer token, or
  std::string token_file;          // .. read again once a minute, as upstream does
  std::string username, password;  // basic authentication
  std::optional<ExecPlugin> exec;  // instead of all these
  std::string impersonate_user, impersonate_uid;  // the Impersonate- headers
  std::vector<std::string> impersonate_groups;
  std::map<std::string, std::vector<std::string>> impersonate_extra;
  std::string namespace_ = "default";  // of the context

  std::string user_agent;  // empty: "<program>/v1.36.2 (linux/amd64) skiff"
  double qps = 50;         // sustained requests per second; <= 0: unlimited. Watches do not count
  int burst = 100;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);  // of a request that is no watch; 0: none
};

// A kubeconfig's current context, or the one named. Relative file names are relative to the kubeconfig's folder.
StatusOr<Config> LoadKubeconfig(const std::string& path, const std::string& context = "");
// The same from text; `origin` stands for the file in messages, `base_dir` is where relative names start.
StatusOr<Config> ParseKubeconfig(std::string_view text, const std::string& origin, const std::string& base_dir,
                                 const std::string& context = "");

// From KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and /var/run/secrets/kubernetes.io/serviceaccount.
StatusOr<Config> InClusterConfig(const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

// The text of a kubeconfig for `config` with everything inline, as bootstrap and `hack/up` write it.
std::string ToKubeconfig(const Config& config, const std::string& cluster_name = "kubernetes",
                         const std::string& user_name = "admin");

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_KUBECONFIG_H_
