#include "proxy/proxy.h"

#include <netinet/in.h>
#include <sys/utsname.h>

#include <set>
#include <unordered_map>

#include "base/log.h"
#include "base/memory.h"
#include "base/program.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/request_metrics.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "proxy/config_watch.h"
#include "proxy/conntrack_settings.h"
#include "proxy/leftover_rules.h"
#include "proxy/node_addresses.h"
#include "proxy/node_health_servers.h"
#include "proxy/packet_path.h"
#include "proxy/server.h"
#include "proxy/stale_udp.h"
#include "proxy/syncer.h"

namespace skiff::proxy {

namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
namespace networking = ::k8s::io::api::networking::v1;
using client::Informer;
using client::InformerOptions;

constexpr char kZoneLabel[] = "topology.kubernetes.io/zone";
constexpr char kTriggerAnnotation[] = "endpoints.kubernetes.io/last-change-trigger-time";
constexpr char kToBeDeletedTaint[] = "ToBeDeletedByClusterAutoscaler";
constexpr char kConntrackRoot[] = "/proc/sys/net/netfilter";
constexpr std::chrono::nanoseconds kSettled = std::chrono::seconds(5);
constexpr std::chrono::nanoseconds kStaySmall = std::chrono::minutes(10);
constexpr std::chrono::nanoseconds kFirstRetry = std::chrono::milliseconds(100);
constexpr std::chrono::nanoseconds kLastRetry = std::chrono::seconds(30);

std::optional<WallTime> ParseTrigger(const std::string& text) {
  // RFC 3339 with optional fraction, always UTC here.
  tm parts = {};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  int64_t ns = 0;
  if (*rest == '.') {
    int64_t scale = 100000000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ns += (*rest - '0') * scale;
  }
  if (*rest != 'Z') return std::nullopt;
  auto at = std::chrono::seconds(timegm(&parts)) + std::chrono::nanoseconds(ns);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(at));
}

std::string HostName() {
  utsname name;
  return uname(&name) == 0 ? name.nodename : "";
}

// Informers keep their objects; of ours nothing is needed beyond identity, because the digest is what counts. So each
// object is digested when it is decoded, and emptied before it is stored.
template <typename T>
void Hollow(T& object) {
  auto* meta = object.mutable_metadata();
  T hollow;
  auto* kept = hollow.mutable_metadata();
  kept->set_name(meta->name());
  kept->set_namespace_(meta->namespace_());
  kept->set_resourceversion(meta->resourceversion());
  kept->set_uid(meta->uid());
  object = std::move(hollow);
}

bool HasSctp(const ServiceDigest& service) {
  return std::any_of(service.ports.begin(), service.ports.end(),
                     [](const ServicePortDigest& port) { return port.protocol == IPPROTO_SCTP; });
}

class Proxy {
 public:
  Proxy(asio::any_io_executor executor, std::shared_ptr<client::Rest> rest, DataPath& data_path, ProxyOptions options)
      : executor_(executor),
        rest_(std::move(rest)),
        data_path_(data_path),
        options_(std::move(options)),
        metrics_(registry_),
        health_(Clock::Real(), 2 * options_.config.sync_period()),
        syncer_(data_path.maps(), NodeInfo{options_.node_name, ""}, Clock::Real(), metrics_, health_),
        servers_(executor, options_.config, ShownFlags(), health_, metrics_, registry_),
        events_(rest_, "kube-proxy", HostName()),
        node_health_(executor, health_, options_.node_name,
                     [this](const std::string& service, std::string message) {
                       size_t slash = service.find('/');
                       client::ObjectReference about;
                       about.set_apiversion("v1");
                       about.set_kind("Service");
                       about.set_namespace_(service.substr(0, slash));
                       about.set_name(service.substr(slash + 1));
                       events_.Record(about, client::kWarning, "FailedToStartServiceHealthcheck", "Listen",
                                      std::move(message));
                     }),
        wakeup_(executor),
        udp_wakeup_(executor),
        group_(executor) {}

  Task<Status> Run();
  // After Run, before this goes: what waits for other threads comes back to it.
  Task<void> Finish();

 private:
  struct PendingSlice {
    std::optional<SliceDigest> digest;
    std::optional<WallTime> trigger;
  };

  std::vector<std::pair<std::string, std::string>> ShownFlags() const;
  void AddMetrics();
  void RecordOnNode(std::string_view type, std::string_view reason, std::string message);
  Task<Status> Listen();
  Task<void> WatchConfig();
  Task<void> TakeOver();
  Task<void> StaySmall();
  void MakeInformers();
  void OnSlice(const std::string& key);
  void OnService(const std::string& key);
  void OnNode(const core::Node* node);
  void OnServiceCidrs();
  void UpdateNodeAddresses();
  bool WantsPacketPath();
  void UpdatePacketPath();
  Task<void> LoadPackets();
  Task<void> WatchNodeAddresses();
  Task<void> MoveUdp();
  Task<Status> SyncLoop();

  asio::any_io_executor executor_;
  std::shared_ptr<client::Rest> rest_;
  DataPath& data_path_;
  ProxyOptions options_;
  metrics::Registry registry_;
  Metrics metrics_;
  Health health_;
  Syncer syncer_;
  Servers servers_;
  client::SeriesRecorder events_;
  NodeHealthServers node_health_;
  Wakeup wakeup_, udp_wakeup_;
  std::unique_ptr<PacketPath> packet_path_;
  bool loading_packets_ = false;  // it will come
  bool outside_ = false;          // it is on the devices for the outside too
  std::vector<Address> primary_;
  std::optional<NodeIps> node_ips_;
  Status ended_;  // why the proxy is to end
  std::vector<std::string> pod_cidrs_;
  std::vector<Prefix> service_cidrs_;
  std::set<std::string> sctp_named_;  // services whose SCTP ports the log has named
  // From a transform to the handler that follows it. A deletion may come between the two (the object was made anew
  // while nobody watched), so it leaves these alone.
  std::unordered_map<std::string, std::optional<ServiceDigest>> pending_services_;
  std::unordered_map<std::string, PendingSlice> pending_slices_;
  std::shared_ptr<Informer<core::Node>> nodes_;
  std::shared_ptr<Informer<core::Service>> services_;
  std::shared_ptr<Informer<discovery::EndpointSlice>> slices_;
  std::shared_ptr<Informer<networking::ServiceCIDR>> cidrs_;
  TaskGroup group_;  // last: its coroutines use all of the above
};

std::vector<std::pair<std::string, std::string>> Proxy::ShownFlags() const {
  if (!options_.gates.Enabled("ComponentFlagz")) return {};
  return options_.flags;
}

void Proxy::AddMetrics() {
  registry_.AddProcessMetrics();
  registry_.AddMetaMetrics();
  client::EnableRequestMetrics(registry_);
  registry_.Collector("kubernetes_feature_enabled",
                      "[BETA] This metric records the data about the stage and enablement of a k8s feature.", "gauge",
                      [this](const metrics::Emit& emit) {
                        options_.gates.Each([&](const char* name, const char* stage, bool on) {
                          emit({{{"name", name}, {"stage", stage}}, on ? 1.0 : 0.0});
                        });
                      });
  std::string version = kKubernetesVersion;
  registry_
      .Gauges(
          "kubernetes_build_info",
          "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree "
          "state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is "
          "running.",
          {"build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor",
           "platform"})
      .With({"", "clang", "", "", version, "", "1", version.substr(3, version.rfind('.') - 3), "linux/amd64"})
      .Set(1);
  registry_.Collector("skiff_proxy_datapath_total", "[ALPHA] Decisions of the kernel programs, by outcome", "counter",
                      [this](const metrics::Emit& emit) {
                        auto counters = data_path_.maps().ReadCounters();
                        if (!counters.ok()) return;
                        for (size_t i = 0; i < counters->size(); i++) {
                          emit({{{"outcome", kCounterNames[i]}}, static_cast<double>((*counters)[i])});
                        }
                      });
  registry_.Collector("skiff_proxy_map_entries", "[ALPHA] Entries of the kernel maps", "gauge",
                      [this](const metrics::Emit& emit) {
                        emit({{{"map", "frontends"}}, static_cast<double>(syncer_.reconciler().frontends())});
                        emit({{{"map", "backends"}}, static_cast<double>(syncer_.reconciler().backends())});
                        if (auto fill = ReadConntrackFill(kConntrackRoot); fill.ok()) {
                          emit({{{"map", "nf_conntrack"}}, static_cast<double>(fill->entries)});
                        }
                        if (packet_path_ == nullptr) return;
                        auto flows = CountFlows(data_path_.maps_dir());
                        if (flows.ok()) emit({{{"map", "flows"}}, static_cast<double>(*flows)});
                      });
  registry_.Collector("skiff_proxy_map_capacity", "[ALPHA] Most entries that the kernel maps can hold", "gauge",
                      [](const metrics::Emit& emit) {
                        if (auto fill = ReadConntrackFill(kConntrackRoot); fill.ok()) {
                          emit({{{"map", "nf_conntrack"}}, static_cast<double>(fill->limit)});
                        }
                        emit({{{"map", "flows"}}, double{SKIFF_MAX_FLOWS}});
                        emit({{{"map", "frontends"}}, double{SKIFF_MAX_FRONTENDS}});
                        emit({{{"map", "backends"}}, double{SKIFF_MAX_BACKEND_CHUNKS} * SKIFF_CHUNK_SIZE});
                      });
}

void Proxy::MakeInformers() {
  nodes_ = std::make_shared<Informer<core::Node>>(
      rest_, InformerOptions{.field_selector = absl::StrCat("metadata.name=", options_.node_name)});
  nodes_->SetTransform([](core::Node& node) {
    // Labels, taints and addresses are all that is looked at.
    auto addresses = node.status().addresses();
    node.mutable_status()->Clear();
    *node.mutable_status()->mutable_addresses() = std::move(addresses);
    node.mutable_metadata()->clear_annotations();
  });
  nodes_->AddHandler({.added = [this](const auto& node) { OnNode(node.get()); },
                      .updated = [this](const auto&, const auto& node) { OnNode(node.get()); },
                      .deleted = [this](const auto&) { OnNode(nullptr); }});

  services_ = std::make_shared<Informer<core::Service>>(
      rest_, InformerOptions{.label_selector = "!service.kubernetes.io/service-proxy-name",
                             .field_selector = "spec.clusterIP!=None"});
  services_->SetTransform([this](core::Service& service) {
    pending_services_[client::KeyOf(service)] = Digest(service, options_.gates.Enabled("AllowServiceExternalIPs"));
    Hollow(service);
  });
  services_->AddHandler({.added = [this](const auto& s) { OnService(client::KeyOf(*s)); },
                         .updated = [this](const auto&, const auto& s) { OnService(client::KeyOf(*s)); },
                         .deleted =
                             [this](const auto& s) {
                               if (syncer_.SetService(client::KeyOf(*s), std::nullopt)) wakeup_.Notify();
                             }});

  cidrs_ = std::make_shared<Informer<networking::ServiceCIDR>>(rest_);
  cidrs_->OnChange([this](const auto&) { OnServiceCidrs(); });

  slices_ = std::make_shared<Informer<discovery::EndpointSlice>>(
      rest_, InformerOptions{.label_selector = "!service.kubernetes.io/headless"});
  slices_->SetTransform([this](discovery::EndpointSlice& slice) {
    std::string key = client::KeyOf(slice);
    int refused = 0;
    PendingSlice pending;
    pending.digest = Digest(slice, options_.node_name, &refused);
    if (refused > 0)
      LOG_WARNING("Ignoring endpoints with invalid addresses", {"endpointSlice", key}, {"count", refused});
    auto trigger = slice.metadata().annotations().find(kTriggerAnnotation);
    if (trigger != slice.metadata().annotations().end()) pending.trigger = ParseTrigger(trigger->second);
    pending_slices_[key] = std::move(pending);
    Hollow(slice);
  });
  slices_->AddHandler({.added = [this](const auto& s) { OnSlice(client::KeyOf(*s)); },
                       .updated = [this](const auto&, const auto& s) { OnSlice(client::KeyOf(*s)); },
                       .deleted =
                           [this](const auto& s) {
                             if (syncer_.SetSlice(client::KeyOf(*s), std::nullopt)) wakeup_.Notify();
                           }});
}

// Where cluster IPs come from: those that no service has are dropped. Servers before 1.33 do not have these objects;
// nothing waits for them.
void Proxy::OnServiceCidrs() {
  std::vector<Prefix> now;
  cidrs_->ForEach([&](const auto& cidr) {
    for (const std::string& text : cidr->spec().cidrs()) {
      if (auto prefix = ParsePrefix(text)) now.push_back(*prefix);
    }
  });
  std::sort(now.begin(), now.end());
  now.erase(std::unique(now.begin(), now.end()), now.end());
  if (now == service_cidrs_) return;
  service_cidrs_ = std::move(now);
  if (service_cidrs_.size() > SKIFF_MAX_SERVICE_CIDRS) {
    LOG_WARNING("More service CIDRs than can be watched over; packets to unused addresses of the others pass",
                {"cidrs", service_cidrs_.size()}, {"limit", SKIFF_MAX_SERVICE_CIDRS});
  }
  if (packet_path_ != nullptr) UpdatePacketPath();
}

void Proxy::OnService(const std::string& key) {
  auto pending = pending_services_.extract(key);
  if (!pending.empty() && !(pending.mapped() && HasSctp(*pending.mapped()))) {
    sctp_named_.erase(key);
  } else if (!pending.empty() && sctp_named_.insert(key).second) {
    LOG_WARNING(
        "SCTP ports of a service are served to pods and from outside, by packets; not to the node's own processes",
        {"service", key});
  }
  if (!pending.empty() && syncer_.SetService(key, std::move(pending.mapped()))) wakeup_.Notify();
}

void Proxy::OnSlice(const std::string& key) {
  auto pending = pending_slices_.extract(key);
  if (pending.empty()) return;
  if (syncer_.SetSlice(key, std::move(pending.mapped().digest), pending.mapped().trigger)) wakeup_.Notify();
}

void Proxy::OnNode(const core::Node* node) {
  bool eligible = node != nullptr && !node->metadata().has_deletiontimestamp();
  primary_.clear();
  std::vector<Address> internal, external;
  pod_cidrs_.clear();
  std::string zone;
  if (node != nullptr) {
    for (const auto& taint : node->spec().taints()) eligible &= taint.key() != kToBeDeletedTaint;
    pod_cidrs_.assign(node->spec().podcidrs().begin(), node->spec().podcidrs().end());
    auto label = node->metadata().labels().find(kZoneLabel);
    if (label != node->metadata().labels().end()) zone = label->second;
    for (const auto& address : node->status().addresses()) {
      auto a = ParseAddress(address.address());
      if (a && (address.type() == "InternalIP" || address.type() == "ExternalIP")) {
        primary_.push_back(*a);
        (address.type() == "InternalIP" ? internal : external).push_back(*a);
      }
    }
  } else {
    LOG_INFO("Node is being deleted", {"node", options_.node_name});
  }
  NodeIps ips = DetectNodeIps(internal, external, options_.config.bind_address);
  if (node != nullptr && node_ips_ != ips) {
    auto text = [](const NodeIps& n) {
      std::vector<std::string> out;
      if (n.v4) out.push_back(FormatAddress(*n.v4));
      if (n.v6) out.insert(n.primary == Family::kIPv6 ? out.begin() : out.end(), FormatAddress(*n.v6));
      return absl::StrCat("[", absl::StrJoin(out, " "), "]");
    };
    if (node_ips_) {
      LOG_INFO("NodeIPs changed for the node", {"node", options_.node_name}, {"newNodeIPs", text(ips)},
               {"oldNodeIPs", text(*node_ips_)});
    } else if (ips.v4 || ips.v6) {
      LOG_INFO("Successfully retrieved NodeIPs", {"NodeIPs", text(ips)});
    }
    node_ips_ = ips;
  }
  health_.SetNode(node != nullptr, eligible);
  if (syncer_.SetZone(zone)) wakeup_.Notify();
  const auto& cidrs = options_.config.node_port_addresses;
  if (!cidrs.empty() && cidrs[0] == "primary")
    UpdateNodeAddresses();
  else if (packet_path_ != nullptr)
    UpdatePacketPath();
}

void Proxy::UpdateNodeAddresses() {
  auto local = LocalAddresses();
  if (!local.ok()) {
    LOG_ERROR(local.status(), "Failed to read the node's addresses");
    return;
  }
  std::vector<std::string> cidrs =
      ResolveNodePortAddresses(options_.config.node_port_addresses, node_ips_.value_or(NodeIps{}));
  if (syncer_.SetNodeAddresses(NodePortAddresses(*local, cidrs, options_.config.localhost()))) wakeup_.Notify();
  if (options_.config_file.empty() && cidrs != options_.config.node_port_addresses) {
    servers_.SetFlag("nodeport-addresses", absl::StrCat("[", absl::StrJoin(cidrs, ","), "]"));
  }
  node_health_.SetAddresses(HealthCheckAddresses(Family::kIPv4, *local, cidrs),
                            HealthCheckAddresses(Family::kIPv6, *local, cidrs));
  node_health_.Update(syncer_.local_health());
  if (packet_path_ != nullptr) UpdatePacketPath();
}

bool Proxy::WantsPacketPath() { return options_.path.pod_packets || syncer_.external_services() > 0; }

// While the lists come: the kernel verifies the programs for longer than these take.
Task<void> Proxy::LoadPackets() {
  std::function<StatusOr<std::unique_ptr<PacketPath>>()> work = [dir = data_path_.maps_dir(), xdp = options_.path.xdp] {
    return PacketPath::Load(dir, xdp);
  };
  auto loaded = co_await RunBlockingFor<std::unique_ptr<PacketPath>>(std::move(work));
  if (co_await IsCancelled()) co_return;
  if (loaded.ok()) packet_path_ = std::move(*loaded);
  loading_packets_ = false;
  if (syncer_.synced()) UpdatePacketPath();  // which tries again, and says why not, where this failed
}

// Devices for the outside carry packet programs only while there is a service for it; before that, a guard.
void Proxy::UpdatePacketPath() {
  Status configured =
      data_path_.Configure(PathSettings(options_.config, options_.path, primary_, pod_cidrs_, service_cidrs_));
  if (!configured.ok()) LOG_ERROR(configured, "Failed to write the data path's settings");
  if (loading_packets_) return;
  if (!WantsPacketPath()) {
    if (packet_path_ == nullptr) return;
    packet_path_.reset();
    if (Status status = PacketPath::Remove(); !status.ok()) LOG_ERROR(status, "Failed to remove packet programs");
    return;
  }
  if (packet_path_ == nullptr) {
    auto loaded = PacketPath::Load(data_path_.maps_dir(), options_.path.xdp);
    if (!loaded.ok()) {
      LOG_ERROR(loaded.status(), "Failed to load packet programs; services are not reachable from outside");
      return;
    }
    packet_path_ = std::move(*loaded);
  }
  outside_ = syncer_.external_services() > 0;
  DeviceChoice choice = {.outside = outside_,
                         .guard = !service_cidrs_.empty(),
                         .only = options_.packet_devices,
                         .pods = options_.path.pod_packets,
                         .bridge = {},
                         .prefix = {},
                         .node = primary_};
  if (options_.config.detect_local_mode == "BridgeInterface") choice.bridge = options_.config.bridge_interface;
  if (options_.config.detect_local_mode == "InterfaceNamePrefix") choice.prefix = options_.config.interface_name_prefix;
  auto devices = FindDevices(choice);
  Status status = devices.status();
  if (status.ok()) {
    status = packet_path_->Update(*devices);
    std::vector<std::string_view> names;
    for (const PacketDevice& device : *devices) names.push_back(device.name);
    VLOG(2, "Packets are translated", {"devices", absl::StrJoin(names, ",")});
  }
  if (!status.ok()) LOG_ERROR(status, "Failed to attach packet programs");
}

Task<void> Proxy::WatchNodeAddresses() {
  Status status = co_await WatchAddresses(executor_, [this] { UpdateNodeAddresses(); });
  if (!absl::IsCancelled(status)) LOG_ERROR(status, "The node's addresses are no longer watched");
}

Task<void> Proxy::MoveUdp() {
  const std::string& pin = data_path_.stale_udp_pin();
  if (pin.empty()) co_return;
  while ((co_await udp_wakeup_.Wait()).ok()) {
    std::function<StatusOr<StaleUdpResult>()> work = [pin] { return MoveStaleUdp(pin); };
    auto begin = std::chrono::steady_clock::now();
    auto result = co_await RunBlockingFor<StaleUdpResult>(work);
    metrics_.ObserveUdp(std::chrono::steady_clock::now() - begin);
    if (!result.ok()) {
      LOG_ERROR(result.status(), "Failed to look for UDP sockets of removed endpoints");
      continue;
    }
    for (size_t family : {0u, 1u}) {
      int n = result->moved[family] + result->aborted[family];
      metrics_.stale_udp.With({std::string(FamilyName(static_cast<Family>(family)))}).Inc(n);
    }
  }
}

Task<Status> Proxy::SyncLoop() {
  bool attached = false;
  std::chrono::nanoseconds retry = kFirstRetry;
  const std::chrono::nanoseconds pace = options_.config.pace();
  std::optional<SteadyTime> last;
  for (;;) {
    CO_RETURN_IF_ERROR(ended_);
    Status problem;
    if (syncer_.dirty()) {
      if (pace.count() > 0 && last) {
        auto passed = std::chrono::steady_clock::now() - *last;
        if (passed < pace) CO_RETURN_IF_ERROR(co_await SleepFor(pace - passed));
      }
      last = std::chrono::steady_clock::now();
      auto result = syncer_.Sync();
      problem = result.status();
      if (result.ok()) {
        node_health_.Update(syncer_.local_health());
        // At start too: sockets may have lost their endpoint while nobody watched.
        if (result->udp_backend_removed || !attached) udp_wakeup_.Notify();
        if (!attached) {
          CO_RETURN_IF_ERROR(data_path_.Attach());
          attached = true;
          if (!WantsPacketPath()) (void)PacketPath::Remove();  // left by an earlier run
          // Only now, so that services go on meanwhile.
          if (options_.take_over) group_.Spawn("remove upstream's rules", TakeOver());
          group_.Spawn("release memory", StaySmall());
          ReleaseStartupMemory();
          LOG_INFO("Services are served", {"services", syncer_.services()}, {"endpointSlices", syncer_.slices()},
                   {"cgroup", data_path_.cgroup()});
          UpdatePacketPath();
        }
        bool outside = syncer_.external_services() > 0;
        if ((packet_path_ != nullptr) != WantsPacketPath() || outside != outside_) UpdatePacketPath();
        retry = kFirstRetry;
      }
    }
    if (!problem.ok()) {
      LOG_ERROR(problem, "Failed to sync services; trying again", {"after", FormatDuration(retry)});
      CO_RETURN_IF_ERROR(co_await SleepFor(retry));
      retry = std::min(retry * 2, kLastRetry);
      continue;
    }
    if (syncer_.dirty()) continue;
    CO_RETURN_IF_ERROR(co_await wakeup_.Wait());
  }
}

// As upstream: the Node object by its name alone.
void Proxy::RecordOnNode(std::string_view type, std::string_view reason, std::string message) {
  client::ObjectReference node;
  node.set_apiversion("v1");
  node.set_kind("Node");
  node.set_name(options_.node_name);
  events_.Record(node, type, reason, "StartKubeProxy", std::move(message));
}

Task<Status> Proxy::Listen() {
  const char* failed = nullptr;
  Status status = servers_.Listen(&failed);
  if (!status.ok()) {
    RecordOnNode(client::kWarning, failed, std::string(status.message()));
    CO_RETURN_IF_ERROR(co_await SleepFor(std::chrono::seconds(1)));  // for the Event to get out
  }
  co_return status;
}

Task<void> Proxy::TakeOver() {
  Status status = co_await RemoveLeftoverRules();
  if (!status.ok()) LOG_ERROR(status, "Rules of another kube-proxy are left and may catch connections to services");
}

// A TLS handshake maps in over 2 MiB of libcrypto that nothing else uses: at the start (the connection for Events comes
// last), and again where a watch lost its connection.
Task<void> Proxy::StaySmall() {
  for (std::chrono::nanoseconds wait = kSettled; (co_await SleepFor(wait)).ok(); wait = kStaySmall)
    ReleaseStartupMemory();
}

Task<void> Proxy::WatchConfig() {
  Status status = co_await WatchConfigFile(executor_, options_.config_file);
  if (absl::IsFailedPrecondition(status)) {
    ended_ = status;
    wakeup_.Notify();
  } else if (!absl::IsCancelled(status)) {
    LOG_ERROR(status, "The configuration file is not watched");
  }
}

Task<Status> Proxy::Run() {
  AddMetrics();
  syncer_.SetBalancing(options_.balancing);
  group_.Spawn("send events", events_.Run());
  CO_RETURN_IF_ERROR(co_await Listen());
  group_.Spawn("listen again", servers_.Retry());
  if (!options_.config_file.empty()) group_.Spawn("watch configuration", WatchConfig());
  MakeInformers();
  if (options_.path.pod_packets) {
    loading_packets_ = true;
    group_.Spawn("load packet programs", LoadPackets());
  }
  group_.Spawn("watch node", nodes_->Run());
  CO_RETURN_IF_ERROR(co_await nodes_->WaitForSync());
  if (nodes_->size() == 0) LOG_WARNING("The node does not exist yet", {"node", options_.node_name});
  if (options_.config.node_port_addresses.empty()) {
    LOG_ERROR(absl::FailedPreconditionError(
                  "nodePortAddresses is unset; NodePort connections will be accepted on all local IPs. Consider using "
                  "`--nodeport-addresses primary`"),
              "Kube-proxy configuration may be incomplete or incorrect");
  }
  RecordOnNode(client::kNormal, "Starting", "");
  group_.Spawn("watch services", services_->Run());
  group_.Spawn("watch endpoint slices", slices_->Run());
  group_.Spawn("watch service CIDRs", cidrs_->Run());
  CO_RETURN_IF_ERROR(co_await services_->WaitForSync());
  CO_RETURN_IF_ERROR(co_await slices_->WaitForSync());
  UpdateNodeAddresses();
  group_.Spawn("watch addresses", WatchNodeAddresses());
  group_.Spawn("move UDP sockets", MoveUdp());
  co_return co_await SyncLoop();
}

Task<void> Proxy::Finish() {
  group_.Cancel();
  co_await group_.Join();
}

}  // namespace

Task<Status> RunProxy(asio::any_io_executor executor, std::shared_ptr<client::Rest> rest, DataPath& data_path,
                      ProxyOptions options) {
  auto proxy = std::make_unique<Proxy>(executor, std::move(rest), data_path, std::move(options));
  Status status = co_await proxy->Run();
  co_await proxy->Finish();
  co_return status;
}

}  // namespace skiff::proxy
