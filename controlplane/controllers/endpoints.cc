// The endpoints controller: the older form of what the endpoint slices say, one Endpoints object a service.
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/endpoint_slices.h"
#include "controlplane/controllers/endpoints.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/controllers/services_of_pods.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kMostAddresses = 1000;
constexpr char kManagedBy[] = "endpoints.kubernetes.io/managed-by";
constexpr char kOverCapacity[] = "endpoints.kubernetes.io/over-capacity";

using Labels = google::protobuf::Map<std::string, std::string>;

struct Address {
  std::string ip, uid;
  bool ready = false;
  core::EndpointAddress value;
  auto operator<=>(const Address& other) const {
    return std::tie(ip, uid, ready) <=> std::tie(other.ip, other.uid, other.ready);
  }
  bool operator==(const Address& other) const { return (*this <=> other) == 0; }
};
struct Port {
  std::string name, protocol;
  int32_t port = 0;
  std::string app_protocol;
  bool has_app_protocol = false;
  auto operator<=>(const Port&) const = default;
};

}  // namespace

google::protobuf::RepeatedPtrField<core::EndpointSubset> ComputeSubsets(const core::Service& service,
                                                                        const std::vector<PodPtr>& pods) {
  // Addresses by port, then ports by equal sets of addresses.
  std::map<Port, std::set<Address>> by_port;
  const bool v6 = !service.spec().ipfamilies().empty() ? service.spec().ipfamilies(0) == "IPv6"
                                                       : service.spec().clusterip().find(':') != std::string::npos;
  size_t count = 0;
  for (const PodPtr& pod : pods) {
    if (!ShouldPodBeInEndpoints(*pod, service.spec().publishnotreadyaddresses())) continue;
    Address address;
    for (const auto& ip : pod->status().podips()) {
      if ((ip.ip().find(':') != std::string::npos) == v6 && address.ip.empty()) address.ip = ip.ip();
    }
    if (pod->status().podips().empty()) address.ip = pod->status().podip();
    if (address.ip.empty() || ++count > kMostAddresses) continue;
    address.uid = pod->metadata().uid();
    address.ready = service.spec().publishnotreadyaddresses() || IsPodReady(*pod);
    address.value.set_ip(address.ip);
    if (!pod->spec().nodename().empty()) address.value.set_nodename(pod->spec().nodename());
    if (!pod->spec().hostname().empty() && pod->spec().subdomain() == service.metadata().name()) {
      address.value.set_hostname(pod->spec().hostname());
    }
    auto* target = address.value.mutable_targetref();
    target->set_kind("Pod");
    target->set_namespace_(pod->metadata().namespace_());
    target->set_name(pod->metadata().name());
    target->set_uid(pod->metadata().uid());
    if (service.spec().ports().empty()) {
      if (service.spec().clusterip() == "None") by_port[Port{}].insert(address);
      continue;
    }
    for (const auto& port : service.spec().ports()) {
      const int number = FindTargetPort(*pod, port);
      if (number == 0) continue;
      by_port[Port{port.name(), port.protocol(), number, port.appprotocol(), port.has_appprotocol()}].insert(address);
    }
  }
  std::map<std::set<Address>, std::vector<Port>> by_addresses;
  for (auto& [port, addresses] : by_port) by_addresses[addresses].push_back(port);
  google::protobuf::RepeatedPtrField<core::EndpointSubset> out;
  for (const auto& [addresses, ports] : by_addresses) {
    auto* subset = out.Add();
    for (const Address& address : addresses) {
      *(address.ready ? subset->add_addresses() : subset->add_notreadyaddresses()) = address.value;
    }
    for (const Port& port : ports) {
      if (port.port == 0) continue;
      auto* added = subset->add_ports();
      if (!port.name.empty()) added->set_name(port.name);
      added->set_port(port.port);
      added->set_protocol(port.protocol);
      if (port.has_app_protocol) added->set_appprotocol(port.app_protocol);
    }
  }
  return out;
}

namespace {

class EndpointsController final : public Controller {
 public:
  explicit EndpointsController(const ControllerContext& context)
      : context_(context),
        queue_(context.executor(), context.clock(), "endpoints-controller", 5,
               [this](std::string key) { return Sync(std::move(key)); }) {
    WatchServices(*context.informers, [this](const std::string& key) { queue_.Add(key); });
    context.informers->endpoints->AddHandler(
        {.deleted = [this](const auto& endpoints) { queue_.Add(client::KeyOf(*endpoints)); }});
  }
  Task<void> Run() override { return queue_.Run(); }

 private:
  Task<Status> Sync(std::string key) {
    const auto service = context_.informers->services->Get(key);
    const auto [ns, name] = client::SplitKey(key);
    const auto existing = context_.informers->endpoints->Get(key);
    if (service == nullptr) {
      times_.Forget(key);
      if (existing == nullptr) co_return absl::OkStatus();
      const auto managed = existing->metadata().labels().find(kManagedBy);
      if (managed == existing->metadata().labels().end() || managed->second != "endpoint-controller") {
        co_return absl::OkStatus();
      }
      const Status deleted = co_await context_.rest->Delete<core::Endpoints>(ns, name);
      co_return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
    }
    if (service->spec().type() == "ExternalName" || service->spec().selector().empty()) co_return absl::OkStatus();
    const auto pods = PodsOfService(*context_.informers, *service);
    const WallTime trigger = times_.Compute(*service, pods);
    core::Endpoints wanted;
    if (existing != nullptr) wanted = *existing;
    wanted.mutable_metadata()->set_name(name);
    wanted.mutable_metadata()->set_namespace_(ns);
    *wanted.mutable_subsets() = ComputeSubsets(*service, pods);
    Labels labels = service->metadata().labels();
    if (IsHeadless(*service)) {
      labels[kHeadless] = "";
    } else {
      labels.erase(kHeadless);
    }
    labels[kManagedBy] = "endpoint-controller";
    *wanted.mutable_metadata()->mutable_labels() = labels;
    if (existing != nullptr && api::Equal(wanted, *existing)) co_return absl::OkStatus();
    auto& annotations = *wanted.mutable_metadata()->mutable_annotations();
    if (trigger > WallTime()) {
      annotations[kTriggerTime] = api::FormatTimeNano(trigger);
    } else {
      annotations.erase(kTriggerTime);
    }
    if (pods.size() > kMostAddresses) {
      annotations[kOverCapacity] = "truncated";
    } else {
      annotations.erase(kOverCapacity);
    }
    if (existing != nullptr) co_return (co_await context_.rest->Update(std::move(wanted))).status();
    const auto created = co_await context_.rest->Create(std::move(wanted));
    if (client::IsNamespaceTerminating(created.status())) co_return absl::OkStatus();
    co_return created.status();
  }

  const ControllerContext context_;
  WorkQueue queue_;
  TriggerTimes times_;
};

}  // namespace

std::unique_ptr<Controller> MakeEndpointsController(const ControllerContext& context) {
  return std::make_unique<EndpointsController>(context);
}

}  // namespace skiff::controlplane
