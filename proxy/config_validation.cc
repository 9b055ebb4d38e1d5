// The checks of a KubeProxyConfiguration, in upstream's order and words.
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/go_text.h"
#include "proxy/address.h"
#include "proxy/config.h"

namespace skiff::proxy {

namespace {

constexpr char kNotNegative[] = "must be greater than or equal to 0";
constexpr char kPositive[] = "must be greater than 0";

// How a bad value stands in the message.
std::string Shown(const std::string& value) { return GoQuote(value); }
std::string Shown(Config::Duration value) { return FormatDuration(value); }
std::string Shown(int32_t value) { return absl::StrCat(value); }
std::string Shown(const std::vector<std::string>& value) {
  std::vector<std::string> quoted;
  for (const std::string& item : value) quoted.push_back(GoQuote(item));
  return absl::StrCat("[]string{", absl::StrJoin(quoted, ", "), "}");
}

class Checks {
 public:
  explicit Checks(std::string root = "KubeProxyConfiguration.") : root_(std::move(root)) {}
  template <typename T>
  void Invalid(std::string_view field, const T& value, std::string_view why) {
    problems_.push_back(absl::StrCat(root_, field, ": Invalid value: ", Shown(value), ": ", why));
  }
  void Add(std::string problem) { problems_.push_back(std::move(problem)); }
  template <typename T>
  void NotNegative(std::string_view field, const T& value) {
    if (value < T{}) Invalid(field, value, kNotNegative);
  }
  void Range(std::string_view field, int32_t value, int32_t low, int32_t high) {
    if (value < low || value > high) {
      Invalid(field, value, absl::StrCat("must be within the range [", low, ", ", high, "]"));
    }
  }
  void HostPort(std::string_view field, const std::string& text) {
    size_t colon = text.rfind(':');
    std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
    bool bracketed = host.size() >= 2 && host.starts_with('[') && host.ends_with(']');
    if (colon == std::string::npos || (!bracketed && host.find(':') != std::string::npos)) {
      return Invalid(field, text, "must be IP:port");
    }
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (!ParseAddress(host)) Invalid(field, host, "must be a valid IP");
    std::string port_text = text.substr(colon + 1);
    int port = 0;
    // Port 0 (any) is ours, for tests and for several nodes on a machine.
    if (!absl::SimpleAtoi(port_text, &port) || port < 0 || port > 65535) {
      Invalid(field, port_text, "must be a valid port");
    }
  }
  Status Result() const {
    if (problems_.empty()) return absl::OkStatus();
    if (problems_.size() == 1) return InvalidArgument(problems_[0]);
    return InvalidArgument("[", absl::StrJoin(problems_, ", "), "]");
  }

 private:
  std::string root_;
  std::vector<std::string> problems_;
};

void CheckClusterCidrs(const std::vector<std::string>& cidrs, Checks& checks) {
  constexpr char kField[] = "DetectLocalConfiguration.ClusterCIDRs";
  constexpr char kPair[] =
      "must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]";
  if (cidrs.size() > 2) return checks.Invalid(kField, cidrs, kPair);
  bool good = true, v4 = false, v6 = false;
  for (size_t i = 0; i < cidrs.size(); i++) {
    auto prefix = ParsePrefix(cidrs[i]);
    if (!prefix) {
      good = false;
      checks.Invalid(absl::StrCat(kField, "[", i, "]"), cidrs[i],
                     "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)");
      continue;
    }
    (FamilyOf(prefix->base) == Family::kIPv4 ? v4 : v6) = true;
  }
  if (good && cidrs.size() == 2 && !(v4 && v6)) checks.Invalid(kField, cidrs, kPair);
}

// "": nothing hidden is shown; else the minor version before this one.
void CheckHiddenMetrics(const std::string& version, Checks& checks) {
  if (version.empty() || version == "1.35") return;
  checks.Invalid("ShowHiddenMetricsForVersion", version,
                 absl::StrCat("invalid showHiddenMetricsForVersion: showHiddenMetricsForVersion: Invalid value: ",
                              GoQuote(version),
                              ": must be omitted or have the value '1.35'; only the previous minor version is "
                              "allowed"));
}

}  // namespace

Status Config::Validate() const {
  Checks checks;
  checks.Range("KubeProxyIPTablesConfiguration.MasqueradeBit", iptables.bit, 0, 31);
  if (mode == "ipvs") {
    checks.NotNegative("KubeProxyIPVSConfiguration.TCPTimeout", ipvs.tcp_timeout);
    checks.NotNegative("KubeProxyIPVSConfiguration.TCPFinTimeout", ipvs.tcp_fin_timeout);
    checks.NotNegative("KubeProxyIPVSConfiguration.UDPTimeout", ipvs.udp_timeout);
    for (size_t i = 0; i < ipvs.exclude_cidrs.size(); i++) {
      if (ParsePrefix(ipvs.exclude_cidrs[i])) continue;
      checks.Invalid(absl::StrCat("KubeProxyIPVSConfiguration.ExcludeCidrs[", i, "]"), ipvs.exclude_cidrs[i],
                     "must be a valid CIDR");
    }
  } else if (mode == "nftables") {
    checks.Range("KubeProxyNFTablesConfiguration.MasqueradeBit", nftables.bit, 0, 31);
  }
  constexpr char kConntrack[] = "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.";
  checks.NotNegative(absl::StrCat(kConntrack, "MaxPerCore"), conntrack.max_per_core);
  checks.NotNegative(absl::StrCat(kConntrack, "Min"), conntrack.min);
  checks.NotNegative(absl::StrCat(kConntrack, "TCPEstablishedTimeout"), conntrack.tcp_established);
  checks.NotNegative(absl::StrCat(kConntrack, "TCPCloseWaitTimeout"), conntrack.tcp_close_wait);
  checks.NotNegative(absl::StrCat(kConntrack, "UDPTimeout"), conntrack.udp);
  checks.NotNegative(absl::StrCat(kConntrack, "UDPStreamTimeout"), conntrack.udp_stream);
  checks.Range("KubeProxyLinuxConfiguration.OOMScoreAdj", oom_score_adj, -1000, 1000);
  static const std::set<std::string> kModes = {"", "ebpf", "iptables", "ipvs", "nftables"};
  if (!kModes.contains(mode)) {
    checks.Invalid("Mode.ProxyMode", mode,
                   "must be ebpf, iptables, ipvs, nftables or blank (every one of them means ebpf)");
  }
  checks.NotNegative("ClientConnection.Burst", burst);
  if (config_sync_period.count() <= 0) checks.Invalid("ConfigSyncPeriod", config_sync_period, kPositive);
  if (sync_period().count() <= 0) checks.Invalid("SyncPeriod", sync_period(), kPositive);
  checks.NotNegative("MinSyncPeriod", min_sync_period());
  if (min_sync_period() > sync_period()) {
    checks.Invalid("SyncPeriod", min_sync_period(),
                   "must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod");
  }
  if (!ParseAddress(bind_address)) {
    checks.Invalid("BindAddress", bind_address, "not a valid textual representation of an IP address");
  }
  if (!healthz_bind_address.empty()) checks.HostPort("HealthzBindAddress", healthz_bind_address);
  checks.HostPort("MetricsBindAddress", metrics_bind_address);
  for (size_t i = 0; i < node_port_addresses.size(); i++) {
    std::string name = absl::StrCat("NodePortAddresses[", i, "]");
    const std::string& text = node_port_addresses[i];
    if (text == "primary") {
      if (node_port_addresses.size() != 1) checks.Invalid(name, text, "can't use both 'primary' and CIDRs");
      break;
    }
    if (!ParsePrefix(text)) checks.Invalid(name, text, "must be a valid CIDR");
  }
  CheckHiddenMetrics(show_hidden_metrics, checks);
  static const std::set<std::string> kLocal = {"", "BridgeInterface", "ClusterCIDR", "InterfaceNamePrefix", "NodeCIDR"};
  if (!kLocal.contains(detect_local_mode)) {
    checks.Add(absl::StrCat("KubeProxyConfiguration.DetectLocalMode: Unsupported value: ", GoQuote(detect_local_mode),
                            ": supported values: \"ClusterCIDR\", \"NodeCIDR\", \"BridgeInterface\", "
                            "\"InterfaceNamePrefix\", \"\""));
  } else if (detect_local_mode == "BridgeInterface" && bridge_interface.empty()) {
    checks.Invalid("DetectLocalConfiguration.InterfaceName", bridge_interface, "must not be empty");
  } else if (detect_local_mode == "InterfaceNamePrefix" && interface_name_prefix.empty()) {
    checks.Invalid("DetectLocalConfiguration.InterfacePrefix", interface_name_prefix, "must not be empty");
  } else if (detect_local_mode == "ClusterCIDR" && !cluster_cidr.empty()) {
    CheckClusterCidrs(absl::StrSplit(cluster_cidr, ','), checks);
  }
  return checks.Result();
}

Status Config::ValidateLogs() const {
  Checks checks("logging.");
  if (log_flush.count() <= 0) checks.Invalid("flushFrequency", log_flush, "Must be greater than zero");
  if (log_format != "text" && log_format != "json") checks.Invalid("format", log_format, "Unsupported log format");
  auto gate = feature_gates.find("LoggingAlphaOptions");
  if (gate != feature_gates.end() && gate->second) return checks.Result();
  auto forbid = [&](bool used, std::string_view field) {
    if (used)
      checks.Add(absl::StrCat("logging.options.", field, ": Forbidden: Feature LoggingAlphaOptions is disabled"));
  };
  forbid(log_text_split, "text.splitStream");
  forbid(log_text_buffer != "0", "text.infoBufferSize");
  forbid(log_json_split, "json.splitStream");
  forbid(log_json_buffer != "0", "json.infoBufferSize");
  return checks.Result();
}

}  // namespace skiff::proxy
