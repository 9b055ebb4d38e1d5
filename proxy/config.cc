#include "proxy/config.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/log.h"
#include "proxy/address.h"

namespace skiff::proxy {

namespace {

using nlohmann::json;

constexpr char kKind[] = "KubeProxyConfiguration";
constexpr char kApiVersion[] = "kubeproxy.config.k8s.io/v1alpha1";

std::string WithPort(const std::string& ip, int port) {
  return ip.find(':') == std::string::npos ? absl::StrCat(ip, ":", port) : absl::StrCat("[", ip, "]:", port);
}

struct HostPort {
  std::string host, port;
};
std::optional<HostPort> SplitHostPort(const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  if (host.starts_with("[") && host.ends_with("]"))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string::npos)
    return std::nullopt;
  return HostPort{host, text.substr(colon + 1)};
}

Status WrongType(const std::string& path, const json& value, std::string_view want) {
  return InvalidArgument("json: cannot unmarshal ", value.type_name(), " into Go struct field ", kKind, ".", path,
                         " of type ", want);
}

Status ReadString(const std::string& path, const json& value, std::string* out) {
  if (!value.is_string()) return WrongType(path, value, "string");
  *out = value.get_ref<const std::string&>();
  return absl::OkStatus();
}

}  // namespace

std::vector<Config::Field> Config::Fields() {
  return {
      {"featureGates", &feature_gates, true},
      {"clientConnection.kubeconfig", &kubeconfig},
      {"clientConnection.acceptContentTypes", &accept_content_types},
      {"clientConnection.contentType", &content_type},
      {"clientConnection.qps", &qps},
      {"clientConnection.burst", &burst},
      {"logging.format", &log_format, true},
      {"logging.flushFrequency", &log_flush},
      {"logging.verbosity", &verbosity},
      {"logging.options.text.splitStream", &log_text_split, true},
      {"logging.options.text.infoBufferSize", &log_text_buffer},
      {"logging.options.json.splitStream", &log_json_split, true},
      {"logging.options.json.infoBufferSize", &log_json_buffer},
      {"hostnameOverride", &hostname_override},
      {"bindAddress", &bind_address},
      {"healthzBindAddress", &healthz_bind_address},
      {"metricsBindAddress", &metrics_bind_address},
      {"bindAddressHardFail", &bind_address_hard_fail},
      {"enableProfiling", &enable_profiling},
      {"showHiddenMetricsForVersion", &show_hidden_metrics},
      {"mode", &mode},
      {"iptables.masqueradeBit", &iptables.bit},
      {"iptables.masqueradeAll", &iptables.all},
      {"iptables.localhostNodePorts", &localhost_node_ports},
      {"iptables.syncPeriod", &iptables.sync_period},
      {"iptables.minSyncPeriod", &iptables.min_sync_period},
      {"ipvs.syncPeriod", &ipvs.sync_period},
      {"ipvs.minSyncPeriod", &ipvs.min_sync_period},
      {"ipvs.scheduler", &ipvs.scheduler},
      {"ipvs.excludeCIDRs", &ipvs.exclude_cidrs},
      {"ipvs.strictARP", &ipvs.strict_arp},
      {"ipvs.tcpTimeout", &ipvs.tcp_timeout},
      {"ipvs.tcpFinTimeout", &ipvs.tcp_fin_timeout},
      {"ipvs.udpTimeout", &ipvs.udp_timeout},
      {"nftables.masqueradeBit", &nftables.bit},
      {"nftables.masqueradeAll", &nftables.all},
      {"nftables.syncPeriod", &nftables.sync_period},
      {"nftables.minSyncPeriod", &nftables.min_sync_period},
      {"winkernel.networkName", &winkernel.network_name},
      {"winkernel.sourceVip", &winkernel.source_vip},
      {"winkernel.enableDSR", &winkernel.enable_dsr},
      {"winkernel.rootHnsEndpointName", &winkernel.root_hns_endpoint_name},
      {"winkernel.forwardHealthCheckVip", &winkernel.forward_health_check_vip},
      {"detectLocalMode", &detect_local_mode},
      {"detectLocal.bridgeInterface", &bridge_interface},
      {"detectLocal.interfaceNamePrefix", &interface_name_prefix},
      {"clusterCIDR", &cluster_cidr},
      {"nodePortAddresses", &node_port_addresses},
      {"oomScoreAdj", &oom_score_adj},
      {"conntrack.maxPerCore", &conntrack.max_per_core},
      {"conntrack.min", &conntrack.min},
      {"conntrack.tcpEstablishedTimeout", &conntrack.tcp_established},
      {"conntrack.tcpCloseWaitTimeout", &conntrack.tcp_close_wait},
      {"conntrack.tcpBeLiberal", &conntrack.tcp_be_liberal},
      {"conntrack.udpTimeout", &conntrack.udp},
      {"conntrack.udpStreamTimeout", &conntrack.udp_stream},
      {"configSyncPeriod", &config_sync_period},
      {"portRange", &port_range},
      {"windowsRunAsService", &windows_run_as_service, true},
  };
}

Status Config::Read(std::string_view text) {
  ASSIGN_OR_RETURN(std::string as_json, api::YamlToJson(text));
  ASSIGN_OR_RETURN(json object, api::ParseJson(as_json));
  if (!object.is_object()) return InvalidArgument("couldn't get version/kind; json parse error: not an object");
  std::string kind = object.value("kind", json("")).is_string() ? object.value("kind", "") : "";
  std::string version = object.value("apiVersion", json("")).is_string() ? object.value("apiVersion", "") : "";
  if (kind.empty()) return InvalidArgument("Object 'Kind' is missing in '", as_json, "'");
  if (version.empty()) return InvalidArgument("Object 'apiVersion' is missing in '", as_json, "'");
  if (kind != kKind || version != kApiVersion) {
    return InvalidArgument("no kind \"", kind, "\" is registered for version \"", version, "\" in scheme \"proxy\"");
  }
  object.erase("kind");
  object.erase("apiVersion");

  for (Field& field : Fields()) {
    json* value = &object;
    json* parent = nullptr;
    std::string last;
    bool found = true;
    for (std::string_view part : absl::StrSplit(field.path, '.')) {
      last = std::string(part);
      parent = value;
      if (!value->is_object()) return WrongType(field.path.substr(0, field.path.rfind('.')), *value, "object");
      auto it = value->find(last);
      if (it == value->end()) {
        found = false;
        break;
      }
      value = &*it;
    }
    if (!found) continue;
    Status status = std::visit(
        [&](auto* out) -> Status {
          using T = std::remove_pointer_t<decltype(out)>;
          if (value->is_null()) return absl::OkStatus();
          if constexpr (std::is_same_v<T, std::string>) {
            // Quantities may be numbers.
            if (value->is_number_integer() && field.path.ends_with("infoBufferSize")) {
              *out = value->dump();
              return absl::OkStatus();
            }
            return ReadString(field.path, *value, out);
          } else if constexpr (std::is_same_v<T, bool>) {
            if (!value->is_boolean()) return WrongType(field.path, *value, "bool");
            *out = value->template get<bool>();
          } else if constexpr (std::is_same_v<T, int32_t>) {
            if (!value->is_number_integer()) return WrongType(field.path, *value, "int32");
            auto n = value->template get<int64_t>();
            if (n < INT32_MIN || n > INT32_MAX) return WrongType(field.path, *value, "int32");
            *out = static_cast<int32_t>(n);
          } else if constexpr (std::is_same_v<T, double>) {
            if (!value->is_number()) return WrongType(field.path, *value, "float32");
            *out = value->template get<double>();
          } else if constexpr (std::is_same_v<T, Duration>) {
            if (value->is_number_integer()) {
              *out = Duration(value->template get<int64_t>());
              return absl::OkStatus();
            }
            std::string duration;
            RETURN_IF_ERROR(ReadString(field.path, *value, &duration));
            ASSIGN_OR_RETURN(*out, ParseDuration(duration), field.path);
          } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            if (!value->is_array()) return WrongType(field.path, *value, "[]string");
            out->clear();
            for (const json& item : *value) RETURN_IF_ERROR(ReadString(field.path, item, &out->emplace_back()));
          } else {
            if (!value->is_object()) return WrongType(field.path, *value, "map[string]bool");
            for (const auto& [key, on] : value->items()) {
              if (!on.is_boolean()) return WrongType(absl::StrCat(field.path, ".", key), on, "bool");
              (*out)[key] = on.template get<bool>();
            }
          }
          return absl::OkStatus();
        },
        field.ref);
    RETURN_IF_ERROR(status);
    parent->erase(last);
  }
  // What is left over was not known; objects that only held known fields are empty by now.
  json rest = object.flatten();
  for (const auto& [path, value] : rest.items()) {
    if (value.is_null() || (value.is_object() && value.empty())) continue;
    LOG_WARNING("Using lenient decoding as strict decoding failed",
                {"err", absl::StrCat("unknown field \"", path, "\"")});
  }
  return absl::OkStatus();
}

json Config::ToJson() const {
  json out = {{"kind", kKind}, {"apiVersion", kApiVersion}};
  for (Field& field : const_cast<Config*>(this)->Fields()) {
    json value;
    bool empty = false;
    std::visit(
        [&](auto* in) {
          using T = std::remove_pointer_t<decltype(in)>;
          if constexpr (std::is_same_v<T, Duration>) {
            value = FormatDuration(*in);
          } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            value = in->empty() ? json(nullptr) : json(*in);
          } else if constexpr (std::is_same_v<T, double>) {
            value = *in == static_cast<int64_t>(*in) ? json(static_cast<int64_t>(*in)) : json(*in);
          } else {
            value = *in;
            empty = *in == T{};
          }
        },
        field.ref);
    if (field.omit_empty && empty) continue;
    json* at = &out;
    for (std::string_view part : absl::StrSplit(field.path, '.')) at = &(*at)[std::string(part)];
    *at = std::move(value);
  }
  return out;
}

void Config::Complete() {
  auto ip = ParseAddress(bind_address);
  bool v6 = ip && FamilyOf(*ip) == Family::kIPv6;
  auto complete = [&](std::string* address, const char* v4_host, const char* v6_host, int port) {
    if (address->empty()) {
      *address = WithPort(v6 ? v6_host : v4_host, port);
    } else if (ParseAddress(*address)) {
      *address = WithPort(*address, port);  // an address without a port
    }
  };
  complete(&healthz_bind_address, "0.0.0.0", "::", 10256);
  complete(&metrics_bind_address, "127.0.0.1", "::1", 10249);
  if (mode.empty()) mode = "ebpf";
}

Status Config::Validate() const {
  std::vector<std::string> problems;
  auto invalid = [&](std::string_view field, const auto& value, std::string_view why) {
    std::string text;
    if constexpr (std::is_convertible_v<decltype(value), std::string_view>)
      text = GoQuote(value);
    else
      text = absl::StrCat(value);
    problems.push_back(absl::StrCat("KubeProxyConfiguration.", field, ": Invalid value: ", text, ": ", why));
  };
  auto not_negative = [&](std::string_view field, auto value) {
    if constexpr (std::is_same_v<decltype(value), Duration>) {
      if (value.count() < 0) invalid(field, FormatDuration(value), "must be greater than or equal to 0");
    } else {
      if (value < 0) invalid(field, value, "must be greater than or equal to 0");
    }
  };
  for (const auto& [name, m] :
       {std::pair{"KubeProxyIPTablesConfiguration", iptables}, std::pair{"KubeProxyNFTablesConfiguration", nftables}}) {
    if (m.bit < 0 || m.bit > 31)
      invalid(absl::StrCat(name, ".MasqueradeBit"), m.bit, "must be within the range [0, 31]");
  }
  not_negative("KubeProxyIPVSConfiguration.TCPTimeout", ipvs.tcp_timeout);
  not_negative("KubeProxyIPVSConfiguration.TCPFinTimeout", ipvs.tcp_fin_timeout);
  not_negative("KubeProxyIPVSConfiguration.UDPTimeout", ipvs.udp_timeout);
  not_negative("KubeProxyConntrackConfiguration.MaxPerCore", conntrack.max_per_core);
  not_negative("KubeProxyConntrackConfiguration.Min", conntrack.min);
  not_negative("KubeProxyConntrackConfiguration.TCPEstablishedTimeout", conntrack.tcp_established);
  not_negative("KubeProxyConntrackConfiguration.TCPCloseWaitTimeout", conntrack.tcp_close_wait);
  not_negative("KubeProxyConntrackConfiguration.UDPTimeout", conntrack.udp);
  not_negative("KubeProxyConntrackConfiguration.UDPStreamTimeout", conntrack.udp_stream);
  if (oom_score_adj < -1000 || oom_score_adj > 1000) {
    invalid("OOMScoreAdj", oom_score_adj, "must be within the range [-1000, 1000]");
  }
  static const std::set<std::string> kModes = {"ebpf", "iptables", "ipvs", "nftables"};
  if (!kModes.contains(mode)) {
    invalid("ProxyMode", mode, "must be ebpf, iptables, ipvs, nftables or blank (every one of them means ebpf)");
  }
  if (burst < 0) invalid("ClientConnection.Burst", burst, "must be greater than or equal to 0");
  if (config_sync_period.count() <= 0) {
    invalid("ConfigSyncPeriod", FormatDuration(config_sync_period), "must be greater than 0");
  }
  if (!ParseAddress(bind_address)) {
    invalid("BindAddress", bind_address, "not a valid textual representation of an IP address");
  }
  for (const auto& [name, text] :
       {std::pair{"HealthzBindAddress", healthz_bind_address}, std::pair{"MetricsBindAddress", metrics_bind_address}}) {
    auto parts = SplitHostPort(text);
    if (!parts) {
      invalid(name, text, "must be IP:port");
      continue;
    }
    if (!ParseAddress(parts->host)) invalid(name, parts->host, "must be a valid IP");
    int port = 0;
    // Port 0 (any) is ours, for tests and for several nodes on a machine.
    if (!absl::SimpleAtoi(parts->port, &port) || port < 0 || port > 65535) {
      invalid(name, parts->port, "must be a valid port");
    }
  }
  for (size_t i = 0; i < node_port_addresses.size(); i++) {
    std::string name = absl::StrCat("NodePortAddresses[", i, "]");
    const std::string& text = node_port_addresses[i];
    if (text == "primary") {
      if (node_port_addresses.size() != 1) invalid(name, text, "can't use both 'primary' and CIDRs");
      break;
    }
    if (!ParsePrefix(text)) invalid(name, text, "must be a valid CIDR");
  }
  static const std::set<std::string> kLocal = {"", "BridgeInterface", "ClusterCIDR", "InterfaceNamePrefix", "NodeCIDR"};
  if (!kLocal.contains(detect_local_mode)) {
    problems.push_back(
        absl::StrCat("KubeProxyConfiguration.DetectLocalMode: Unsupported value: ", GoQuote(detect_local_mode),
                     ": supported values: \"\", \"BridgeInterface\", \"ClusterCIDR\", "
                     "\"InterfaceNamePrefix\", \"NodeCIDR\""));
  }
  if (log_format != "text" && log_format != "json") {
    problems.push_back(absl::StrCat("KubeProxyConfiguration.logging.format: Invalid value: ", GoQuote(log_format),
                                    ": Unsupported log format"));
  }
  if (problems.empty()) return absl::OkStatus();
  if (problems.size() == 1) return InvalidArgument(problems[0]);
  return InvalidArgument("[", absl::StrJoin(problems, ", "), "]");
}

StatusOr<CommandLine> CommandLine::Parse(int argc, const char* const* argv) {
  CommandLine out;
  Config& c = out.config;
  FlagSet flags("kube-proxy",
                "The service proxy of a node: connections to Services go to their endpoints, by eBPF programs at "
                "sockets. `kube-proxy show` prints the services as the kernel has them.");
  flags.String("config", &out.config_file, "The path to the configuration file; it replaces the other flags.");
  flags.String("bind-address", &c.bind_address, "The address whose family decides the servers' default addresses.");
  flags.Bool("bind-address-hard-fail", &c.bind_address_hard_fail, "Exit when a server's port cannot be bound.");
  flags.String("kubeconfig", &c.kubeconfig, "File with credentials and location of the API server.");
  flags.String("master", &out.master, "The URL of the API server, instead of the kubeconfig's.");
  flags.String("hostname-override", &out.hostname_override, "The node's name, instead of the host's.");
  flags.String("cluster-cidr", &c.cluster_cidr, "The pods' addresses in the cluster (one, or one a family).");
  flags.String("proxy-mode", &c.mode, "ebpf; upstream's modes are accepted and mean the same here.");
  flags.Strings("nodeport-addresses", &c.node_port_addresses, "CIDRs of the node addresses that answer NodePorts.");
  flags.String("healthz-bind-address", &c.healthz_bind_address, "Address and port of the health check server.");
  flags.String("metrics-bind-address", &c.metrics_bind_address, "Address and port of the metrics server.");
  flags.Double("kube-api-qps", &c.qps, "Requests a second to the API server.");
  flags.Int32("kube-api-burst", &c.burst, "Requests to the API server at once.");
  flags.String("kube-api-content-type", &c.content_type, "Content type of requests to the API server.");
  flags.Duration("config-sync-period", &c.config_sync_period, "Accepted; the watches need no refresh.");
  flags.Bool("cleanup", &out.cleanup, "Remove the kernel programs and maps, and exit.");
  flags.Bool("init-only", &out.init_only, "Do what needs full privileges (load the kernel programs), and exit.");
  flags.String("write-config-to", &out.write_config_to, "Write the configuration to this file and exit.");
  flags.Int32("oom-score-adj", &c.oom_score_adj, "The oom-score-adj of this process, in [-1000, 1000].");
  flags.Bool("profiling", &c.enable_profiling, "Accepted.");
  flags.String("show-hidden-metrics-for-version", &c.show_hidden_metrics, "Accepted.");
  flags.String("detect-local-mode", &c.detect_local_mode, "How local traffic is told apart.");
  flags.String("pod-bridge-interface", &c.bridge_interface, "Traffic from this bridge is local.");
  flags.String("pod-interface-name-prefix", &c.interface_name_prefix, "Traffic from these interfaces is local.");
  flags.Custom("feature-gates", "mapStringBool", "", "name=bool pairs of feature gates.",
               [&c](std::string_view text) -> Status {
                 for (std::string_view pair : absl::StrSplit(text, ',', absl::SkipEmpty())) {
                   size_t eq = pair.find('=');
                   if (eq == std::string_view::npos) {
                     return InvalidArgument("missing bool value for ", pair);
                   }
                   ASSIGN_OR_RETURN(bool on, GoParseBool(pair.substr(eq + 1)));
                   c.feature_gates[std::string(pair.substr(0, eq))] = on;
                 }
                 return absl::OkStatus();
               });
  // Steering of upstream's other modes.
  std::string machine_id = "/etc/machine-id,/var/lib/dbus/machine-id", boot_id = "/proc/sys/kernel/random/boot_id";
  std::string vmodule;
  flags.String("boot-id-file", &boot_id, "Accepted.");
  flags.String("machine-id-file", &machine_id, "Accepted.");
  flags.Bool("masquerade-all", &c.iptables.all, "Accepted.");
  flags.Int32("iptables-masquerade-bit", &c.iptables.bit, "Accepted.");
  flags.Bool("iptables-localhost-nodeports", &c.localhost_node_ports, "NodePorts answer on 127.0.0.1 too.");
  flags.Duration("iptables-sync-period", &c.iptables.sync_period, "Accepted.");
  flags.Duration("iptables-min-sync-period", &c.iptables.min_sync_period, "Accepted.");
  c.ipvs.min_sync_period = std::chrono::seconds(1);
  flags.Duration("ipvs-sync-period", &c.ipvs.sync_period, "Accepted.");
  flags.Duration("ipvs-min-sync-period", &c.ipvs.min_sync_period, "Accepted.");
  flags.String("ipvs-scheduler", &c.ipvs.scheduler, "Accepted.");
  flags.Strings("ipvs-exclude-cidrs", &c.ipvs.exclude_cidrs, "Accepted.");
  flags.Bool("ipvs-strict-arp", &c.ipvs.strict_arp, "Accepted.");
  flags.Duration("ipvs-tcp-timeout", &c.ipvs.tcp_timeout, "Accepted.");
  flags.Duration("ipvs-tcpfin-timeout", &c.ipvs.tcp_fin_timeout, "Accepted.");
  flags.Duration("ipvs-udp-timeout", &c.ipvs.udp_timeout, "Accepted.");
  flags.Int32("conntrack-max-per-core", &c.conntrack.max_per_core, "Accepted; services use no conntrack here.");
  flags.Int32("conntrack-min", &c.conntrack.min, "Accepted.");
  flags.Duration("conntrack-tcp-timeout-established", &c.conntrack.tcp_established, "Accepted.");
  flags.Duration("conntrack-tcp-timeout-close-wait", &c.conntrack.tcp_close_wait, "Accepted.");
  flags.Bool("conntrack-tcp-be-liberal", &c.conntrack.tcp_be_liberal, "Accepted.");
  flags.Duration("conntrack-udp-timeout", &c.conntrack.udp, "Accepted.");
  flags.Duration("conntrack-udp-timeout-stream", &c.conntrack.udp_stream, "Accepted.");
  int32_t healthz_port = 10256, metrics_port = 10249;
  flags.Int32("healthz-port", &healthz_port, "The port of the health check server.");
  flags.Deprecate("healthz-port",
                  "This flag is deprecated and will be removed in a future release. Please use "
                  "--healthz-bind-address instead.");
  flags.Int32("metrics-port", &metrics_port, "The port of the metrics server.");
  flags.Deprecate("metrics-port",
                  "This flag is deprecated and will be removed in a future release. Please use "
                  "--metrics-bind-address instead.");
  flags.Section("Data path");
  flags.String("bpf-dir", &out.bpf_dir, "Where maps and links are pinned; a bpffs is mounted there if need be.");
  flags.String("cgroup", &out.cgroup, "Sockets of processes below this cgroup v2 directory are served (default: all).");
  flags.Strings("packet-devices", &out.packet_devices,
                "Network devices that take traffic from outside to NodePorts and external addresses (default: those "
                "with a default route or the node's address, and VXLAN devices).");
  flags.Section("Logs");
  flags.String("logging-format", &c.log_format, "text or json.");
  flags.Duration("log-flush-frequency", &c.log_flush, "Accepted; lines are written at once.");
  flags.Bool("log-text-split-stream", &c.log_text_split, "Accepted.");
  flags.String("log-text-info-buffer-size", &c.log_text_buffer, "Accepted.");
  flags.Bool("log-json-split-stream", &c.log_json_split, "Accepted.");
  flags.String("log-json-info-buffer-size", &c.log_json_buffer, "Accepted.");
  flags.Int32("v", &c.verbosity, "Verbosity of the log.", 'v');
  flags.String("vmodule", &vmodule, "Accepted.");
  flags.Section("Global");
  flags.Custom(
      "version", "version", "false", "--version, --version=raw prints version information and quits.",
      [&out](std::string_view text) -> Status {
        out.version = text == "false" ? "" : std::string(text);
        return absl::OkStatus();
      },
      "true");

  ASSIGN_OR_RETURN(auto rest, flags.Parse(argc, argv));
  if (rest.size() == 1 && rest[0] == "show")
    out.show = true;
  else if (!rest.empty())
    return InvalidArgument("unknown command \"", rest[0], "\" for \"kube-proxy\"");
  if (flags.Changed("healthz-port") && !flags.Changed("healthz-bind-address")) {
    c.healthz_bind_address = WithPort(c.bind_address, healthz_port);
  }
  if (flags.Changed("metrics-port") && !flags.Changed("metrics-bind-address")) {
    c.metrics_bind_address = WithPort("127.0.0.1", metrics_port);
  }
  int32_t flag_verbosity = c.verbosity;
  if (!out.config_file.empty()) {
    auto text = ReadFile(out.config_file);
    if (!text.ok()) {
      return absl::Status(text.status().code(), absl::StrCat("failed complete: open ", out.config_file, ": ",
                                                             absl::AsciiStrToLower(strerror(ErrnoOf(text.status())))));
    }
    Config from_file;
    RETURN_IF_ERROR(from_file.Read(*text), "failed complete");
    c = std::move(from_file);
    if (flags.Changed("v")) c.verbosity = flag_verbosity;
  }
  if (flags.Changed("hostname-override")) {
    std::string name(absl::StripAsciiWhitespace(out.hostname_override));
    if (name.empty() && !out.hostname_override.empty()) {
      return InvalidArgument("failed complete: empty hostname-override is invalid");
    }
    c.hostname_override = absl::AsciiStrToLower(name);
  }
  c.Complete();
  RETURN_IF_ERROR(c.Validate(), "failed validate");
  return out;
}

}  // namespace skiff::proxy
