#include "kubelet/certificates.h"

#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
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

// `http_status` stays where no answer came.
Task<StatusOr<json>> Call(std::shared_ptr<client::Rest> rest, std::string method, std::string target, std::string body,
                          int* http_status) {
  client::RawRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  if (!body.empty()) request.content_type = "application/json";
  request.body = std::move(body);
  request.timeout = seconds(30);
  CO_ASSIGN_OR_RETURN(const auto answer, co_await rest->Raw(std::move(request)));
  *http_status = answer.status;
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

std::string CurrentPath(const RotationOptions& store) { return JoinPath(store.dir, store.name + "-current.pem"); }

// As of upstream's kubelet, where it ended between the two renames of a rotation.
Status RecoverStore(const RotationOptions& store) {
  const std::string current = CurrentPath(store), updated = JoinPath(store.dir, store.name + "-updated.pem");
  struct stat info {};
  if (::stat(current.c_str(), &info) == 0 || ::lstat(updated.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISLNK(info.st_mode)) {
    return FailedPrecondition("expected \"", updated, "\" to be a symlink but it is a file");
  }
  if (::rename(updated.c_str(), current.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("unable to rename \"", updated, "\" to \"", current, "\""));
  }
  LOG_INFO("Took the certificate of a rotation that was interrupted", {"path", current});
  return absl::OkStatus();
}

std::optional<CertificateInfo> ValidPair(const RotationOptions& store, WallTime now) {
  auto info = ReadPair(CurrentPath(store));
  if (!info.ok() || info->not_after <= now) return std::nullopt;
  return *std::move(info);
}

bool AllIn(const std::vector<std::string>& names, const std::vector<std::string>& have) {
  return std::all_of(names.begin(), names.end(),
                     [&](const auto& name) { return std::find(have.begin(), have.end(), name) != have.end(); });
}

// The kubeconfig's client certificate and key, from its text or the files that it names; empty: it has none.
StatusOr<KeyPair> PairOf(const client::Config& config) {
  KeyPair pair = config.tls.pair;
  if (pair.cert_pem.empty() && !config.tls.cert_file.empty()) {
    ASSIGN_OR_RETURN(pair.cert_pem, ReadFile(config.tls.cert_file, kLongestPem));
    ASSIGN_OR_RETURN(pair.key_pem, ReadFile(config.tls.key_file, kLongestPem));
  }
  return pair;
}

// As `config`, with the store's pair in place of its credentials.
client::Config ByStore(const client::Config& config, const RotationOptions& store) {
  client::Config out;
  out.server = config.server;
  out.tls.ca_pem = config.tls.ca_pem;
  out.tls.server_name = config.tls.server_name;
  out.tls.insecure_skip_verify = config.tls.insecure_skip_verify;
  out.tls.cert_file = out.tls.key_file = CurrentPath(store);
  out.tls.files_may_come_later = true;  // the store may be empty yet
  return out;
}

Status WriteKubeconfig(const std::string& path, const client::Config& config) {
  json cluster = {{"server", config.server}};
  if (config.tls.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
  if (!config.tls.server_name.empty()) cluster["tls-server-name"] = config.tls.server_name;
  if (!config.tls.ca_pem.empty()) cluster["certificate-authority-data"] = Base64Encode(config.tls.ca_pem);
  // JSON is YAML.
  const json text = {
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", {{{"name", "default-cluster"}, {"cluster", cluster}}}},
      {"users",
       {{{"name", "default-auth"},
         {"user", {{"client-certificate", config.tls.cert_file}, {"client-key", config.tls.key_file}}}}}},
      {"contexts",
       {{{"name", "default-context"},
         {"context", {{"cluster", "default-cluster"}, {"user", "default-auth"}, {"namespace", "default"}}}}}},
      {"current-context", "default-context"}};
  return WriteFileAtomic(path, text.dump(2) + "\n", 0600);
}

// A server that does not come up is asked all the same: what it then says is the error.
Task<void> WaitForServer(std::shared_ptr<client::Rest> rest, Clock& clock) {
  for (const SteadyTime until = clock.Steady() + std::chrono::minutes(1); clock.Steady() < until;) {
    client::RawRequest request;
    request.target = "/healthz";
    request.timeout = seconds(1);
    auto answer = co_await rest->Raw(std::move(request));
    if (absl::IsCancelled(answer.status())) co_return;
    if (answer.ok() && answer->status / 100 == 2) co_return;
    LOG_INFO("Failed to connect to apiserver",
             {"err", answer.ok() ? absl::StrCat("status ", answer->status) : answer.status().ToString()});
    if (absl::IsCancelled(co_await clock.Sleep(seconds(2)))) co_return;
  }
  LOG_INFO("Error waiting for apiserver to come up", {"err", "timed out waiting to connect to apiserver"});
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

Status StorePair(const RotationOptions& store, const KeyPair& pair, WallTime now) {
  ASSIGN_OR_RETURN(const bool matches, CertificateMatchesKey(pair.cert_pem, pair.key_pem), "the certificate");
  if (!matches) return InvalidArgument("tls: private key does not match public key");
  RETURN_IF_ERROR(MakeDirs(store.dir, 0755));
  const time_t seconds_now = std::chrono::system_clock::to_time_t(now);
  struct tm tm {};
  gmtime_r(&seconds_now, &tm);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y-%m-%d-%H-%M-%S", &tm);
  const std::string file = JoinPath(store.dir, absl::StrCat(store.name, "-", stamp, ".pem"));
  const std::string pem = absl::StrCat(pair.cert_pem, pair.cert_pem.ends_with('\n') ? "" : "\n", pair.key_pem);
  RETURN_IF_ERROR(WriteFileAtomic(file, pem, 0600));
  // The link changes in one step: whoever reads it finds the old pair or the new one.
  const std::string link = CurrentPath(store), next = link + ".updated";
  unlink(next.c_str());
  if (symlink(file.c_str(), next.c_str()) != 0) return ErrnoStatus(errno, next);
  if (rename(next.c_str(), link.c_str()) != 0) return ErrnoStatus(errno, link);
  LOG_INFO("Certificate rotated", {"path", file});
  return absl::OkStatus();
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
      jitter_(static_cast<double>(static_cast<uint8_t>(RandomBytes(1)[0])) / 255) {
  if (Status s = RecoverStore(options_); !s.ok()) LOG_ERROR(s, "Cannot recover a certificate store");
}

std::string CertificateRotator::current_path() const { return CurrentPath(options_); }

std::optional<CertificateInfo> CertificateRotator::Current() const { return ValidPair(options_, clock_.Now()); }

WallTime CertificateRotator::RenewalTime() const {
  const auto info = ReadPair(current_path());
  if (!info.ok()) return WallTime{};
  const auto life = info->not_after - info->not_before;
  return info->not_before + std::chrono::duration_cast<WallTime::duration>(life * (0.7 + 0.2 * jitter_));
}

CertificateRequest CertificateRotator::Wanted() const {
  CertificateRequest out = options_.subject;
  if (options_.names) options_.names(&out);
  return out;
}

bool CertificateRotator::LacksNames() const {
  const CertificateRequest wanted = Wanted();
  if (options_.names && wanted.ip_addresses.empty()) return false;
  // Whoever signs may leave some out: asking over and over would not help.
  if (asked_ && asked_->dns_names == wanted.dns_names && asked_->ip_addresses == wanted.ip_addresses) return false;
  const auto info = ReadPair(current_path());
  if (!info.ok()) return false;
  return wanted.common_name != info->common_name || !AllIn(wanted.organizations, info->organizations) ||
         !AllIn(wanted.dns_names, info->dns_names) || !AllIn(wanted.ip_addresses, info->ip_addresses);
}

Task<Status> CertificateRotator::Renew() {
  CertificateRequest subject = Wanted();
  if (options_.names && subject.ip_addresses.empty()) {
    co_return FailedPrecondition("the node has no address yet that a serving certificate could be for");
  }
  asked_ = subject;
  Status status = co_await Ask(std::move(subject));
  if (!status.ok() && !absl::IsCancelled(status) && options_.errors != nullptr) options_.errors->Inc();
  co_return status;
}

Task<Status> CertificateRotator::Ask(CertificateRequest subject) {
  CO_ASSIGN_OR_RETURN(const std::string key, GenerateKey(false));
  CO_ASSIGN_OR_RETURN(const std::string csr, MakeCsr(subject, key));
  const auto current = Current();
  std::shared_ptr<client::Rest> rest = rest_;
  if (options_.first_client && !current) {
    CO_ASSIGN_OR_RETURN(rest, options_.first_client());
  }
  json request = {{"kind", "CertificateSigningRequest"},
                  {"apiVersion", "certificates.k8s.io/v1"},
                  {"metadata", {{"generateName", "csr-"}}},
                  {"spec",
                   {{"request", Base64Encode(csr)},
                    {"signerName", options_.signer},
                    {"usages", {"digital signature", subject.server_auth ? "server auth" : "client auth"}}}}};
  int http_status = 0;
  auto made = co_await Call(rest, "POST", kRequests, request.dump(), &http_status);
  if (!made.ok()) {
    server_answers_ = http_status == 401 || http_status == 403 || http_status == 404;
    co_return Annotate(made.status(), "cannot create certificate signing request");
  }
  const std::string name = made->contains("metadata") ? Text((*made)["metadata"], "name") : "";
  if (name.empty()) co_return Unavailable("the API server gave the certificate signing request no name");
  VLOG(1, "Waiting for certificate signing request", {"csr", name}, {"signer", options_.signer});
  const SteadyTime until = clock_.Steady() + options_.patience;
  while (clock_.Steady() < until) {
    auto seen = co_await Call(rest, "GET", absl::StrCat(kRequests, "/", name), "", &http_status);
    if (absl::IsCancelled(seen.status())) co_return seen.status();
    if (seen.ok()) {
      CO_ASSIGN_OR_RETURN(auto certificate, Outcome(*seen));
      if (certificate) {
        CO_RETURN_IF_ERROR(StorePair(options_, {*std::move(certificate), key}, clock_.Now()), "the issued certificate");
        server_answers_ = true;
        if (current && options_.lives != nullptr) {
          options_.lives->Observe(std::chrono::duration<double>(clock_.Now() - current->not_before).count());
        }
        co_return absl::OkStatus();
      }
    }
    CO_RETURN_IF_ERROR(co_await clock_.Sleep(options_.poll));
    const CertificateRequest now = Wanted();
    if (now.dns_names != subject.dns_names || now.ip_addresses != subject.ip_addresses) {
      co_return absl::AbortedError(absl::StrCat("certificate request ", name, " is for names that have changed"));
    }
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
  bool just_issued = false, at_once = options_.at_once;
  while (!co_await IsCancelled()) {
    const WallTime renewal = RenewalTime();
    const auto left = LeftOfLife(just_issued);
    const SteadyTime due = clock_.Steady() + left;
    const WallTime due_wall = clock_.Now() + std::chrono::duration_cast<WallTime::duration>(left);
    bool replaced = false;  // by somebody else
    while (!at_once && !replaced && !LacksNames() && clock_.Steady() < due && clock_.Now() < due_wall) {
      // Woken often enough for a clock that is set, and for an address that is new.
      const auto often = options_.names ? std::chrono::nanoseconds(seconds(10)) : std::chrono::minutes(10);
      const auto wait = std::min<std::chrono::nanoseconds>(due - clock_.Steady(), often);
      if (absl::IsCancelled(co_await clock_.Sleep(wait))) co_return;
      replaced = RenewalTime() != renewal;
    }
    just_issued = false;
    if (replaced) continue;
    if (options_.names && Wanted().ip_addresses.empty()) {
      if (absl::IsCancelled(co_await clock_.Sleep(seconds(1)))) co_return;
      continue;
    }
    const Status renewed = co_await Renew();
    if (absl::IsCancelled(renewed)) co_return;
    just_issued = renewed.ok();
    if (renewed.ok()) {
      at_once = false;
      pause = seconds(2);
      continue;
    }
    LOG_ERROR(renewed, "Cannot renew a certificate", {"name", options_.name});
    if (absl::IsCancelled(co_await clock_.Sleep(pause))) co_return;
    at_once = RenewalTime() == renewal;
    // A node that cannot do anything without it waits for the end of this.
    pause = std::min<std::chrono::nanoseconds>(pause * 2, seconds(32));
  }
}

bool KubeconfigUsable(const std::string& path, WallTime now) {
  auto config = client::LoadKubeconfig(path);
  if (!config.ok()) return false;
  const auto pair = PairOf(*config);
  if (!pair.ok() || pair->cert_pem.empty()) return false;
  const auto matches = CertificateMatchesKey(pair->cert_pem, pair->key_pem);
  if (!matches.ok() || !*matches) return false;
  const auto info = ReadCertificate(pair->cert_pem);
  return info.ok() && info->not_after > now;
}

StatusOr<RotatedAccess> PrepareRotation(const std::string& kubeconfig, const std::string& bootstrap_kubeconfig,
                                        RotationOptions* rotation, WallTime now) {
  RotatedAccess out;
  RETURN_IF_ERROR(RecoverStore(*rotation), "failed to initialize client certificate store");
  if (!bootstrap_kubeconfig.empty() && !KubeconfigUsable(kubeconfig, now)) {
    ASSIGN_OR_RETURN(out.first, client::LoadKubeconfig(bootstrap_kubeconfig), "unable to load bootstrap kubeconfig");
    out.api = ByStore(out.first, *rotation);
    RETURN_IF_ERROR(WriteKubeconfig(kubeconfig, out.api));
    return out;
  }
  ASSIGN_OR_RETURN(out.first, client::LoadKubeconfig(kubeconfig), "unable to load kubeconfig");
  out.api = ByStore(out.first, *rotation);
  if (!ValidPair(*rotation, now)) {
    ASSIGN_OR_RETURN(const KeyPair pair, PairOf(out.first), "unable to load kubeconfig");
    if (!pair.cert_pem.empty() && out.first.tls.cert_file != out.api.tls.cert_file) {
      RETURN_IF_ERROR(StorePair(*rotation, pair, now), "failed to initialize client certificate manager");
    }
    rotation->at_once = !out.first.tls.pair.cert_pem.empty();
  }
  return out;
}

Task<Status> AwaitLostCertificate(const CertificateRotator& rotator, Clock& clock) {
  SteadyTime last = clock.Steady();
  for (;;) {
    CO_RETURN_IF_ERROR(co_await clock.Sleep(seconds(10)));
    if (rotator.Current()) {
      last = clock.Steady();
    } else if (clock.Steady() - last > std::chrono::minutes(5)) {
      if (rotator.server_answers()) {
        co_return absl::UnauthenticatedError(
            "No valid client certificate is found and the server is responsive, exiting.");
      }
      LOG_ERROR(absl::UnavailableError("certificate requests are not answered"),
                "No valid client certificate is found but the server is not responsive. A restart may be necessary to "
                "retrieve new initial credentials.");
    }
  }
}

double CertificateTtl(const CertificateRotator& rotator, WallTime now) {
  const auto current = rotator.Current();
  if (!current) return std::numeric_limits<double>::infinity();
  return std::trunc(std::chrono::duration<double>(current->not_after - now).count());
}

Task<Status> Bootstrap(asio::any_io_executor executor, const std::string& bootstrap_kubeconfig,
                       const std::string& kubeconfig, const std::string& dir, const std::string& node_name,
                       Clock& clock) {
  LOG_INFO("Using bootstrap kubeconfig to generate TLS client cert, key and kubeconfig file");
  CO_ASSIGN_OR_RETURN(const client::Config config, client::LoadKubeconfig(bootstrap_kubeconfig),
                      "unable to load bootstrap kubeconfig");
  CO_ASSIGN_OR_RETURN(auto rest, client::Rest::Make(executor, config),
                      "unable to create certificates signing request client");
  co_await WaitForServer(rest, clock);
  RotationOptions options = ClientRotation(dir, node_name);
  options.patience = std::chrono::hours(1);
  CertificateRotator rotator(std::move(rest), clock, options);
  CO_RETURN_IF_ERROR(co_await rotator.Renew(), "failed to run Kubelet");
  co_return WriteKubeconfig(kubeconfig, ByStore(config, options));
}

}  // namespace skiff::kubelet
