#include "kubelet/server/flagz.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace skiff::kubelet {
namespace {

struct Row {
  enum Kind { kPlain, kBool, kList };
  std::string_view name;
  Kind kind;
  std::string_view value;  // where it was not given
};

constexpr Row kRows[] = {
    {"address", Row::kPlain, "0.0.0.0"},
    {"allowed-unsafe-sysctls", Row::kList, "[]"},
    {"anonymous-auth", Row::kBool, "true"},
    {"application-metrics-count-limit", Row::kPlain, "100"},
    {"authentication-token-webhook", Row::kBool, "false"},
    {"authentication-token-webhook-cache-ttl", Row::kPlain, "2m0s"},
    {"authorization-mode", Row::kPlain, "AlwaysAllow"},
    {"authorization-webhook-cache-authorized-ttl", Row::kPlain, "5m0s"},
    {"authorization-webhook-cache-unauthorized-ttl", Row::kPlain, "30s"},
    {"boot-id-file", Row::kPlain, "/proc/sys/kernel/random/boot_id"},
    {"bootstrap-kubeconfig", Row::kPlain, ""},
    {"cert-dir", Row::kPlain, "/var/lib/kubelet/pki"},
    {"cgroup-driver", Row::kPlain, "cgroupfs"},
    {"cgroup-root", Row::kPlain, ""},
    {"cgroups-per-qos", Row::kBool, "true"},
    {"client-ca-file", Row::kPlain, ""},
    {"cloud-provider", Row::kPlain, ""},
    {"cluster-dns", Row::kList, "[]"},
    {"cluster-domain", Row::kPlain, ""},
    {"config", Row::kPlain, ""},
    {"config-dir", Row::kPlain, ""},
    {"container-hints", Row::kPlain, "/etc/cadvisor/container_hints.json"},
    {"container-log-max-files", Row::kPlain, "5"},
    {"container-log-max-size", Row::kPlain, "10Mi"},
    {"container-runtime-endpoint", Row::kPlain, "unix:///run/containerd/containerd.sock"},
    {"containerd", Row::kPlain, "/run/containerd/containerd.sock"},
    {"containerd-namespace", Row::kPlain, "k8s.io"},
    {"contention-profiling", Row::kBool, "false"},
    {"cpu-cfs-quota", Row::kBool, "true"},
    {"cpu-cfs-quota-period", Row::kPlain, "100ms"},
    {"cpu-manager-policy", Row::kPlain, "none"},
    {"cpu-manager-policy-options", Row::kPlain, ""},
    {"cpu-manager-reconcile-period", Row::kPlain, "10s"},
    {"enable-controller-attach-detach", Row::kBool, "true"},
    {"enable-debugging-handlers", Row::kBool, "true"},
    {"enable-load-reader", Row::kBool, "false"},
    {"enable-server", Row::kBool, "true"},
    {"enforce-node-allocatable", Row::kList, "[pods]"},
    {"event-burst", Row::kPlain, "100"},
    {"event-qps", Row::kPlain, "50"},
    {"event-storage-age-limit", Row::kPlain, "default=0"},
    {"event-storage-event-limit", Row::kPlain, "default=0"},
    {"eviction-hard", Row::kPlain, ""},
    {"eviction-max-pod-grace-period", Row::kPlain, "0"},
    {"eviction-minimum-reclaim", Row::kPlain, ""},
    {"eviction-pressure-transition-period", Row::kPlain, "5m0s"},
    {"eviction-soft", Row::kPlain, ""},
    {"eviction-soft-grace-period", Row::kPlain, ""},
    {"exit-on-lock-contention", Row::kBool, "false"},
    {"experimental-allocatable-ignore-eviction", Row::kBool, "false"},
    {"experimental-mounter-path", Row::kPlain, ""},
    {"fail-cgroupv1", Row::kBool, "true"},
    {"fail-swap-on", Row::kBool, "true"},
    {"feature-gates", Row::kPlain, ""},
    {"file-check-frequency", Row::kPlain, "20s"},
    {"global-housekeeping-interval", Row::kPlain, "1m0s"},
    {"hairpin-mode", Row::kPlain, "promiscuous-bridge"},
    {"healthz-bind-address", Row::kPlain, "127.0.0.1"},
    {"healthz-port", Row::kPlain, "10248"},
    {"help", Row::kBool, "false"},
    {"hostname-override", Row::kPlain, ""},
    {"housekeeping-interval", Row::kPlain, "10s"},
    {"http-check-frequency", Row::kPlain, "20s"},
    {"image-credential-provider-bin-dir", Row::kPlain, ""},
    {"image-credential-provider-config", Row::kPlain, ""},
    {"image-gc-high-threshold", Row::kPlain, "85"},
    {"image-gc-low-threshold", Row::kPlain, "80"},
    {"image-service-endpoint", Row::kPlain, ""},
    {"kernel-memcg-notification", Row::kBool, "false"},
    {"kube-api-burst", Row::kPlain, "100"},
    {"kube-api-content-type", Row::kPlain, "application/vnd.kubernetes.protobuf"},
    {"kube-api-qps", Row::kPlain, "50"},
    {"kube-reserved", Row::kPlain, ""},
    {"kube-reserved-cgroup", Row::kPlain, ""},
    {"kubeconfig", Row::kPlain, ""},
    {"kubelet-cgroups", Row::kPlain, ""},
    {"local-storage-capacity-isolation", Row::kBool, "true"},
    {"lock-file", Row::kPlain, ""},
    {"log-cadvisor-usage", Row::kBool, "false"},
    {"log-flush-frequency", Row::kPlain, "5s"},
    {"log-json-info-buffer-size", Row::kPlain, "0"},
    {"log-json-split-stream", Row::kBool, "false"},
    {"log-text-info-buffer-size", Row::kPlain, "0"},
    {"log-text-split-stream", Row::kBool, "false"},
    {"logging-format", Row::kPlain, "text"},
    {"machine-id-file", Row::kPlain, "/etc/machine-id,/var/lib/dbus/machine-id"},
    {"make-iptables-util-chains", Row::kBool, "true"},
    {"manifest-url", Row::kPlain, ""},
    {"manifest-url-header", Row::kPlain, ""},
    {"max-housekeeping-interval", Row::kPlain, "15s"},
    {"max-open-files", Row::kPlain, "1000000"},
    {"max-pods", Row::kPlain, "110"},
    {"maximum-dead-containers", Row::kPlain, "-1"},
    {"maximum-dead-containers-per-container", Row::kPlain, "1"},
    {"memory-manager-policy", Row::kPlain, "None"},
    {"minimum-container-ttl-duration", Row::kPlain, "0s"},
    {"minimum-image-ttl-duration", Row::kPlain, "2m0s"},
    {"node-ip", Row::kPlain, ""},
    {"node-labels", Row::kPlain, ""},
    {"node-status-max-images", Row::kPlain, "50"},
    {"node-status-update-frequency", Row::kPlain, "10s"},
    {"oom-score-adj", Row::kPlain, "-999"},
    {"pod-cidr", Row::kPlain, ""},
    {"pod-manifest-path", Row::kPlain, ""},
    {"pod-max-pids", Row::kPlain, "-1"},
    {"pods-per-core", Row::kPlain, "0"},
    {"port", Row::kPlain, "10250"},
    {"protect-kernel-defaults", Row::kBool, "false"},
    {"provider-id", Row::kPlain, ""},
    {"qos-reserved", Row::kPlain, ""},
    {"read-only-port", Row::kPlain, "10255"},
    {"register-node", Row::kBool, "true"},
    {"register-with-taints", Row::kPlain, ""},
    {"registry-burst", Row::kPlain, "10"},
    {"registry-qps", Row::kPlain, "5"},
    {"reserved-cpus", Row::kPlain, ""},
    {"reserved-memory", Row::kPlain, ""},
    {"resolv-conf", Row::kPlain, "/etc/resolv.conf"},
    {"root-dir", Row::kPlain, "/var/lib/kubelet"},
    {"rotate-certificates", Row::kBool, "false"},
    {"rotate-server-certificates", Row::kBool, "false"},
    {"runonce", Row::kBool, "false"},
    {"runtime-cgroups", Row::kPlain, ""},
    {"runtime-request-timeout", Row::kPlain, "2m0s"},
    {"seccomp-default", Row::kBool, "false"},
    {"serialize-image-pulls", Row::kBool, "true"},
    {"storage-driver-buffer-duration", Row::kPlain, "1m0s"},
    {"storage-driver-db", Row::kPlain, "cadvisor"},
    {"storage-driver-host", Row::kPlain, "localhost:8086"},
    {"storage-driver-password", Row::kPlain, "root"},
    {"storage-driver-secure", Row::kBool, "false"},
    {"storage-driver-table", Row::kPlain, "stats"},
    {"storage-driver-user", Row::kPlain, "root"},
    {"streaming-connection-idle-timeout", Row::kPlain, "4h0m0s"},
    {"sync-frequency", Row::kPlain, "1m0s"},
    {"system-cgroups", Row::kPlain, ""},
    {"system-reserved", Row::kPlain, ""},
    {"system-reserved-cgroup", Row::kPlain, ""},
    {"tls-cert-file", Row::kPlain, ""},
    {"tls-cipher-suites", Row::kList, "[]"},
    {"tls-min-version", Row::kPlain, ""},
    {"tls-private-key-file", Row::kPlain, ""},
    {"topology-manager-policy", Row::kPlain, "none"},
    {"topology-manager-policy-options", Row::kPlain, ""},
    {"topology-manager-scope", Row::kPlain, "container"},
    {"v", Row::kPlain, "0"},
    {"version", Row::kPlain, "false"},
    {"vmodule", Row::kPlain, ""},
    {"volume-plugin-dir", Row::kPlain, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"},
    {"volume-stats-agg-period", Row::kPlain, "1m0s"},
};

}  // namespace

std::string FlagzPage(const std::vector<std::string>& arguments) {
  std::map<std::string_view, std::string> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view word = arguments[i];
    if (word == "--") break;
    if (!word.starts_with("-")) continue;
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    const size_t equals = word.find('=');
    std::string name(word.substr(0, equals));
    std::replace(name.begin(), name.end(), '_', '-');
    const Row* row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.name == name; });
    if (row == std::end(kRows)) continue;
    std::string value = equals != std::string_view::npos ? std::string(word.substr(equals + 1))
                        : row->kind == Row::kBool        ? "true"
                        : i + 1 < arguments.size()       ? arguments[++i]
                                                         : "";
    if (row->name == "manifest-url-header") value = "<masked>";  // it carries credentials
    if (row->kind == Row::kList) {
      std::string& list = given[row->name];
      if (!list.empty()) list.pop_back();  // its bracket: repeated lists join
      absl::StrAppend(&list, list.empty() ? "[" : ",", value, "]");
    } else {
      given[row->name] = std::move(value);
    }
  }
  std::string out =
      "\nkubelet flagz\nWarning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
      "guarantees and is for debugging purposes only.\n";
  for (const Row& row : kRows) {
    const auto found = given.find(row.name);
    absl::StrAppend(&out, row.name, " ", found == given.end() ? row.value : std::string_view(found->second), "\n");
  }
  return out;
}

}  // namespace skiff::kubelet
