// The proxy's configuration: upstream's flags and KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) in one
// structure, with defaults, reading, writing and validation. A configuration file replaces every flag but
// --hostname-override, those about logs and our own. Used at start; not thread-safe.
//
// Fields that steer iptables, IPVS, nftables or Windows are read, checked and shown, and steer nothing here, but for
// upstream's differences between its modes that services show: nftables answers NodePorts on the node's primary
// addresses only, unless told otherwise, and no mode but iptables answers them on 127.0.0.1.
#ifndef SKIFF_PROXY_CONFIG_H_
#define SKIFF_PROXY_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/feature_gates.h"
#include "base/flags.h"
#include "base/status.h"

namespace skiff::proxy {

struct Config {
  using Duration = std::chrono::nanoseconds;
  // clientConnection
  std::string kubeconfig, accept_content_types, content_type = "application/vnd.kubernetes.protobuf";
  double qps = 5;
  int32_t burst = 10;
  // logging
  std::string log_format = "text", log_text_buffer = "0", log_json_buffer = "0";
  Duration log_flush = std::chrono::seconds(5);
  int32_t verbosity = 0;
  bool log_text_split = false, log_json_split = false;

  std::map<std::string, bool> feature_gates;
  std::string hostname_override, bind_address = "0.0.0.0";
  std::string healthz_bind_address, metrics_bind_address;  // defaulted from bind_address
  bool bind_address_hard_fail = false, enable_profiling = false;
  std::string show_hidden_metrics, mode = "ebpf";

  struct Masquerade {
    int32_t bit = 14;
    bool all = false;
    Duration sync_period = std::chrono::seconds(30), min_sync_period = std::chrono::seconds(1);
    bool min_sync_given = false;  // the operator named it, be it the default's value
  };
  Masquerade iptables, nftables;
  bool localhost_node_ports = true;
  struct Ipvs {
    Duration sync_period = std::chrono::seconds(30), min_sync_period = std::chrono::seconds(0);
    std::string scheduler;
    std::vector<std::string> exclude_cidrs;
    bool strict_arp = false;
    Duration tcp_timeout{0}, tcp_fin_timeout{0}, udp_timeout{0};
  } ipvs;
  struct Winkernel {
    std::string network_name, source_vip, root_hns_endpoint_name;
    bool enable_dsr = false, forward_health_check_vip = false;
  } winkernel;

  std::string detect_local_mode = "ClusterCIDR", bridge_interface, interface_name_prefix, cluster_cidr;
  std::vector<std::string> node_port_addresses;
  int32_t oom_score_adj = -999;
  struct Conntrack {
    int32_t max_per_core = 32768, min = 131072;
    Duration tcp_established = std::chrono::hours(24), tcp_close_wait = std::chrono::hours(1);
    bool tcp_be_liberal = false;
    Duration udp{0}, udp_stream{0};
  } conntrack;
  Duration config_sync_period = std::chrono::minutes(15);
  std::string port_range;
  bool windows_run_as_service = false;

  // Reads a KubeProxyConfiguration in JSON or YAML over the present values. Unknown fields warn in the log, as upstream
  // reads this version leniently; wrong types, another kind or version are errors.
  Status Read(std::string_view text);
  // The object as /configz shows it and --write-config-to writes it.
  nlohmann::json ToJson() const;
  // What a configuration file left empty.
  void Default();
  // Defaults that depend on the mode; settings of other modes are cleared.
  void Complete();
  // Whether NodePorts answer on 127.0.0.1: upstream's iptables mode, unless iptables.localhostNodePorts says no.
  bool localhost() const { return localhost_node_ports && mode != "nftables" && mode != "ipvs"; }
  // How long between full passes, which is what the health check's patience follows; of the mode's own section.
  Duration sync_period() const;
  Duration min_sync_period() const;
  // The least time between two passes: minSyncPeriod where the operator named one. Upstream's default of a second,
  // which spares it work that costs microseconds here, is not waited for.
  Duration pace() const;
  // Upstream's checks and words, in its order; several problems are joined as upstream joins them. One more mode (ebpf)
  // and port 0 are allowed.
  Status Validate() const;
  Status ValidateLogs() const;  // those about logs come before all others

 private:
  using Ref = std::variant<std::string*, bool*, int32_t*, double*, Duration*, std::vector<std::string>*,
                           std::map<std::string, bool>*>;
  struct Field {
    std::string path;
    Ref ref;
    bool omit_empty = false;
  };
  std::vector<Field> Fields();
};

std::string HostPort(const std::string& ip, int port);  // "10.0.0.1:80", "[fd00::1]:80"

// What the command line says beside Config (command_line.cc).
struct CommandLine {
  Config config;
  api::FeatureGates gates;
  std::string config_file, master, write_config_to, hostname_override;
  std::string bpf_dir = "/sys/fs/bpf/kube-proxy", cgroup;
  std::vector<std::string> packet_devices;
  bool pod_packets = true, direct_return = false, xdp = false;  // PathOptions
  std::string load_balancing = "random";                        // or "maglev"
  int32_t maglev_table_size = 1021;
  bool cleanup = false, init_only = false;
  bool take_over = true;                                   // remove the rules of another kube-proxy
  bool show = false;                                       // the command `kube-proxy show`
  std::vector<std::string> show_what;                      // its arguments
  std::string version;                                     // "", "true", "raw", "vX.Y.Z"
  std::vector<std::pair<std::string, std::string>> flags;  // name and value of each, for /flagz

  // Parses, loads the configuration file, completes and validates. kCancelled with the text to print for --help.
  static StatusOr<CommandLine> Parse(int argc, const char* const* argv);
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_CONFIG_H_
