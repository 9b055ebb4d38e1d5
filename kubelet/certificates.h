// Certificates that the kubelet gets and renews by itself, through CertificateSigningRequests: its client certificate
// (rotateCertificates, and the first one by a bootstrap kubeconfig) and its serving certificate (serverTLSBootstrap).
// Whoever signs is the cluster's matter: requests wait until they are approved and signed, or denied. Loop only.
//
// On disk as upstream: DIR/NAME-YYYY-MM-DD-HH-MM-SS.pem holds certificate and key, DIR/NAME-current.pem is a link to
// the one in use. Upstream: kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping.
#ifndef SKIFF_KUBELET_CERTIFICATES_H_
#define SKIFF_KUBELET_CERTIFICATES_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/tls.h"
#include "base/tls_limits.h"
#include "client/rest.h"

namespace skiff::kubelet {

struct RotationOptions {
  std::string dir, name;  // "kubelet-client" or "kubelet-server"
  std::string signer;     // kubernetes.io/kube-apiserver-client-kubelet or kubernetes.io/kubelet-serving
  CertificateRequest subject;
  // The names of the moment, where they may change: dns_names and ip_addresses in place of `subject`'s. A certificate
  // that lacks some is replaced; without any address nothing is asked for yet.
  std::function<void(CertificateRequest*)> names;
  std::chrono::nanoseconds poll = std::chrono::seconds(2);       // how often an open request is looked at
  std::chrono::nanoseconds patience = std::chrono::minutes(15);  // after which another one is made
  // Who asks while there is no valid certificate; unset: the same as ever.
  std::function<StatusOr<std::shared_ptr<client::Rest>>()> first_client;
  bool at_once = false;                 // the certificate in use is not for good
  metrics::Counter* errors = nullptr;   // failed renewals
  metrics::Histogram* lives = nullptr;  // seconds that a replaced certificate was in use
};

// A node's two kinds.
RotationOptions ClientRotation(std::string dir, const std::string& node_name);
RotationOptions ServerRotation(std::string dir, const std::string& node_name,
                               std::function<void(CertificateRequest*)> names);

class CertificateRotator {
 public:
  CertificateRotator(std::shared_ptr<client::Rest> rest, Clock& clock, RotationOptions options);

  std::string current_path() const;
  // The certificate in use, if it has its key and has not expired.
  std::optional<CertificateInfo> Current() const;
  // When the certificate in use is renewed: after 70 to 90 % of its life. In the past where there is none.
  WallTime RenewalTime() const;
  // One request, until its certificate is stored. kPermissionDenied: denied or failed; kDeadlineExceeded: nobody
  // signed.
  Task<Status> Renew();
  // As the last request saw it: it answered, be it with a refusal of our credentials.
  bool server_answers() const { return server_answers_; }
  // Renews in time until cancelled; failures are logged and tried again, ever less often. When a certificate was seen
  // first its time is the wall clock's; from then on whichever clock says first that it has come: the wall clock is
  // set, the steady one stands still while a machine is suspended. However wrong the wall clock is, one that was just
  // issued is neither old nor of the future.
  Task<void> Run();

 private:
  CertificateRequest Wanted() const;
  Task<Status> Ask(CertificateRequest subject);
  // The names have become others than those asked for last, or the subject is another's, and the certificate does not
  // have them.
  bool LacksNames() const;
  // Until the certificate in use is renewed; 0 or less: now.
  std::chrono::nanoseconds LeftOfLife(bool just_issued) const;

  std::shared_ptr<client::Rest> rest_;
  Clock& clock_;
  RotationOptions options_;
  double jitter_;
  std::optional<CertificateRequest> asked_;
  bool server_answers_ = false;
};

// Makes the pair the store's current one.
Status StorePair(const RotationOptions& store, const KeyPair& pair, WallTime now);

// Whether the kubeconfig can be used as it is: it is there, and has a client certificate that has not expired.
bool KubeconfigUsable(const std::string& path, WallTime now);

// How a kubelet that rotates its client certificate reaches the API server.
struct RotatedAccess {
  client::Config api;    // by the store's pair, whatever it is, and by nothing else
  client::Config first;  // what requests are made with while the store has no valid pair
};
// A kubeconfig that can be used hands its certificate to a store that has none; what is written out in it (kubeadm's)
// is renewed at once (`rotation`). Else, where there is a bootstrap kubeconfig, it is written anew and names the store.
StatusOr<RotatedAccess> PrepareRotation(const std::string& kubeconfig, const std::string& bootstrap_kubeconfig,
                                        RotationOptions* rotation, WallTime now);

// Until there has been no valid client certificate for five minutes although the server answers (the reason), or until
// cancelled. The next start may have other credentials.
Task<Status> AwaitLostCertificate(const CertificateRotator& rotator, Clock& clock);

// Seconds until the certificate in use expires; infinite where there is none.
double CertificateTtl(const CertificateRotator& rotator, WallTime now);

// Gets a first client certificate with the bootstrap kubeconfig's credentials and writes a kubeconfig that names it.
// The server is given a minute to come up.
Task<Status> Bootstrap(asio::any_io_executor executor, const std::string& bootstrap_kubeconfig,
                       const std::string& kubeconfig, const std::string& dir, const std::string& node_name,
                       Clock& clock);

// A serving certificate that need not be there yet: until it is, handshakes fail.
std::shared_ptr<TlsServerConfig> AwaitedServerConfig(std::string pem_file, std::string client_ca_file,
                                                     TlsLimits limits = {});

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CERTIFICATES_H_
