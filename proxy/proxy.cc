#include "proxy/proxy.h"

#include <sys/utsname.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/program.h"
#include "base/vital.h"
#include "client/events.h"
#include "client/informer.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "proxy/config_watch.h"
#include "proxy/leftover_rules.h"
#include "proxy/node_addresses.h"
#include "proxy/node_facts.h"
#include "proxy/node_health_servers.h"
#include "proxy/packet_path_manager.h"
#include "proxy/program_metrics.h"
#include "proxy/server.h"
#include "proxy/service_watch.h"
#include "proxy/stale_udp.h"
#include "proxy/syncer.h"

namespace skiff::proxy {

namespace {

namespace core = ::k8s::io::api::core::v1;
namespace networking = ::k8s::io::api::networking::v1;
using client::Informer;

constexpr std::chrono::nanoseconds kSettled = std::chrono::seconds(5);
constexpr std::chrono::nanoseconds kStaySmall = std::chrono::minutes(10);
constexpr std::chrono::nanoseconds kFirstRetry = std::chrono::milliseconds(100);
constexpr std::chrono::nanoseconds kLastRetry = std::chrono::seconds(30);

std::string HostName() {
  utsname name;
  return uname(&name) == 0 ? name.nodename : "";
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
        packets_(data_path_, options_.config, options_.path, options_.packet_devices),
        services_(rest_, options_.node_name, options_.gates.Enabled("AllowServiceExternalIPs"), syncer_,
                  [this] { wakeup_.Notify(); }),
        group_(executor) {}

  Task<Status> Run();
  // After Run, before this goes: what waits for other threads comes back to it.
  Task<void> Finish();

 private:
  std::vector<std::pair<std::string, std::string>> ShownFlags() const;
  void RecordOnNode(std::string_view type, std::string_view reason, std::string message);
  Task<Status> Listen();
  Task<void> WatchConfig();
  Task<void> TakeOver();
  Task<void> StaySmall();
  void MakeInformers();
  void OnNode(const core::Node* node);
  void OnServiceCidrs();
  void UpdateNodeAddresses();
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
  PacketPathManager packets_;
  std::optional<NodeIps> node_ips_;
  Status ended_;  // why the proxy is to end
  std::shared_ptr<Informer<core::Node>> nodes_;
  ServiceWatch services_;
  std::shared_ptr<Informer<networking::ServiceCIDR>> cidrs_;
  TaskGroup group_;  // last: its coroutines use all of the above
};

std::vector<std::pair<std::string, std::string>> Proxy::ShownFlags() const {
  if (!options_.gates.Enabled("ComponentFlagz")) return {};
  return options_.flags;
}

void Proxy::MakeInformers() {
  nodes_ = std::make_shared<Informer<core::Node>>(
      rest_, client::InformerOptions{.field_selector = absl::StrCat("metadata.name=", options_.node_name)});
  nodes_->SetTransform(StripNode);
  nodes_->AddHandler({.added = [this](const auto& node) { OnNode(node.get()); },
                      .updated = [this](const auto&, const auto& node) { OnNode(node.get()); },
                      .deleted = [this](const auto&) { OnNode(nullptr); }});
  cidrs_ = std::make_shared<Informer<networking::ServiceCIDR>>(rest_);
  cidrs_->OnChange([this](const auto&) { OnServiceCidrs(); });
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
  if (packets_.SetServiceCidrs(std::move(now)) && packets_.loaded()) packets_.Update();
}

void Proxy::OnNode(const core::Node* node) {
  NodeFacts facts = ReadNode(node);
  if (node == nullptr) LOG_INFO("Node is being deleted", {"node", options_.node_name});
  NodeIps ips = DetectNodeIps(facts.internal, facts.external, options_.config.bind_address);
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
  health_.SetNode(node != nullptr, facts.eligible);
  if (syncer_.SetZone(facts.zone)) wakeup_.Notify();
  packets_.SetNode(std::move(facts.addresses), std::move(facts.pod_cidrs));
  const auto& cidrs = options_.config.node_port_addresses;
  if (!cidrs.empty() && cidrs[0] == "primary")
    UpdateNodeAddresses();
  else if (packets_.loaded())
    packets_.Update();
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
  if (packets_.loaded()) packets_.Update();
}

Task<void> Proxy::LoadPackets() {
  co_await packets_.Load();
  if (syncer_.synced() && !co_await IsCancelled()) packets_.Update();
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
    if (result->not_found > 0) {
      LOG_WARNING(
          "Connected UDP sockets of removed endpoints belong to no process that can be seen from here; in a pod "
          "this takes hostPID",
          {"sockets", result->not_found});
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
        packets_.SetExternalServices(syncer_.external_services());
        // At start too: sockets may have lost their endpoint while nobody watched.
        if (result->udp_backend_removed || !attached) udp_wakeup_.Notify();
        if (!attached) {
          CO_RETURN_IF_ERROR(data_path_.Attach());
          attached = true;
          if (!packets_.Wanted()) (void)PacketPath::Remove();  // left by an earlier run
          // Only now, so that services go on meanwhile.
          if (options_.take_over) group_.Spawn("remove upstream's rules", TakeOver());
          group_.Spawn("release memory", StaySmall());
          ReleaseStartupMemory();
          LOG_INFO("Services are served", {"services", syncer_.services()}, {"endpointSlices", syncer_.slices()},
                   {"cgroup", data_path_.cgroup()});
          packets_.Update();
        }
        if (packets_.NeedsUpdate()) packets_.Update();
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
  AddProgramMetrics(registry_, options_.gates);
  AddKernelMetrics(registry_, data_path_, syncer_.reconciler());
  syncer_.SetBalancing(options_.balancing);
  SpawnVital(group_, "send events", events_.Run());
  CO_RETURN_IF_ERROR(co_await Listen());
  SpawnVital(group_, "listen again", servers_.Retry());
  if (!options_.config_file.empty()) group_.Spawn("watch configuration", WatchConfig());
  MakeInformers();
  if (options_.path.pod_packets) {
    packets_.Expect();
    group_.Spawn("load packet programs", LoadPackets());
  }
  SpawnVital(group_, "watch node", nodes_->Run());
  CO_RETURN_IF_ERROR(co_await nodes_->WaitForSync());
  if (nodes_->size() == 0) LOG_WARNING("The node does not exist yet", {"node", options_.node_name});
  if (options_.config.node_port_addresses.empty()) {
    LOG_ERROR(absl::FailedPreconditionError(
                  "nodePortAddresses is unset; NodePort connections will be accepted on all local IPs. Consider using "
                  "`--nodeport-addresses primary`"),
              "Kube-proxy configuration may be incomplete or incorrect");
  }
  RecordOnNode(client::kNormal, "Starting", "");
  services_.Start(group_);
  SpawnVital(group_, "watch service CIDRs", cidrs_->Run());
  CO_RETURN_IF_ERROR(co_await services_.WaitForSync());
  UpdateNodeAddresses();
  SpawnVital(group_, "watch addresses", WatchNodeAddresses());
  SpawnVital(group_, "move UDP sockets", MoveUdp());
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
