#include "cni/agent/agent.h"

#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/log.h"
#include "client/events.h"
#include "client/informer.h"
#include "cni/agent/conflist.h"
#include "cni/agent/firewall.h"
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
    group.Spawn("watch nodes", nodes_->Run());
    group.Spawn("send events", events_.Run());
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

    const std::vector<Peer> peers = Peers();
    FirewallConfig rules{"skiff-cni", options_.cluster_cidr, *cidr, overlay->name(), options_.port};
    if (!firewall_ || firewall_key_ != cidr->ToString()) {
      firewall_.emplace(rules);
      firewall_key_ = cidr->ToString();
    }
    CO_RETURN_IF_ERROR(co_await firewall_->Apply(peers));
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

  // Valid peers. One that announces itself wrongly, or claims a subnet or address that another holds, is left out
  // alone, and told so once by an event.
  std::vector<Peer> Peers() {
    std::vector<Peer> peers;
    std::map<std::string, std::string> bad;
    nodes_->ForEach([&](const std::shared_ptr<const core::Node>& node) {
      if (node->metadata().name() == options_.node_name) return;
      auto peer = ReadPeer(*node);
      Status status = peer.status();
      if (peer.ok() && peer->vni != options_.vni)
        status =
            InvalidArgument("annotation ", kBackendData, ": VNI ", peer->vni, " is not this cluster's ", options_.vni);
      if (peer.ok() && !options_.cluster_cidr.Contains(peer->pod_cidr.ip))
        status = InvalidArgument("spec.podCIDR: ", peer->pod_cidr.ToString(), " is not within ",
                                 options_.cluster_cidr.ToString());
      for (const Peer& other : peers)
        if (peer.ok() &&
            (other.pod_cidr.Contains(peer->pod_cidr.First()) || peer->pod_cidr.Contains(other.pod_cidr.First()) ||
             other.public_ip == peer->public_ip || other.mac == peer->mac))
          status = InvalidArgument("its subnet, address or MAC is also node ", other.node, "'s");
      if (status.ok()) {
        peers.push_back(*std::move(peer));
      } else if (!absl::IsNotFound(status)) {
        bad[node->metadata().name()] = std::string(status.message());
        if (bad_[node->metadata().name()] != status.message()) {
          LOG_ERROR(status, "Ignoring a node of the overlay", {"node", node->metadata().name()});
          events_.Record(*node, client::kWarning, "InvalidOverlayAnnotation", std::string(status.message()));
        }
      }
    });
    bad_ = std::move(bad);
    return peers;
  }

  std::shared_ptr<client::Rest> rest_;
  AgentOptions options_;
  std::shared_ptr<client::Informer<core::Node>> nodes_;
  client::EventRecorder events_;
  Wakeup wakeup_;
  std::optional<Firewall> firewall_;
  std::string firewall_key_;
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
