#include "proxy/config.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "base/log.h"
#include "proxy/address.h"

namespace skiff::proxy {

namespace {

using nlohmann::json;

constexpr char kKind[] = "KubeProxyConfiguration";
constexpr char kApiVersion[] = "kubeproxy.config.k8s.io/v1alpha1";

}  // namespace

std::string HostPort(const std::string& ip, int port) {
  return ip.find(':') == std::string::npos ? absl::StrCat(ip, ":", port) : absl::StrCat("[", ip, "]:", port);
}

namespace {

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

Config::Duration Config::sync_period() const {
  return mode == "ipvs" ? ipvs.sync_period : mode == "nftables" ? nftables.sync_period : iptables.sync_period;
}

Config::Duration Config::min_sync_period() const {
  return mode == "ipvs"       ? ipvs.min_sync_period
         : mode == "nftables" ? nftables.min_sync_period
                              : iptables.min_sync_period;
}

Config::Duration Config::pace() const {
  bool given = mode == "ipvs" || (mode == "nftables" ? nftables : iptables).min_sync_given;
  return given ? min_sync_period() : Duration{0};
}

void Config::Default() {
  if (bind_address.empty()) bind_address = "0.0.0.0";
  auto ip = ParseAddress(bind_address);
  bool v6 = ip && FamilyOf(*ip) == Family::kIPv6;
  auto address = [&](std::string* text, const char* v4_host, const char* v6_host, int port) {
    if (text->empty())
      *text = HostPort(v6 ? v6_host : v4_host, port);
    else if (ParseAddress(*text))
      *text = HostPort(*text, port);  // an address without a port
  };
  address(&healthz_bind_address, "0.0.0.0", "::", 10256);
  address(&metrics_bind_address, "127.0.0.1", "::1", 10249);
  auto fill = [](Duration* d, Duration value) {
    if (d->count() == 0) *d = value;
  };
  for (Masquerade* section : {&iptables, &nftables}) {
    section->min_sync_given = section->min_sync_period.count() != 0;
    fill(&section->min_sync_period, std::chrono::seconds(1));
    fill(&section->sync_period, std::chrono::seconds(30));
  }
  fill(&ipvs.sync_period, std::chrono::seconds(30));
  fill(&config_sync_period, std::chrono::minutes(15));
  if (content_type.empty()) content_type = "application/vnd.kubernetes.protobuf";
  if (qps == 0) qps = 5;
  if (burst == 0) burst = 10;
}

void Config::Complete() {
  if (mode.empty()) mode = "ebpf";
  if (mode == "nftables" && node_port_addresses.empty()) node_port_addresses = {"primary"};
  if (detect_local_mode.empty()) detect_local_mode = "ClusterCIDR";
  // Upstream keeps one set of these, that of its mode, and shows the others empty.
  Duration none{0};
  if (mode != "ipvs") ipvs.sync_period = ipvs.min_sync_period = none;
  if (mode != "nftables") nftables.sync_period = nftables.min_sync_period = none;
  if (mode == "ipvs" || mode == "nftables") iptables.sync_period = iptables.min_sync_period = none;
  (mode == "nftables" ? iptables : nftables).all = false;
}

}  // namespace skiff::proxy
