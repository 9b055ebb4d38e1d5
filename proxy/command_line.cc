// The flags of kube-proxy: upstream's by name, type, default and message, and our own.
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/go_text.h"
#include "proxy/address.h"
#include "proxy/config.h"

namespace skiff::proxy {

namespace {

void AddAddress(FlagSet& flags, std::string_view name, std::string* value, std::string_view help) {
  flags.Custom(name, "ip", *value, help, [value](std::string_view text) -> Status {
    if (text.empty()) return absl::OkStatus();
    if (!ParseAddress(text)) return InvalidArgument(GoQuote(text), " is not a valid IP address");
    *value = text;
    return absl::OkStatus();
  });
}

// "ip" or "ip:port".
void AddAddressPort(FlagSet& flags, std::string_view name, std::string* value, std::string_view help) {
  flags.Custom(name, "ipport", *value, help, [value](std::string_view text) -> Status {
    if (text.empty()) return absl::OkStatus();
    if (!ParseAddress(text)) {
      size_t colon = text.rfind(':');
      if (colon == std::string_view::npos) {
        return InvalidArgument(GoQuote(text), " is not in a valid format (ip or ip:port): address ", text,
                               ": missing port in address");
      }
      std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
      if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
      } else if (host.find(':') != std::string_view::npos) {
        return InvalidArgument(GoQuote(text), " is not in a valid format (ip or ip:port): address ", text,
                               ": too many colons in address");
      }
      if (!ParseAddress(host)) return InvalidArgument(GoQuote(host), " is not a valid IP address");
      uint32_t number = 0;
      if (!absl::SimpleAtoi(port, &number) || number > 65535) {
        return InvalidArgument(GoQuote(port), " is not a valid number");
      }
    }
    *value = text;
    return absl::OkStatus();
  });
}

// A string whose type has a name of its own in --help.
void AddNamed(FlagSet& flags, std::string_view name, std::string_view type, std::string* value, std::string_view help) {
  flags.Custom(name, type, *value, help, [value](std::string_view text) {
    *value = text;
    return absl::OkStatus();
  });
}

// Flags about logs win over the file.
void CopyLogs(const FlagSet& flags, const Config& from, Config* to) {
  if (flags.Changed("v")) to->verbosity = from.verbosity;
  if (flags.Changed("logging-format")) to->log_format = from.log_format;
  if (flags.Changed("log-flush-frequency")) to->log_flush = from.log_flush;
  if (flags.Changed("log-text-split-stream")) to->log_text_split = from.log_text_split;
  if (flags.Changed("log-text-info-buffer-size")) to->log_text_buffer = from.log_text_buffer;
  if (flags.Changed("log-json-split-stream")) to->log_json_split = from.log_json_split;
  if (flags.Changed("log-json-info-buffer-size")) to->log_json_buffer = from.log_json_buffer;
}

}  // namespace

StatusOr<CommandLine> CommandLine::Parse(int argc, const char* const* argv) {
  CommandLine out;
  Config& c = out.config;
  FlagSet flags("kube-proxy",
                "The service proxy of a node: connections to Services go to their endpoints, by eBPF programs at "
                "sockets. `kube-proxy show` prints the services as the kernel has them.");
  flags.String("config", &out.config_file, "The path to the configuration file; it replaces the other flags.");
  c.Default();
  AddAddress(flags, "bind-address", &c.bind_address,
             "The address whose family decides the servers' default addresses.");
  flags.Bool("bind-address-hard-fail", &c.bind_address_hard_fail, "Exit when a server's port cannot be bound.");
  flags.String("kubeconfig", &c.kubeconfig, "File with credentials and location of the API server.");
  flags.String("master", &out.master, "The URL of the API server, instead of the kubeconfig's.");
  flags.String("hostname-override", &out.hostname_override, "The node's name, instead of the host's.");
  flags.String("cluster-cidr", &c.cluster_cidr, "The pods' addresses in the cluster (one, or one a family).");
  AddNamed(flags, "proxy-mode", "ProxyMode", &c.mode, "ebpf; upstream's modes are accepted and mean the same here.");
  flags.Strings("nodeport-addresses", &c.node_port_addresses, "CIDRs of the node addresses that answer NodePorts.");
  AddAddressPort(flags, "healthz-bind-address", &c.healthz_bind_address,
                 "Address and port of the health check server.");
  AddAddressPort(flags, "metrics-bind-address", &c.metrics_bind_address, "Address and port of the metrics server.");
  flags.Double("kube-api-qps", &c.qps, "Requests a second to the API server.");
  flags.Int32("kube-api-burst", &c.burst, "Requests to the API server at once.");
  flags.String("kube-api-content-type", &c.content_type, "Content type of requests to the API server.");
  flags.Duration("config-sync-period", &c.config_sync_period, "Accepted; the watches need no refresh.");
  flags.Bool("cleanup", &out.cleanup, "Remove the kernel programs and maps, and upstream's rules, and exit.");
  flags.Bool("init-only", &out.init_only, "Do what needs full privileges (load the kernel programs), and exit.");
  flags.String("write-config-to", &out.write_config_to, "Write the configuration to this file and exit.");
  flags.Int32("oom-score-adj", &c.oom_score_adj, "The oom-score-adj of this process, in [-1000, 1000].");
  flags.Bool("profiling", &c.enable_profiling, "Serve /debug/flags/v (the log's verbosity) with the metrics.");
  flags.String("show-hidden-metrics-for-version", &c.show_hidden_metrics, "Accepted.");
  AddNamed(flags, "detect-local-mode", "LocalMode", &c.detect_local_mode,
           "Which sources are pods: what others send to endpoints on other nodes is masqueraded.");
  flags.String("pod-bridge-interface", &c.bridge_interface,
               "The bridge whose ports are pods, for --detect-local-mode=BridgeInterface.");
  flags.String("pod-interface-name-prefix", &c.interface_name_prefix,
               "What names of pods' devices begin with, for --detect-local-mode=InterfaceNamePrefix.");
  flags.Custom("feature-gates", "mapStringBool", "", "name=bool pairs of feature gates.",
               [&c](std::string_view text) -> Status {
                 for (absl::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
                   size_t eq = pair.find('=');
                   if (eq == absl::string_view::npos) {
                     return InvalidArgument("malformed pair, expect string=bool");
                   }
                   std::string name(absl::StripAsciiWhitespace(pair.substr(0, eq)));
                   std::string value(absl::StripAsciiWhitespace(pair.substr(eq + 1)));
                   auto on = GoParseBool(value);
                   if (!on.ok()) {
                     return InvalidArgument("invalid value of ", name, ": ", value, ", err: ", on.status().message());
                   }
                   c.feature_gates[name] = *on;
                 }
                 return absl::OkStatus();
               });
  // Steering of upstream's other modes.
  std::string machine_id = "/etc/machine-id,/var/lib/dbus/machine-id", boot_id = "/proc/sys/kernel/random/boot_id";
  std::string vmodule;
  flags.String("boot-id-file", &boot_id, "Accepted.");
  flags.String("machine-id-file", &machine_id, "Accepted.");
  flags.Bool("masquerade-all", &c.iptables.all, "Endpoints see the node, whoever sends packets to services.");
  flags.Int32("iptables-masquerade-bit", &c.iptables.bit, "Accepted.");
  flags.Bool("iptables-localhost-nodeports", &c.localhost_node_ports, "NodePorts answer on 127.0.0.1 too.");
  flags.Duration("iptables-sync-period", &c.iptables.sync_period, "Accepted.");
  flags.Duration("iptables-min-sync-period", &c.iptables.min_sync_period,
                 "The least time between two passes, where it is not the default.");
  // Upstream's flag and its configuration file differ in this default.
  Config::Duration ipvs_min = std::chrono::seconds(1);
  flags.Duration("ipvs-sync-period", &c.ipvs.sync_period, "Accepted.");
  flags.Duration("ipvs-min-sync-period", &ipvs_min, "Accepted.");
  flags.String("ipvs-scheduler", &c.ipvs.scheduler, "Accepted.");
  flags.Strings("ipvs-exclude-cidrs", &c.ipvs.exclude_cidrs, "Accepted.");
  flags.Bool("ipvs-strict-arp", &c.ipvs.strict_arp, "Accepted.");
  flags.Duration("ipvs-tcp-timeout", &c.ipvs.tcp_timeout, "Accepted.");
  flags.Duration("ipvs-tcpfin-timeout", &c.ipvs.tcp_fin_timeout, "Accepted.");
  flags.Duration("ipvs-udp-timeout", &c.ipvs.udp_timeout, "Accepted.");
  flags.Int32("conntrack-max-per-core", &c.conntrack.max_per_core,
              "Sets nf_conntrack_max, for the node's other traffic (0: leave it).");
  flags.Int32("conntrack-min", &c.conntrack.min, "The least nf_conntrack_max, whatever the number of cores.");
  flags.Duration("conntrack-tcp-timeout-established", &c.conntrack.tcp_established,
                 "Sets nf_conntrack_tcp_timeout_established (0: leave it).");
  flags.Duration("conntrack-tcp-timeout-close-wait", &c.conntrack.tcp_close_wait,
                 "Sets nf_conntrack_tcp_timeout_close_wait (0: leave it).");
  flags.Bool("conntrack-tcp-be-liberal", &c.conntrack.tcp_be_liberal, "Sets nf_conntrack_tcp_be_liberal.");
  flags.Duration("conntrack-udp-timeout", &c.conntrack.udp, "Sets nf_conntrack_udp_timeout (0: leave it).");
  flags.Duration("conntrack-udp-timeout-stream", &c.conntrack.udp_stream,
                 "Sets nf_conntrack_udp_timeout_stream (0: leave it).");
  int32_t healthz_port = 10256, metrics_port = 10249;
  flags.Int32("healthz-port", &healthz_port, "The port of the health check server.");
  flags.Deprecate("healthz-port",
                  "This flag is deprecated and will be removed in a future release. Please use "
                  "--healthz-bind-address instead.");
  flags.Int32("metrics-port", &metrics_port, "The port of the metrics server.");
  flags.Deprecate("metrics-port",
                  "This flag is deprecated and will be removed in a future release. Please use "
                  "--metrics-bind-address instead.");
  flags.Section("data path");
  flags.String("bpf-dir", &out.bpf_dir, "Where maps and links are pinned; a bpffs is mounted there if need be.");
  flags.String("cgroup", &out.cgroup, "Sockets of processes below this cgroup v2 directory are served (default: all).");
  flags.Strings("packet-devices", &out.packet_devices,
                "Network devices that take traffic from outside to NodePorts and external addresses (default: those "
                "with a default route or the node's address, and VXLAN devices).");
  flags.Bool("take-over", &out.take_over,
             "Remove the iptables and nftables rules of another kube-proxy once services are served.");
  flags.Bool("pod-packets", &out.pod_packets,
             "Translate packets of pods whose sockets are out of reach (virtual machines, raw sockets) at their "
             "devices.");
  flags.Bool("direct-server-return", &out.direct_return,
             "Traffic from outside to an endpoint on another node is answered by that node, with the client's address "
             "seen there. On every node or on none.");
  flags.Bool(
      "xdp", &out.xdp,
      "Forward placed connections from outside to endpoints on other nodes at the network drivers that can, past "
      "this node's firewall and captures.");
  flags.String("load-balancing", &out.load_balancing,
               "How packets find an endpoint: random, or maglev (consistent hashing of the client's address and port). "
               "The annotation skiff.dev/load-balancing of a Service goes before.");
  flags.Int32("maglev-table-size", &out.maglev_table_size,
              "Places of a service's Maglev table, rounded up to one of 251, 509, 1021, 2039, 4093, 8191, 16381.");
  flags.Section("logs");
  flags.String("logging-format", &c.log_format, "text or json.");
  flags.Duration("log-flush-frequency", &c.log_flush, "Accepted; lines are written at once.");
  flags.Bool("log-text-split-stream", &c.log_text_split, "Accepted.");
  AddNamed(flags, "log-text-info-buffer-size", "quantity", &c.log_text_buffer, "Accepted.");
  flags.Bool("log-json-split-stream", &c.log_json_split, "Accepted.");
  AddNamed(flags, "log-json-info-buffer-size", "quantity", &c.log_json_buffer, "Accepted.");
  int64_t verbosity = 0;
  flags.Int("v", &verbosity, "Verbosity of the log.", 'v');
  AddNamed(flags, "vmodule", "pattern=N,...", &vmodule, "Accepted.");
  flags.Section("global");
  flags.Custom(
      "version", "version", "false", "--version, --version=raw prints version information and quits.",
      [&out](std::string_view text) -> Status {
        out.version = text == "false" ? "" : std::string(text);
        return absl::OkStatus();
      },
      "true");

  ASSIGN_OR_RETURN(auto rest, flags.Parse(argc, argv));
  if (!rest.empty() && rest[0] == "show") {
    out.show = true;
    out.show_what.assign(rest.begin() + 1, rest.end());
  } else if (!rest.empty()) {
    std::vector<std::string> quoted;
    for (const std::string& arg : rest) quoted.push_back(GoQuote(arg));
    return InvalidArgument("\"kube-proxy\" does not take any arguments, got [", absl::StrJoin(quoted, " "), "]");
  }
  if (!out.version.empty() || out.show) return out;
  if (verbosity < 0 || verbosity > INT32_MAX) {
    return InvalidArgument("invalid argument \"", verbosity, "\" for \"-v, --v\" flag: value out of range");
  }
  c.verbosity = static_cast<int32_t>(verbosity);
  if (!out.config_file.empty()) {
    auto text = ReadFile(out.config_file);
    if (!text.ok()) {
      return absl::Status(text.status().code(), absl::StrCat("failed complete: open ", out.config_file, ": ",
                                                             absl::AsciiStrToLower(strerror(ErrnoOf(text.status())))));
    }
    Config from_file;
    from_file.mode.clear();
    from_file.iptables.min_sync_period = from_file.nftables.min_sync_period = Config::Duration{0};
    RETURN_IF_ERROR(from_file.Read(*text), "failed complete");
    from_file.Default();
    CopyLogs(flags, c, &from_file);
    out.flags = flags.Values();  // the flags' own, as they point to what is replaced now
    c = std::move(from_file);
  } else {
    if (flags.Changed("ipvs-min-sync-period")) c.ipvs.min_sync_period = ipvs_min;
    // Upstream's one setting for all modes.
    c.nftables.all = c.iptables.all;
    c.nftables.sync_period = c.iptables.sync_period;
    c.nftables.min_sync_period = c.iptables.min_sync_period;
    c.nftables.min_sync_given = c.iptables.min_sync_given = flags.Changed("iptables-min-sync-period");
    if (out.write_config_to.empty()) {
      auto deprecated = [](std::string* address, int32_t port) {
        if (port == 0)
          address->clear();
        else if (ParseAddress(*address))
          *address = HostPort(*address, port);
      };
      deprecated(&c.healthz_bind_address, healthz_port);
      deprecated(&c.metrics_bind_address, metrics_port);
    }
  }
  if (out.config_file.empty()) out.flags = flags.Values();
  c.Complete();
  if (!out.hostname_override.empty()) {
    std::string name(absl::StripAsciiWhitespace(out.hostname_override));
    if (name.empty()) return InvalidArgument("failed complete: empty hostname-override is invalid");
    c.hostname_override = absl::AsciiStrToLower(name);
  }
  RETURN_IF_ERROR(out.gates.Set(c.feature_gates), "failed complete");
  RETURN_IF_ERROR(c.ValidateLogs(), "initialize logging");
  RETURN_IF_ERROR(c.Validate(), "failed validate");
  if (out.load_balancing != "random" && out.load_balancing != "maglev") {
    return InvalidArgument("invalid --load-balancing \"", out.load_balancing, "\": must be random or maglev");
  }
  if (out.maglev_table_size < 1 || out.maglev_table_size > 16381) {
    return InvalidArgument("invalid --maglev-table-size ", out.maglev_table_size, ": must be between 1 and 16381");
  }
  return out;
}

}  // namespace skiff::proxy
