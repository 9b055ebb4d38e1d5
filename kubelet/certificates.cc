#include "kubelet/certificates.h"

#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/csr.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;
using std::chrono::seconds;

constexpr char kRequests[] = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
constexpr size_t kLongestPem = 1 << 20;

std::string Text(const json& from, const char* name) {
  auto found = from.find(name);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Task<StatusOr<json>> Call(std::shared_ptr<client::Rest> rest, std::string method, std::string target,
                          std::string body) {
  client::RawRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  if (!body.empty()) request.content_type = "application/json";
  request.body = std::move(body);
  request.timeout = seconds(30);
  CO_ASSIGN_OR_RETURN(const auto answer, co_await rest->Raw(std::move(request)));
  auto parsed = api::ParseJson(answer.body);
  if (answer.status / 100 != 2) {
    co_return Unavailable("the API server answered ", answer.status, ": ",
                          parsed.ok() && parsed->is_object() ? Text(*parsed, "message") : answer.body.substr(0, 200));
  }
  if (!parsed.ok() || !parsed->is_object()) co_return Unavailable("the API server's answer is no JSON object");
  co_return *std::move(parsed);
}

// The certificate; nullopt while nobody has decided or signed.
StatusOr<std::optional<std::string>> Outcome(const json& csr) {
  const auto status = csr.find("status");
  if (status == csr.end() || !status->is_object()) return std::nullopt;
  bool approved = false;
  if (auto conditions = status->find("conditions"); conditions != status->end() && conditions->is_array()) {
    for (const json& condition : *conditions) {
      if (!condition.is_object()) continue;
      const std::string type = Text(condition, "type");
      if (type == "Denied" || type == "Failed") {
        return absl::PermissionDeniedError(
            absl::StrCat("certificate signing request is ", type == "Denied" ? "denied" : "failed",
                         ", reason: ", Text(condition, "reason"), ", message: ", Text(condition, "message")));
      }
      approved |= type == "Approved";
    }
  }
  const std::string encoded = Text(*status, "certificate");
  if (!approved || encoded.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(std::string pem, Base64Decode(encoded), "the issued certificate");
  return pem;
}

StatusOr<CertificateInfo> ReadPair(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(path, kLongestPem));
  ASSIGN_OR_RETURN(const bool matches, CertificateMatchesKey(pem, pem));
  if (!matches) return InvalidArgument(path, ": the certificate is for another key");
  return ReadCertificate(pem);
}

class Awaited final : public TlsServerConfig {
 public:
  Awaited(std::string pem_file, std::string client_ca_file, TlsLimits limits)
      : pem_file_(std::move(pem_file)),
        client_ca_file_(std::move(client_ca_file)),
        limits_(std::move(limits)),
        none_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {}
  std::shared_ptr<ssl_ctx_st> Context() override {
    if (real_ == nullptr && Exists(pem_file_)) {
      auto made = LimitedTlsServer(pem_file_, pem_file_, client_ca_file_, limits_);
      if (made.ok()) {
        real_ = *std::move(made);
      } else {
        LOG_ERROR(made.status(), "Cannot use the serving certificate", {"path", pem_file_});
      }
    }
    if (real_ != nullptr) return real_->Context();
    VLOG(1, "no serving certificate available for the kubelet");
    return none_;
  }

 private:
  std::string pem_file_, client_ca_file_;
  TlsLimits limits_;
  std::shared_ptr<ssl_ctx_st> none_;
  std::shared_ptr<TlsServerConfig> real_;
};

}  // namespace

std::shared_ptr<TlsServerConfig> AwaitedServerConfig(std::string pem_file, std::string client_ca_file,
                                                     TlsLimits limits) {
  return std::make_shared<Awaited>(std::move(pem_file), std::move(client_ca_file), std::move(limits));
}

RotationOptions ClientRotation(std::string dir, const std::string& node_name) {
  RotationOptions out;
  out.dir = std::move(dir);
  out.name = "kubelet-client";
  out.signer = "kubernetes.io/kube-apiserver-client-kubelet";
  out.subject.common_name = "system:node:" + node_name;
  out.subject.organizations = {"system:nodes"};
  out.subject.client_auth = true;
  return out;
}

RotationOptions ServerRotation(std::string dir, const std::string& node_name,
                               std::function<void(CertificateRequest*)> names) {
  RotationOptions out = ClientRotation(std::move(dir), node_name);
  out.name = "kubelet-server";
  out.signer = "kubernetes.io/kubelet-serving";
  out.subject.client_auth = false;
  out.subject.server_auth = true;
  out.names = std::move(names);
  return out;
}

CertificateRotator::CertificateRotator(std::shared_ptr<client::Rest> rest, Clock& clock, RotationOptions options)
    : rest_(std::move(rest)),
      clock_(clock),
      options_(std::move(options)),
      jitter_(static_cast<double>(static_cast<uint8_t>(RandomBytes(1)[0])) / 255) {}

std::string CertificateRotator::current_path() const { return JoinPath(options_.dir, options_.name + "-current.pem"); }

bool CertificateRotator::Usable() const {
  const auto info = ReadPair(current_path());
  return info.ok() && info->not_after > clock_.Now();
}

WallTime CertificateRotator::RenewalTime() const {
  const auto info = ReadPair(current_path());
  if (!info.ok()) return WallTime{};
  const auto life = info->not_after - info->not_before;
  return info->not_before + std::chrono::duration_cast<WallTime::duration>(life * (0.7 + 0.2 * jitter_));
}

Status CertificateRotator::Store(const std::string& cert_pem, const std::string& key_pem) {
  ASSIGN_OR_RETURN(const bool matches, CertificateMatchesKey(cert_pem, key_pem), "the issued certificate");
  if (!matches) return InvalidArgument("the issued certificate is for another key");
  RETURN_IF_ERROR(MakeDirs(options_.dir, 0755));
  const time_t now = std::chrono::system_clock::to_time_t(clock_.Now());
  struct tm tm {};
  gmtime_r(&now, &tm);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y-%m-%d-%H-%M-%S", &tm);
  const std::string file = absl::StrCat(options_.name, "-", stamp, ".pem");
  const std::string pem = absl::StrCat(cert_pem, cert_pem.ends_with('\n') ? "" : "\n", key_pem);
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(options_.dir, file), pem, 0600));
  // The link changes in one step: whoever reads it finds the old pair or the new one.
  const std::string link = current_path(), next = link + ".updated";
  unlink(next.c_str());
  if (symlink(JoinPath(options_.dir, file).c_str(), next.c_str()) != 0) return ErrnoStatus(errno, next);
  if (rename(next.c_str(), link.c_str()) != 0) return ErrnoStatus(errno, link);
  LOG_INFO("Certificate rotated", {"path", JoinPath(options_.dir, file)});
  return absl::OkStatus();
}

CertificateRequest CertificateRotator::Wanted() const {
  CertificateRequest out = options_.subject;
  if (options_.names) options_.names(&out);
  return out;
}

bool CertificateRotator::LacksNames() const {
  if (!options_.names) return false;
  const CertificateRequest wanted = Wanted();
  // Whoever signs may leave some out: asking over and over would not help.
  if (asked_ && asked_->dns_names == wanted.dns_names && asked_->ip_addresses == wanted.ip_addresses) return false;
  const auto info = ReadPair(current_path());
  if (!info.ok()) return false;
  auto all_in = [](const std::vector<std::string>& names, const std::vector<std::string>& have) {
    return std::all_of(names.begin(), names.end(),
                       [&](const auto& name) { return std::find(have.begin(), have.end(), name) != have.end(); });
  };
  return !wanted.ip_addresses.empty() &&
         !(all_in(wanted.dns_names, info->dns_names) && all_in(wanted.ip_addresses, info->ip_addresses));
}

Task<Status> CertificateRotator::Renew() {
  const CertificateRequest subject = Wanted();
  if (options_.names && subject.ip_addresses.empty()) {
    co_return FailedPrecondition("the node has no address yet that a serving certificate could be for");
  }
  asked_ = subject;
  CO_ASSIGN_OR_RETURN(const std::string key, GenerateKey(false));
  CO_ASSIGN_OR_RETURN(const std::string csr, MakeCsr(subject, key));
  json request = {{"kind", "CertificateSigningRequest"},
                  {"apiVersion", "certificates.k8s.io/v1"},
                  {"metadata", {{"generateName", "csr-"}}},
                  {"spec",
                   {{"request", Base64Encode(csr)},
                    {"signerName", options_.signer},
                    {"usages", {"digital signature", subject.server_auth ? "server auth" : "client auth"}}}}};
  CO_ASSIGN_OR_RETURN(const json made, co_await Call(rest_, "POST", kRequests, request.dump()),
                      "cannot create certificate signing request");
  const std::string name = made.contains("metadata") ? Text(made["metadata"], "name") : "";
  if (name.empty()) co_return Unavailable("the API server gave the certificate signing request no name");
  VLOG(1, "Waiting for certificate signing request", {"csr", name}, {"signer", options_.signer});
  const SteadyTime until = clock_.Steady() + options_.patience;
  while (clock_.Steady() < until) {
    auto seen = co_await Call(rest_, "GET", absl::StrCat(kRequests, "/", name), "");
    if (absl::IsCancelled(seen.status())) co_return seen.status();
    if (seen.ok()) {
      CO_ASSIGN_OR_RETURN(const auto certificate, Outcome(*seen));
      if (certificate) co_return Store(*certificate, key);
    }
    CO_RETURN_IF_ERROR(co_await clock_.Sleep(options_.poll));
  }
  co_return absl::DeadlineExceededError(absl::StrCat("certificate request ", name, " was not signed: timed out"));
}

std::chrono::nanoseconds CertificateRotator::LeftOfLife(bool just_issued) const {
  const auto info = ReadPair(current_path());
  if (!info.ok()) return {};
  const std::chrono::nanoseconds share = RenewalTime() - info->not_before, left = RenewalTime() - clock_.Now();
  return std::clamp(left, just_issued ? share * 4 / 5 : std::chrono::nanoseconds::min(), share);
}

Task<void> CertificateRotator::Run() {
  auto pause = std::chrono::duration_cast<std::chrono::nanoseconds>(seconds(2));
  bool just_issued = false;
  while (!co_await IsCancelled()) {
    const WallTime renewal = RenewalTime();
    const auto left = LeftOfLife(just_issued);
    const SteadyTime due = clock_.Steady() + left;
    const WallTime due_wall = clock_.Now() + std::chrono::duration_cast<WallTime::duration>(left);
    bool replaced = false;  // by somebody else
    while (!replaced && !LacksNames() && clock_.Steady() < due && clock_.Now() < due_wall) {
      // Woken often enough for a clock that is set, and for an address that is new.
      const auto often = options_.names ? std::chrono::nanoseconds(seconds(10)) : std::chrono::minutes(10);
      const auto wait = std::min<std::chrono::nanoseconds>(due - clock_.Steady(), often);
      if (absl::IsCancelled(co_await clock_.Sleep(wait))) co_return;
      replaced = RenewalTime() != renewal;
    }
    just_issued = false;
    if (replaced) continue;
    const Status renewed = co_await Renew();
    if (absl::IsCancelled(renewed)) co_return;
    just_issued = renewed.ok();
    if (renewed.ok()) {
      pause = seconds(2);
      continue;
    }
    LOG_ERROR(renewed, "Cannot renew a certificate", {"name", options_.name});
    if (absl::IsCancelled(co_await clock_.Sleep(pause))) co_return;
    pause = std::min<std::chrono::nanoseconds>(pause * 2, std::chrono::minutes(5));
  }
}

bool KubeconfigUsable(const std::string& path, WallTime now) {
  auto config = client::LoadKubeconfig(path);
  if (!config.ok()) return false;
  std::string cert = config->tls.pair.cert_pem;
  if (cert.empty() && !config->tls.cert_file.empty()) {
    auto read = ReadFile(config->tls.cert_file, kLongestPem);
    if (!read.ok()) return false;
    cert = *std::move(read);
  }
  if (cert.empty()) return true;  // a token, say
  const auto info = ReadCertificate(cert);
  return info.ok() && info->not_after > now;
}

Task<Status> Bootstrap(asio::any_io_executor executor, const std::string& bootstrap_kubeconfig,
                       const std::string& kubeconfig, const std::string& dir, const std::string& node_name,
                       Clock& clock) {
  LOG_INFO("Using bootstrap kubeconfig to generate TLS client cert, key and kubeconfig file");
  CO_ASSIGN_OR_RETURN(client::Config config, client::LoadKubeconfig(bootstrap_kubeconfig),
                      "unable to load bootstrap kubeconfig");
  CO_ASSIGN_OR_RETURN(auto rest, client::Rest::Make(executor, config),
                      "unable to create certificates signing request client");
  CertificateRotator rotator(std::move(rest), clock, ClientRotation(dir, node_name));
  CO_RETURN_IF_ERROR(co_await rotator.Renew(), "failed to run Kubelet");
  json cluster = {{"server", config.server}};
  if (config.tls.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
  if (!config.tls.ca_pem.empty()) cluster["certificate-authority-data"] = Base64Encode(config.tls.ca_pem);
  // JSON is YAML.
  const json text = {
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", {{{"name", "default-cluster"}, {"cluster", cluster}}}},
      {"users",
       {{{"name", "default-auth"},
         {"user", {{"client-certificate", rotator.current_path()}, {"client-key", rotator.current_path()}}}}}},
      {"contexts",
       {{{"name", "default-context"},
         {"context", {{"cluster", "default-cluster"}, {"user", "default-auth"}, {"namespace", "default"}}}}}},
      {"current-context", "default-context"}};
  co_return WriteFileAtomic(kubeconfig, text.dump(2) + "\n", 0600);
}

}  // namespace skiff::kubelet
