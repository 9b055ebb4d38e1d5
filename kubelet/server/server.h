// The kubelet's HTTP servers: the API port (10250, TLS, authenticated), the health port (10248, loopback, plain) and,
// if asked for, the read-only port (10255, plain). Paths as in upstream; see docs/kubelet.md. Loop only.
#ifndef SKIFF_KUBELET_SERVER_SERVER_H_
#define SKIFF_KUBELET_SERVER_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "base/http_server.h"
#include "base/metrics.h"
#include "base/tls.h"
#include "base/tls_limits.h"
#include "kubelet/server/auth.h"
#include "kubelet/server/host.h"

namespace skiff::kubelet {

struct KubeletServerOptions {
  std::string root_dir;
  std::string address = "0.0.0.0";
  int port = 10250;  // 0 in tests: any
  std::string healthz_address = "127.0.0.1";
  int healthz_port = 10248;              // 0: off (tests pass -1 for any)
  int read_only_port = 0;                // 0: off (tests pass -1 for any)
  std::string cert_file, key_file;       // empty: self-signed, made once as CERT_DIR/kubelet.crt and kubelet.key
  std::shared_ptr<TlsServerConfig> tls;  // instead of files
  TlsLimits tls_limits;                  // with files
  std::string cert_dir;                  // "": ROOT/pki
  std::string client_ca_file;            // "": certificates authenticate nobody
  std::string hostname;                  // names in a self-signed certificate
  std::vector<std::string> node_ips;
  bool enable_debugging_handlers = true;
  bool enable_system_log_handler = true;
  bool enable_profiling_handler = true;
  bool enable_debug_flags_handler = true;
  std::string system_log_dir = "/var/log/";
  std::string pod_logs_dir = "/var/log/pods";
  std::string flagz;                     // the body of /flagz; "": that page does not exist
  metrics::Registry* metrics = nullptr;  // where requests are counted
  std::chrono::nanoseconds stream_idle_timeout = std::chrono::hours(4);
  std::chrono::nanoseconds sync_frequency = std::chrono::minutes(1);
  AuthOptions auth;
};

class KubeletServer {
 public:
  // `reviewer` null: webhooks answer with an error (there is nobody to ask).
  KubeletServer(asio::any_io_executor executor, KubeletServerOptions options, ServerHost& host, Reviewer* reviewer,
                Clock& clock);
  ~KubeletServer();

  Status Start();  // makes certificates, binds the ports
  Task<void> Shutdown(std::chrono::nanoseconds grace);
  uint16_t port() const;
  uint16_t healthz_port() const;
  uint16_t read_only_port() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_SERVER_H_
