// Credentials from a program that the kubeconfig names, as nodes of several clouds have them. Clients of the same user
// share one answer: the program runs once, not once a client. Its answer holds until it expires or the server refuses
// it. Follows kubernetes.io/docs/reference/config-api/client-authentication.v1.
#include <cstdlib>
#include <map>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/async_lock.h"
#include "base/log.h"
#include "base/subprocess.h"
#include "client/credentials.h"

extern char** environ;

namespace skiff::client {
namespace {

using nlohmann::json;

// The field as text; "" where absent. Errors name it.
StatusOr<std::string> Text(const json& status, const char* field) {
  const auto found = status.find(field);
  if (found == status.end() || found->is_null()) return std::string();
  if (!found->is_string()) return InvalidArgument("status.", field, ": must be a string");
  return found->get<std::string>();
}

class ExecSource {
 public:
  struct Answer {
    std::string token;
    KeyPair pair;
    std::optional<WallTime> expires;
    uint64_t serial = 0;  // of the run that gave it
  };

  ExecSource(ExecPlugin plugin, std::string info, Clock& clock)
      : plugin_(std::move(plugin)), info_(std::move(info)), clock_(clock) {}

  Task<StatusOr<Answer>> Get() {
    CO_ASSIGN_OR_RETURN(auto turn, co_await lock_->Lock());
    if (answer_ && (!answer_->expires || clock_.Now() < *answer_->expires)) co_return *answer_;
    auto answer = co_await Run();
    if (!answer.ok()) co_return Annotate(answer.status(), "getting credentials");
    answer->serial = ++serial_;
    answer_ = *answer;
    co_return *answer;
  }
  // Only an answer that is still the last one: of many refused at once the first makes the program run.
  void Forget(uint64_t serial) {
    if (answer_ && answer_->serial == serial) answer_.reset();
  }

 private:
  Task<StatusOr<Answer>> Run() {
    Command command;
    command.argv.push_back(plugin_.command);
    command.argv.insert(command.argv.end(), plugin_.args.begin(), plugin_.args.end());
    for (char** one = environ; *one != nullptr; ++one) {
      const std::string_view entry = *one;
      const std::string_view name = entry.substr(0, entry.find('='));
      if (name != "KUBERNETES_EXEC_INFO" && !plugin_.env.contains(std::string(name))) command.env.emplace_back(entry);
    }
    for (const auto& [name, value] : plugin_.env) command.env.push_back(absl::StrCat(name, "=", value));
    command.env.push_back(absl::StrCat("KUBERNETES_EXEC_INFO=", info_));
    auto result = co_await RunCommand(std::move(command));
    if (absl::IsNotFound(result.status())) {
      co_return NotFound("exec: executable ", plugin_.command, " not found",
                         plugin_.install_hint.empty() ? "" : absl::StrCat("\n\n", plugin_.install_hint));
    }
    if (!result.ok()) co_return Annotate(result.status(), "exec");
    if (!result->err.empty()) {
      LOG_WARNING("The credential plugin wrote to its standard error", {"command", plugin_.command},
                  {"stderr", absl::StripAsciiWhitespace(result->err)});
    }
    if (result->exit_code != 0) {
      co_return FailedPrecondition("exec: executable ", plugin_.command, " failed with exit code ", result->exit_code);
    }
    co_return Parse(result->out);
  }

  // The output is a secret: errors do not show it.
  StatusOr<Answer> Parse(const std::string& out) const {
    auto parsed = api::ParseJson(out);
    if (!parsed.ok() || !parsed->is_object()) return InvalidArgument("decoding stdout: it is not a JSON object");
    const json& document = *parsed;
    ASSIGN_OR_RETURN(const std::string kind, Text(document, "kind"));
    ASSIGN_OR_RETURN(const std::string version, Text(document, "apiVersion"));
    if (kind != "ExecCredential") return InvalidArgument("decoding stdout: kind is \"", kind, "\", not ExecCredential");
    if (version != plugin_.api_version) {
      return InvalidArgument("exec plugin is configured to use API version ", plugin_.api_version,
                             ", plugin returned version ", version);
    }
    const auto status = document.find("status");
    if (status == document.end() || !status->is_object())
      return InvalidArgument("exec plugin didn't return a status field");
    Answer answer;
    ASSIGN_OR_RETURN(answer.token, Text(*status, "token"));
    ASSIGN_OR_RETURN(answer.pair.cert_pem, Text(*status, "clientCertificateData"));
    ASSIGN_OR_RETURN(answer.pair.key_pem, Text(*status, "clientKeyData"));
    ASSIGN_OR_RETURN(const std::string expires, Text(*status, "expirationTimestamp"));
    if (answer.token.empty() && answer.pair.cert_pem.empty() && answer.pair.key_pem.empty())
      return InvalidArgument("exec plugin didn't return a token or cert/key pair");
    if (answer.pair.cert_pem.empty() != answer.pair.key_pem.empty())
      return InvalidArgument("exec plugin returned only certificate or key, not both");
    if (!expires.empty()) {
      ASSIGN_OR_RETURN(answer.expires, api::ParseWallTime(expires), "status.expirationTimestamp");
    }
    return answer;
  }

  const ExecPlugin plugin_;
  const std::string info_;  // KUBERNETES_EXEC_INFO
  Clock& clock_;
  const std::shared_ptr<AsyncLock> lock_ = std::make_shared<AsyncLock>();
  std::optional<Answer> answer_;
  uint64_t serial_ = 0;
};

// The TLS settings with whatever certificate was handed out last.
class HandedOutTls final : public TlsClientConfig {
 public:
  static StatusOr<std::shared_ptr<HandedOutTls>> Make(Options options) {
    auto out = std::make_shared<HandedOutTls>();
    out->options_ = std::move(options);
    ASSIGN_OR_RETURN(out->now_, TlsClientConfig::Make(out->options_));
    return out;
  }
  Status Replace(const KeyPair& pair) {
    if (pair.cert_pem == options_.pair.cert_pem && pair.key_pem == options_.pair.key_pem) return absl::OkStatus();
    Options options = options_;
    options.pair = pair;
    ASSIGN_OR_RETURN(now_, TlsClientConfig::Make(options));
    options_ = std::move(options);
    return absl::OkStatus();
  }
  std::shared_ptr<ssl_ctx_st> Context() override { return now_->Context(); }
  const std::string& server_name() const override { return now_->server_name(); }
  bool insecure_skip_verify() const override { return now_->insecure_skip_verify(); }

 private:
  Options options_;
  std::shared_ptr<TlsClientConfig> now_;
};

class ExecCredentials final : public Credentials {
 public:
  ExecCredentials(std::shared_ptr<ExecSource> source, std::shared_ptr<HandedOutTls> tls)
      : source_(std::move(source)), tls_(std::move(tls)) {}

  Task<Status> Authorize(http::Headers* headers) override {
    CO_ASSIGN_OR_RETURN(const ExecSource::Answer answer, co_await source_->Get());
    serial_ = answer.serial;
    if (tls_ != nullptr && !answer.pair.cert_pem.empty())
      CO_RETURN_IF_ERROR(tls_->Replace(answer.pair), "getting credentials");
    headers->Remove("Authorization");
    if (!answer.token.empty()) headers->Set("Authorization", "Bearer " + answer.token);
    co_return absl::OkStatus();
  }
  bool Refused() override {
    source_->Forget(serial_);
    return true;
  }
  std::shared_ptr<TlsClientConfig> tls() const override { return tls_; }

 private:
  const std::shared_ptr<ExecSource> source_;
  const std::shared_ptr<HandedOutTls> tls_;
  uint64_t serial_ = 0;
};

// What the program is told: KUBERNETES_EXEC_INFO.
std::string Info(const Config& config) {
  json spec = {{"interactive", false}};
  if (config.exec->provide_cluster_info) {
    json cluster = {{"server", config.server}};
    if (!config.tls.server_name.empty()) cluster["tls-server-name"] = config.tls.server_name;
    if (config.tls.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
    if (!config.tls.ca_pem.empty()) cluster["certificate-authority-data"] = Base64Encode(config.tls.ca_pem);
    if (!config.exec->cluster_config.is_null()) cluster["config"] = config.exec->cluster_config;
    spec["cluster"] = std::move(cluster);
  }
  return json{{"kind", "ExecCredential"}, {"apiVersion", config.exec->api_version}, {"spec", std::move(spec)}}.dump();
}

}  // namespace

StatusOr<std::unique_ptr<Credentials>> MakeExecCredentials(const Config& config, Clock& clock) {
  const ExecPlugin& plugin = *config.exec;
  if (plugin.interactive_mode == "Always") {
    return FailedPrecondition("exec plugin cannot support interactive mode: standard input is not a terminal");
  }
  std::string info = Info(config);
  json key = {plugin.command, plugin.args, plugin.env, info};
  static auto* const sources = new std::map<std::string, std::weak_ptr<ExecSource>>;
  std::weak_ptr<ExecSource>& known = (*sources)[key.dump()];
  auto source = known.lock();
  if (source == nullptr) {
    source = std::make_shared<ExecSource>(plugin, std::move(info), clock);
    known = source;
  }
  std::shared_ptr<HandedOutTls> tls;
  if (config.server.starts_with("https://")) {
    ASSIGN_OR_RETURN(tls, HandedOutTls::Make(config.tls));
  }
  return std::make_unique<ExecCredentials>(std::move(source), std::move(tls));
}

}  // namespace skiff::client
