// How the kubelet reaches its API server, and the certificates that it renews by itself.
#include "base/files.h"
#include "base/log.h"
#include "kubelet/api_clients.h"
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

void Kubelet::ShowTtl(const std::string& metric, const std::string& help, const CertificateRotator& rotator) {
  registry_.Collector(metric, help, "gauge", [this, &rotator](const metrics::Emit& emit) {
    emit({{}, CertificateTtl(rotator, clock_.Now())});
  });
}

Task<Status> Kubelet::ReachApiServer() {
  client::Config api;
  RotationOptions rotation = ClientRotation(config_.cert_dir, node_name_);
  if (config_.rotate_certificates) {
    // The API server may be one of our static pods: nothing waits for it.
    LOG_INFO("Client rotation is on, will bootstrap in background");
    CO_ASSIGN_OR_RETURN(RotatedAccess access,
                        PrepareRotation(config_.kubeconfig, config_.bootstrap_kubeconfig, &rotation, clock_.Now()));
    api = std::move(access.api);
    rotation.first_client = [this, first = std::move(access.first)] { return client::Rest::Make(executor_, first); };
  } else {
    if (!config_.bootstrap_kubeconfig.empty() && !KubeconfigUsable(config_.kubeconfig, clock_.Now())) {
      CO_RETURN_IF_ERROR(co_await Bootstrap(executor_, config_.bootstrap_kubeconfig, config_.kubeconfig,
                                            config_.cert_dir, node_name_, clock_));
    }
    CO_ASSIGN_OR_RETURN(api, client::LoadKubeconfig(config_.kubeconfig), "invalid kubeconfig");
    // Nobody would ever put it there.
    if (!api.tls.cert_file.empty() && !Exists(api.tls.cert_file)) {
      co_return NotFound("invalid kubeconfig: unable to read client-cert ", api.tls.cert_file);
    }
  }
  CO_ASSIGN_OR_RETURN(const ApiClients clients, MakeApiClients(executor_, api, config_));
  rest_ = clients.general;
  heartbeats_ = clients.heartbeats;
  auto recorder = std::make_unique<client::EventRecorder>(clients.events, "kubelet", node_name_);
  recorder_ = recorder.get();
  events_ = std::move(recorder);
  if (config_.rotate_certificates) {
    rotation.errors = &registry_
                           .Counters("kubelet_certificate_manager_client_expiration_renew_errors",
                                     "[ALPHA] Counter of certificate renewal errors.")
                           .With({});
    client_rotator_ = std::make_unique<CertificateRotator>(rest_, clock_, std::move(rotation));
    ShowTtl("kubelet_certificate_manager_client_ttl_seconds",
            "[ALPHA] Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds "
            "until certificate expiry (negative if already expired). If client certificate is invalid or unused, the "
            "value will be +INF.",
            *client_rotator_);
  }
  co_return absl::OkStatus();
}

void Kubelet::MakeServingRotator(KubeletServerOptions* server) {
  RotationOptions rotation = ServerRotation(config_.cert_dir, node_name_, [this](CertificateRequest* request) {
    ServingNames(agent_->node().status(), request);
  });
  rotation.errors =
      &registry_.Counters("kubelet_server_expiration_renew_errors", "[ALPHA] Counter of certificate renewal errors.")
           .With({});
  rotation.lives =
      &registry_
           .Histograms("kubelet_certificate_manager_server_rotation_seconds",
                       "[ALPHA] Histogram of the number of seconds the previous certificate lived before being "
                       "rotated.",
                       {60, 3600, 14400, 86400, 604800, 2592000, 7776000, 15552000, 31104000, 124416000})
           .With({});
  server_rotator_ = std::make_unique<CertificateRotator>(rest_, clock_, std::move(rotation));
  ShowTtl("kubelet_certificate_manager_server_ttl_seconds",
          "[ALPHA] Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is in "
          "seconds until certificate expiry (negative if already expired). If serving certificate is invalid or "
          "unused, the value will be +INF.",
          *server_rotator_);
  server->tls = AwaitedServerConfig(server_rotator_->current_path(), config_.client_ca_file, config_.tls_limits);
}

}  // namespace skiff::kubelet
