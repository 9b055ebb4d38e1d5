// SSL_CTX from PEM text and from files that rotate.
#include "base/tls.h"

#include <sys/stat.h>

#include <mutex>

#include <openssl/err.h>

#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/log.h"
#include "base/tls_internal.h"
#include "base/tls_limits.h"

namespace skiff {

using tls_internal::CertPtr;
using tls_internal::KeyPtr;
using tls_internal::OpensslError;

namespace {

using ContextPtr = std::shared_ptr<ssl_ctx_st>;

StatusOr<ContextPtr> NewContext(const SSL_METHOD* method) {
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return OpensslError("make TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // Small: no read and write buffers while idle, no session cache and no tickets (connections are kept alive, so
  // resumption would save next to nothing, and resuming a client certificate's session needs care).
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context.get(), 0);
  return context;
}

Status UsePair(SSL_CTX* context, const KeyPair& pair) {
  ASSIGN_OR_RETURN(const auto chain, tls_internal::ParseCertificates(pair.cert_pem), "certificate");
  ASSIGN_OR_RETURN(const KeyPtr key, tls_internal::ParsePrivateKey(pair.key_pem), "private key");
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) return OpensslError("use certificate");
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) return OpensslError("use certificate chain");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return InvalidArgument("tls: private key does not match public key");
  }
  return absl::OkStatus();
}

Status Trust(SSL_CTX* context, const std::string& ca_pem, bool tell_names) {
  ASSIGN_OR_RETURN(const auto authorities, tls_internal::ParseCertificates(ca_pem), "CA");
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const CertPtr& authority : authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return OpensslError("trust CA");
    if (tell_names) SSL_CTX_add_client_CA(context, authority.get());
  }
  // As Go: whatever is in the pool is trusted, be it a root or not (a kubelet's self-signed leaf, for one).
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return absl::OkStatus();
}

// The only protocol spoken here. A client that offers others alone is let in without, as before ALPN.
int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned int in_size,
               void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  const int found =
      SSL_select_next_proto(const_cast<unsigned char**>(out), out_size, kOurs, sizeof kOurs - 1, in, in_size);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

Status Limit(SSL_CTX* context, const TlsLimits& limits) {
  int least = TLS1_VERSION + limits.least_minor_version;
  // OpenSSL's usual security level has no signatures for versions before 1.2: who asks for them knows that.
  if (least < TLS1_2_VERSION) SSL_CTX_set_security_level(context, 0);
  if (!limits.ciphers.empty() && SSL_CTX_set_cipher_list(context, absl::StrJoin(limits.ciphers, ":").c_str()) != 1) {
    ERR_clear_error();
    LOG_WARNING("None of the chosen cipher suites is available: TLS 1.3 alone is served");
    least = TLS1_3_VERSION;
  }
  if (SSL_CTX_set_min_proto_version(context, least) != 1) return OpensslError("set the least TLS version");
  if (!limits.groups.empty() && SSL_CTX_set1_groups_list(context, absl::StrJoin(limits.groups, ":").c_str()) != 1) {
    return OpensslError("set the groups of key exchange");
  }
  return absl::OkStatus();
}

StatusOr<ContextPtr> ServerContext(const KeyPair& pair, const std::string& client_ca_pem, Unverified unverified,
                                   const TlsLimits& limits) {
  ASSIGN_OR_RETURN(ContextPtr context, NewContext(TLS_server_method()));
  RETURN_IF_ERROR(Limit(context.get(), limits));
  RETURN_IF_ERROR(UsePair(context.get(), pair));
  SSL_CTX_set_alpn_select_cb(context.get(), SelectAlpn, nullptr);
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (!client_ca_pem.empty()) {
    RETURN_IF_ERROR(Trust(context.get(), client_ca_pem, true), "client CA");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    tls_internal::SetReportsUnverified(context.get(), unverified == Unverified::kReport);
  }
  return context;
}

StatusOr<ContextPtr> ClientContext(const TlsClientConfig::Options& options, const KeyPair& pair) {
  ASSIGN_OR_RETURN(ContextPtr context, NewContext(TLS_client_method()));
  static constexpr unsigned char kAlpn[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context.get(), kAlpn, sizeof kAlpn - 1);
  if (!pair.cert_pem.empty() || !pair.key_pem.empty()) RETURN_IF_ERROR(UsePair(context.get(), pair));
  if (options.insecure_skip_verify) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
    return context;
  }
  if (options.ca_pem.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    RETURN_IF_ERROR(Trust(context.get(), options.ca_pem, false));
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

// A context made from files, made again when one of them is another file or has another time. A state that cannot be
// loaded (a rotation caught half way, say) keeps the old context and is tried again.
class Reloading {
 public:
  using Make = std::function<StatusOr<ContextPtr>(const std::vector<std::string>& contents)>;
  Reloading(std::vector<std::string> files, std::chrono::nanoseconds every, Make make, bool may_come_later = false)
      : files_(std::move(files)), every_(every), make_(std::move(make)), may_come_later_(may_come_later) {}

  Status Load() {
    const std::lock_guard lock(mutex_);
    return LoadLocked();
  }

  ContextPtr Get() {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ < every_) return context_;
    looked_ = now;
    if (Stamps() == stamps_) return context_;
    const Status status = LoadLocked();
    if (!status.ok()) LOG_ERROR(status, "Failed to load certificates again, keeping the old ones", {"file", files_[0]});
    return context_;
  }

 private:
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };

  std::vector<Stamp> Stamps() const {
    std::vector<Stamp> out;
    for (const std::string& file : files_) {
      struct stat st = {};
      if (!file.empty()) stat(file.c_str(), &st);
      out.push_back({st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec});
    }
    return out;
  }

  Status LoadLocked() {
    const auto stamps = Stamps();  // taken first: a change during the read is then seen next time
    std::vector<std::string> contents;
    for (const std::string& file : files_) {
      contents.emplace_back();
      if (!file.empty() && !(may_come_later_ && !context_ && !Exists(file))) {
        ASSIGN_OR_RETURN(contents.back(), ReadFile(file));
      }
    }
    ASSIGN_OR_RETURN(context_, make_(contents));
    stamps_ = stamps;
    looked_ = std::chrono::steady_clock::now();
    return absl::OkStatus();
  }

  const std::vector<std::string> files_;
  const std::chrono::nanoseconds every_;
  const Make make_;
  const bool may_come_later_;
  std::mutex mutex_;
  ContextPtr context_;
  std::vector<Stamp> stamps_;
  std::chrono::steady_clock::time_point looked_;
};

class FixedServerConfig final : public TlsServerConfig {
 public:
  explicit FixedServerConfig(ContextPtr context) : context_(std::move(context)) {}
  ContextPtr Context() override { return context_; }

 private:
  ContextPtr context_;
};

class FileServerConfig final : public TlsServerConfig {
 public:
  explicit FileServerConfig(std::unique_ptr<Reloading> files) : files_(std::move(files)) {}
  ContextPtr Context() override { return files_->Get(); }

 private:
  std::unique_ptr<Reloading> files_;
};

class ClientConfig final : public TlsClientConfig {
 public:
  ClientConfig(Options options, ContextPtr fixed, std::unique_ptr<Reloading> files)
      : server_name_(options.server_name),
        insecure_(options.insecure_skip_verify),
        fixed_(std::move(fixed)),
        files_(std::move(files)) {}
  ContextPtr Context() override { return files_ ? files_->Get() : fixed_; }
  const std::string& server_name() const override { return server_name_; }
  bool insecure_skip_verify() const override { return insecure_; }

 private:
  std::string server_name_;
  bool insecure_;
  ContextPtr fixed_;
  std::unique_ptr<Reloading> files_;
};

StatusOr<std::shared_ptr<TlsServerConfig>> FileServer(std::vector<std::string> names, Unverified unverified,
                                                      std::chrono::nanoseconds reload_interval, TlsLimits limits) {
  const std::string cert_file = names[0];
  auto files =
      std::make_unique<Reloading>(std::move(names), reload_interval,
                                  [unverified, limits = std::move(limits)](const std::vector<std::string>& contents) {
                                    return ServerContext({contents[0], contents[1]}, contents[2], unverified, limits);
                                  });
  RETURN_IF_ERROR(files->Load(), cert_file);
  return std::make_shared<FileServerConfig>(std::move(files));
}

}  // namespace

StatusOr<std::shared_ptr<TlsServerConfig>> LimitedTlsServer(const std::string& cert_file, const std::string& key_file,
                                                            const std::string& client_ca_file,
                                                            const TlsLimits& limits) {
  return FileServer({cert_file, key_file, client_ca_file}, Unverified::kReport, std::chrono::seconds(2), limits);
}

StatusOr<std::shared_ptr<TlsServerConfig>> TlsServerConfig::Make(const KeyPair& pair, const std::string& client_ca_pem,
                                                                 Unverified unverified) {
  ASSIGN_OR_RETURN(ContextPtr context, ServerContext(pair, client_ca_pem, unverified, {}));
  return std::make_shared<FixedServerConfig>(std::move(context));
}

StatusOr<std::shared_ptr<TlsServerConfig>> TlsServerConfig::FromFiles(const std::string& cert_file,
                                                                      const std::string& key_file,
                                                                      const std::string& client_ca_file,
                                                                      Unverified unverified,
                                                                      std::chrono::nanoseconds reload_interval) {
  return FileServer({cert_file, key_file, client_ca_file}, unverified, reload_interval, {});
}

StatusOr<std::shared_ptr<TlsClientConfig>> TlsClientConfig::Make(Options options) {
  if (options.cert_file.empty() && options.key_file.empty()) {
    ASSIGN_OR_RETURN(ContextPtr context, ClientContext(options, options.pair));
    return std::make_shared<ClientConfig>(std::move(options), std::move(context), nullptr);
  }
  auto files = std::make_unique<Reloading>(
      std::vector<std::string>{options.cert_file, options.key_file}, options.reload_interval,
      [options](const std::vector<std::string>& contents) {
        return ClientContext(options, {contents[0], contents[1]});
      },
      options.files_may_come_later);
  RETURN_IF_ERROR(files->Load(), options.cert_file);
  return std::make_shared<ClientConfig>(std::move(options), nullptr, std::move(files));
}

}  // namespace skiff
