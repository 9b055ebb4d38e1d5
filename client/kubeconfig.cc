#include "client/kubeconfig.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/files.h"

namespace skiff::client {
namespace {

using nlohmann::json;

// A position in a kubeconfig, for messages.
struct At {
  const json* value;
  std::string path;
  const std::string* origin;

  Status Bad(std::string_view what) const { return InvalidArgument(*origin, ": ", path, ": ", what); }
  At Child(const std::string& key) const {
    const json* found = nullptr;
    if (value != nullptr && value->is_object()) {
      if (const auto it = value->find(key); it != value->end() && !it->is_null()) found = &*it;
    }
    return {found, path.empty() ? key : absl::StrCat(path, ".", key), origin};
  }
  bool set() const { return value != nullptr; }

  StatusOr<std::string> Text(const std::string& key) const {
    const At child = Child(key);
    if (!child.set()) return std::string();
    if (!child.value->is_string()) return child.Bad("must be a string");
    return child.value->get<std::string>();
  }
  StatusOr<bool> Bool(const std::string& key) const {
    const At child = Child(key);
    if (!child.set()) return false;
    if (!child.value->is_boolean()) return child.Bad("must be true or false");
    return child.value->get<bool>();
  }
  StatusOr<std::vector<std::string>> Texts() const {
    std::vector<std::string> out;
    if (!set()) return out;
    if (!value->is_array()) return Bad("must be a list of strings");
    for (const json& one : *value) {
      if (!one.is_string()) return Bad("must be a list of strings");
      out.push_back(one.get<std::string>());
    }
    return out;
  }
  StatusOr<std::string> Data(const std::string& key) const {
    ASSIGN_OR_RETURN(const std::string text, Text(key));
    if (text.empty()) return text;
    auto bytes = Base64Decode(text);
    if (!bytes.ok()) return Child(key).Bad("illegal base64 data");
    return *std::move(bytes);
  }
};

// The entry of `list` called `name`, its `member`.
StatusOr<At> Named(const At& root, const std::string& list, const std::string& name, const std::string& member,
                   bool optional = false) {
  const At entries = root.Child(list);
  if (entries.set()) {
    if (!entries.value->is_array()) return entries.Bad("must be a list");
    for (size_t i = 0; i < entries.value->size(); ++i) {
      const At entry{&(*entries.value)[i], absl::StrCat(entries.path, "[", i, "]"), root.origin};
      ASSIGN_OR_RETURN(const std::string found, entry.Text("name"));
      if (found == name) return entry.Child(member);
    }
  }
  if (optional) return At{nullptr, entries.path, root.origin};
  return InvalidArgument(*root.origin, ": ", list, ": no entry with the name \"", name, "\"");
}

std::string Resolve(const std::string& base_dir, const std::string& path) {
  return path.empty() || path.front() == '/' || base_dir.empty() ? path : JoinPath(base_dir, path);
}

StatusOr<std::string> FileOf(const At& at, const std::string& key, const std::string& base_dir) {
  ASSIGN_OR_RETURN(const std::string path, at.Text(key));
  if (path.empty()) return path;
  auto text = ReadFile(Resolve(base_dir, path), 4 << 20);
  if (!text.ok()) return at.Child(key).Bad(absl::StrCat("unable to read ", path, ": ", text.status().message()));
  return *std::move(text);
}

StatusOr<ExecPlugin> ReadExec(const At& exec, const std::string& base_dir) {
  ExecPlugin out;
  ASSIGN_OR_RETURN(out.api_version, exec.Text("apiVersion"));
  ASSIGN_OR_RETURN(out.command, exec.Text("command"));
  ASSIGN_OR_RETURN(out.install_hint, exec.Text("installHint"));
  ASSIGN_OR_RETURN(out.interactive_mode, exec.Text("interactiveMode"));
  ASSIGN_OR_RETURN(out.provide_cluster_info, exec.Bool("provideClusterInfo"));
  ASSIGN_OR_RETURN(out.args, exec.Child("args").Texts());
  if (out.command.empty())
    return exec.Child("command").Bad("command must be specified to use exec authentication plugin");
  if (out.api_version.empty())
    return exec.Child("apiVersion").Bad("apiVersion must be specified to use exec authentication plugin");
  const bool v1 = out.api_version == "client.authentication.k8s.io/v1";
  if (!v1 && out.api_version != "client.authentication.k8s.io/v1beta1") {
    return exec.Child("apiVersion").Bad(absl::StrCat("exec plugin: invalid apiVersion \"", out.api_version, "\""));
  }
  const At mode = exec.Child("interactiveMode");
  if (out.interactive_mode.empty()) {
    if (v1) return mode.Bad("interactiveMode must be specified to use exec authentication plugin");
  } else if (out.interactive_mode != "Never" && out.interactive_mode != "IfAvailable" &&
             out.interactive_mode != "Always") {
    return mode.Bad(absl::StrCat("invalid interactiveMode: \"", out.interactive_mode, "\""));
  }
  // A name alone is looked for in PATH; a relative path starts at the kubeconfig.
  if (out.command.find('/') != std::string::npos) out.command = Resolve(base_dir, out.command);
  if (const At env = exec.Child("env"); env.set()) {
    if (!env.value->is_array()) return env.Bad("must be a list");
    for (size_t i = 0; i < env.value->size(); ++i) {
      const At entry{&(*env.value)[i], absl::StrCat(env.path, "[", i, "]"), env.origin};
      ASSIGN_OR_RETURN(const std::string name, entry.Text("name"));
      if (name.empty()) return entry.Bad("env variable name must be specified to use exec authentication plugin");
      ASSIGN_OR_RETURN(out.env[name], entry.Text("value"));
    }
  }
  return out;
}

Status ReadUser(const At& user, const std::string& base_dir, Config* out) {
  if (const At exec = user.Child("exec"); exec.set()) {
    ASSIGN_OR_RETURN(out->exec, ReadExec(exec, base_dir));
  }
  if (user.Child("auth-provider").set()) {
    return user.Child("auth-provider").Bad("auth provider plugins are not supported");
  }
  ASSIGN_OR_RETURN(out->tls.pair.cert_pem, user.Data("client-certificate-data"));
  ASSIGN_OR_RETURN(out->tls.pair.key_pem, user.Data("client-key-data"));
  ASSIGN_OR_RETURN(const std::string cert_file, user.Text("client-certificate"));
  ASSIGN_OR_RETURN(const std::string key_file, user.Text("client-key"));
  // Inline data wins over files, as upstream has it. Two files are handed on as files, so that rotation is seen.
  const bool cert_is_file = out->tls.pair.cert_pem.empty() && !cert_file.empty();
  const bool key_is_file = out->tls.pair.key_pem.empty() && !key_file.empty();
  if (cert_is_file && key_is_file) {
    for (const auto& [key, file] : {std::pair{"client-certificate", cert_file}, std::pair{"client-key", key_file}}) {
      RETURN_IF_ERROR(FileOf(user, key, base_dir).status());
    }
    out->tls.cert_file = Resolve(base_dir, cert_file);
    out->tls.key_file = Resolve(base_dir, key_file);
  } else {
    if (cert_is_file) {
      ASSIGN_OR_RETURN(out->tls.pair.cert_pem, FileOf(user, "client-certificate", base_dir));
    }
    if (key_is_file) {
      ASSIGN_OR_RETURN(out->tls.pair.key_pem, FileOf(user, "client-key", base_dir));
    }
    if (out->tls.pair.cert_pem.empty() != out->tls.pair.key_pem.empty()) {
      return user.Bad("client-certificate and client-key must be given together");
    }
  }
  ASSIGN_OR_RETURN(out->token, user.Text("token"));
  ASSIGN_OR_RETURN(out->token_file, user.Text("tokenFile"));
  out->token_file = Resolve(base_dir, out->token_file);
  ASSIGN_OR_RETURN(out->username, user.Text("username"));
  ASSIGN_OR_RETURN(out->password, user.Text("password"));
  ASSIGN_OR_RETURN(out->impersonate_user, user.Text("as"));
  ASSIGN_OR_RETURN(out->impersonate_uid, user.Text("as-uid"));
  ASSIGN_OR_RETURN(out->impersonate_groups, user.Child("as-groups").Texts());
  if (const At extra = user.Child("as-user-extra"); extra.set()) {
    if (!extra.value->is_object()) return extra.Bad("must be a map of lists of strings");
    for (const auto& [key, values] : extra.value->items()) {
      ASSIGN_OR_RETURN(out->impersonate_extra[key], extra.Child(key).Texts());
    }
  }
  if (out->impersonate_user.empty() &&
      (!out->impersonate_uid.empty() || !out->impersonate_groups.empty() || !out->impersonate_extra.empty())) {
    return user.Bad("requesting uid, groups or user-extra without impersonating a user");
  }
  if (!out->username.empty() && (!out->token.empty() || !out->token_file.empty())) {
    return user.Bad("more than one authentication method found; found [token basicAuth], only one is allowed");
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Config> ParseKubeconfig(std::string_view text, const std::string& origin, const std::string& base_dir,
                                 const std::string& context) {
  auto as_json = api::YamlToJson(text);
  if (!as_json.ok()) return Annotate(as_json.status(), origin);
  auto document = api::ParseJson(*as_json);
  if (!document.ok()) return Annotate(document.status(), origin);
  const At root{&*document, "", &origin};
  if (!document->is_object()) return InvalidArgument(origin, ": a kubeconfig must be a mapping");
  ASSIGN_OR_RETURN(const std::string kind, root.Text("kind"));
  ASSIGN_OR_RETURN(const std::string version, root.Text("apiVersion"));
  if (!kind.empty() && kind != "Config") return InvalidArgument(origin, ": kind: \"", kind, "\" is not Config");
  if (!version.empty() && version != "v1") return InvalidArgument(origin, ": apiVersion: \"", version, "\" is not v1");

  std::string chosen = context;
  if (chosen.empty()) {
    ASSIGN_OR_RETURN(chosen, root.Text("current-context"));
  }
  if (chosen.empty()) return InvalidArgument(origin, ": current-context: not set");
  ASSIGN_OR_RETURN(const At in, Named(root, "contexts", chosen, "context"));
  ASSIGN_OR_RETURN(const std::string cluster_name, in.Text("cluster"));
  ASSIGN_OR_RETURN(const std::string user_name, in.Text("user"));
  if (cluster_name.empty()) return in.Child("cluster").Bad("not set");
  ASSIGN_OR_RETURN(const At cluster, Named(root, "clusters", cluster_name, "cluster"));

  Config out;
  ASSIGN_OR_RETURN(const std::string ns, in.Text("namespace"));
  if (!ns.empty()) out.namespace_ = ns;
  ASSIGN_OR_RETURN(out.server, cluster.Text("server"));
  if (out.server.empty()) return cluster.Child("server").Bad("not set");
  if (!out.server.starts_with("https://") && !out.server.starts_with("http://")) {
    // As upstream: a bare host:port means plain HTTP unless there is TLS material; nobody writes that any more.
    return cluster.Child("server").Bad(absl::StrCat("\"", out.server, "\" must begin with https:// or http://"));
  }
  if (cluster.Child("proxy-url").set()) return cluster.Child("proxy-url").Bad("proxies are not supported");
  ASSIGN_OR_RETURN(out.tls.insecure_skip_verify, cluster.Bool("insecure-skip-tls-verify"));
  ASSIGN_OR_RETURN(out.tls.server_name, cluster.Text("tls-server-name"));
  ASSIGN_OR_RETURN(out.tls.ca_pem, cluster.Data("certificate-authority-data"));
  if (out.tls.ca_pem.empty()) {
    ASSIGN_OR_RETURN(out.tls.ca_pem, FileOf(cluster, "certificate-authority", base_dir));
  }
  if (out.tls.insecure_skip_verify && !out.tls.ca_pem.empty()) {
    return cluster.Bad("specifying a root certificates file with the insecure flag is not allowed");
  }
  if (!user_name.empty()) {
    ASSIGN_OR_RETURN(const At user, Named(root, "users", user_name, "user"));
    if (user.set()) RETURN_IF_ERROR(ReadUser(user, base_dir, &out));
  }
  if (const At extensions = cluster.Child("extensions"); out.exec && extensions.set()) {
    ASSIGN_OR_RETURN(const At found,
                     Named(cluster, "extensions", "client.authentication.k8s.io/exec", "extension", true));
    if (found.set()) out.exec->cluster_config = *found.value;
  }
  return out;
}

StatusOr<Config> LoadKubeconfig(const std::string& path, const std::string& context) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 4 << 20), "kubeconfig");
  const size_t slash = path.rfind('/');
  return ParseKubeconfig(text, path, slash == std::string::npos ? "" : path.substr(0, slash == 0 ? 1 : slash), context);
}

StatusOr<Config> InClusterConfig(const std::string& folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == 0 || *port == 0) {
    return FailedPrecondition(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined");
  }
  Config out;
  const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
  out.server = absl::StrCat("https://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
  out.token_file = JoinPath(folder, "token");
  RETURN_IF_ERROR(ReadFile(out.token_file, 1 << 20).status(), "in-cluster token");
  ASSIGN_OR_RETURN(out.tls.ca_pem, ReadFile(JoinPath(folder, "ca.crt"), 4 << 20), "in-cluster root CA");
  if (auto ns = ReadFile(JoinPath(folder, "namespace"), 4096); ns.ok()) {
    out.namespace_ = std::string(absl::StripAsciiWhitespace(*ns));
  }
  return out;
}

std::string ToKubeconfig(const Config& config, const std::string& cluster_name, const std::string& user_name) {
  json cluster = {{"server", config.server}};
  if (!config.tls.ca_pem.empty()) cluster["certificate-authority-data"] = Base64Encode(config.tls.ca_pem);
  if (config.tls.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
  if (!config.tls.server_name.empty()) cluster["tls-server-name"] = config.tls.server_name;
  json user = json::object();
  if (!config.tls.pair.cert_pem.empty()) {
    user["client-certificate-data"] = Base64Encode(config.tls.pair.cert_pem);
    user["client-key-data"] = Base64Encode(config.tls.pair.key_pem);
  } else if (!config.tls.cert_file.empty()) {
    user["client-certificate"] = config.tls.cert_file;
    user["client-key"] = config.tls.key_file;
  }
  if (!config.token.empty()) user["token"] = config.token;
  if (!config.token_file.empty()) user["tokenFile"] = config.token_file;
  const std::string context = user_name + "@" + cluster_name;
  const json document = {
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", json::array({{{"name", cluster_name}, {"cluster", cluster}}})},
      {"users", json::array({{{"name", user_name}, {"user", user}}})},
      {"contexts", json::array({{{"name", context}, {"context", {{"cluster", cluster_name}, {"user", user_name}}}}})},
      {"current-context", context},
  };
  return api::JsonToYaml(document);
}

}  // namespace skiff::client
