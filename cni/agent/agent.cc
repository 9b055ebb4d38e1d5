#include "cni/agent/agent.h"

#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/log.h"
#include "base/vital.h"
#include "client/events.h"
#include "client/informer.h"
#include "cni/agent/conflist.h"
#include "cni/agent/firewall.h"
#include "cni/agent/host_port_repair.h"
#include "cni/agent/overlay.h"

namespace skiff::cni {
namespace {

namespace core = k8s::io::api::core::v1;
using std::chrono::seconds;

constexpr auto kResync = seconds(60);
constexpr auto kRetry = seconds(2);
// Changes come in bursts when nodes start together; a pass takes them as one.
constexpr auto kSettle = std::chrono::milliseconds(20);

class Agent {
 public:
  Agent(std::shared_ptr<client::Rest> rest, AgentOptions options)
      : rest_(rest),
        options_(std::move(options)),
        nodes_(std::make_shared<client::Informer<core::Node>>(rest)),
        events_(rest, "skiff-cni", options_.node_name),
        wakeup_(rest->executor()) {
    // Addresses, annotations and the pod subnet are all that is read.
    nodes_->SetTransform([](core::Node& node) {
      node.mutable_status()->clear_images();
      node.mutable_status()->clear_conditions();
      node.mutable_status()->clear_capacity();
      node.mutable_status()->clear_allocatable();
      node.mutable_status()->clear_nodeinfo();
      node.mutable_metadata()->clear_labels();
    });
    nodes_->OnChange([this](const core::Node&) { wakeup_.Notify(); });
  }

  Task<Status> Run() {
    TaskGroup group(co_await asio::this_coro::executor);
    SpawnVital(group, "watch nodes", nodes_->Run());
    SpawnVital(group, "send events", events_.Run());
    Status status = co_await nodes_->WaitForSync();
    Status last;
    while (status.ok()) {
      const Status applied = co_await Pass();
      if (!applied.ok() && applied != last)
        LOG_ERROR(applied, "Failed to set up the pod network", {"node", options_.node_name});
      last = applied;
      status = co_await wakeup_.WaitFor(applied.ok() ? kResync : kRetry);
      if (absl::IsDeadlineExceeded(status)) status = absl::OkStatus();
      if (status.ok()) status = co_await SleepFor(kSettle);
    }
    group.Cancel();
    co_await group.Join();
    co_return absl::IsCancelled(status) ? absl::OkStatus() : status;
  }

 private:
  Task<Status> Pass() {
    const auto self = nodes_->Get(options_.node_name);
    if (!self) co_return NotFound("node \"", options_.node_name, "\" not found");
    auto cidr = PodCidr(*self);
    if (!cidr.ok()) co_return cidr.status();
    auto ip = PublicIp(*self);
    if (!ip.ok()) co_return ip.status();

    OverlayConfig config{options_.vni, options_.port, *ip, *cidr};
    // Opened at every pass: it repairs a device that somebody removed, and costs a few netlink calls.
    auto overlay = Overlay::Open(config);
    if (!overlay.ok()) co_return Annotate(overlay.status(), "set up the VXLAN device");

    Peer me{options_.node_name, *ip, *cidr, overlay->mac(), options_.vni};
    std::map<std::string, std::string> want = Announce(me);
    bool announced = true;
    for (const auto& [key, value] : want) {
      const auto it = self->metadata().annotations().find(key);
      announced &= it != self->metadata().annotations().end() && it->second == value;
    }
    if (!announced) {
      nlohmann::json patch;
      patch["metadata"]["annotations"] = want;
      client::PatchOptions merge;
      merge.type = client::PatchType::kMerge;
      auto patched = co_await rest_->Patch<core::Node>("", options_.node_name, patch.dump(), merge);
      if (!patched.ok()) co_return Annotate(patched.status(), "announce this node");
      LOG_INFO("Announced this node", {"node", options_.node_name}, {"publicIP", ip->ToString()},
               {"podCIDR", cidr->ToString()}, {"vtepMAC", overlay->mac()});
    }

    const std::vector<Peer> peers = ChooseAndTell(me);
    FirewallConfig rules{"skiff-cni", options_.cluster_cidr, *cidr, overlay->name(), options_.port};
    if (!firewall_ || firewall_key_ != cidr->ToString()) {
      firewall_.emplace(rules);
      firewall_key_ = cidr->ToString();
    }
    CO_RETURN_IF_ERROR(co_await firewall_->Apply(peers));
    CO_RETURN_IF_ERROR(RepairHostPorts(options_.state_dir), "host ports");
    const Overlay::Changes changes = overlay->Apply(peers);
    if (changes.added || changes.removed)
      LOG_INFO("Changed the overlay", {"nodes", peers.size()}, {"added", changes.added}, {"removed", changes.removed});
    CO_RETURN_IF_ERROR(changes.status);
    co_return Annotate(WriteConflist(options_.conf_dir, Conflist(*cidr, overlay->mtu(), options_.state_dir)),
                       "write the runtime's network configuration");
  }

  StatusOr<Ip> PublicIp(const core::Node& self) const {
    std::string text = options_.public_ip;
    for (const auto& address : self.status().addresses())
      if (text.empty() && address.type() == "InternalIP" && address.address().find(':') == std::string::npos)
        text = address.address();
    if (text.empty()) return NotFound("node \"", options_.node_name, "\" has no InternalIP yet");
    return Ip::Parse(text);
  }

  // Who is left out is told so once, by an event.
  std::vector<Peer> ChooseAndTell(const Peer& me) {
    Peers chosen = ChoosePeers(me, options_.cluster_cidr, nodes_->List(), peers_);
    for (const auto& [name, why] : chosen.bad) {
      const auto told = bad_.find(name);
      if (told != bad_.end() && told->second == why) continue;
      LOG_ERROR(InvalidArgument(why), "Ignoring a node of the overlay", {"node", name});
      if (const auto node = nodes_->Get(name)) events_.Record(*node, client::kWarning, "InvalidOverlayAnnotation", why);
    }
    bad_ = std::move(chosen.bad);
    peers_ = chosen.good;
    return std::move(chosen.good);
  }

  std::shared_ptr<client::Rest> rest_;
  AgentOptions options_;
  std::shared_ptr<client::Informer<core::Node>> nodes_;
  client::EventRecorder events_;
  Wakeup wakeup_;
  std::optional<Firewall> firewall_;
  std::string firewall_key_;
  std::vector<Peer> peers_;
  std::map<std::string, std::string> bad_;
};

}  // namespace

Task<Status> RunAgent(std::shared_ptr<client::Rest> rest, AgentOptions options) {
  Agent agent(std::move(rest), std::move(options));
  co_return co_await agent.Run();
}

Task<Status> Cleanup(AgentOptions options) {
  const Status device = Overlay::Remove(options.vni);
  const Status rules = co_await Firewall::Remove("skiff-cni");
  const std::string file = JoinPath(options.conf_dir, kConflistName);
  if (unlink(file.c_str()) != 0 && errno != ENOENT) co_return ErrnoStatus(errno, absl::StrCat("remove ", file));
  CO_RETURN_IF_ERROR(device, "remove the VXLAN device");
  co_return rules;
}

}  // namespace skiff::cni
