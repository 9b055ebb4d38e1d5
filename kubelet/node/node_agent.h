// Keeps this node's object in the API server: registers it, writes its status when something changed and every few
// minutes otherwise. Loop only. Upstream: kubernetes.io/docs/reference/node/node-status.
#ifndef SKIFF_KUBELET_NODE_NODE_AGENT_H_
#define SKIFF_KUBELET_NODE_NODE_AGENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/events.h"
#include "client/rest.h"
#include "cri/runtime.h"
#include "kubelet/eviction/eviction_manager.h"
#include "kubelet/node/node_facts.h"

namespace skiff::kubelet {

class NodeAgent {
 public:
  // `rest` null: standalone; the status is computed and kept, and goes nowhere.
  NodeAgent(asio::any_io_executor executor, std::shared_ptr<client::Rest> rest, cri::Runtime& runtime, Clock& clock,
            client::EventSink& events, const Config& config, NodeFacts facts, NodeResources resources);

  // What else may make the node not ready (the relist that stands still): a sentence, or "".
  void AddHealthCheck(std::function<std::string()> check) { checks_.push_back(std::move(check)); }

  // True once all that should run here is known: only then does the status say that nothing of it uses volumes that are
  // attached for it. An earlier kubelet may have said so of some; this one has none.
  void SetSourcesReady(std::function<bool()> ready) { sources_ready_ = std::move(ready); }

  // Where the pressure conditions come from.
  void SetPressure(std::function<NodePressure()> pressure) { pressure_ = std::move(pressure); }

  // Finds the node's addresses; on the blocking pool, before each status. Without, they stay what the facts say.
  using FindIps = std::function<StatusOr<std::vector<std::string>>()>;
  void SetAddresses(FindIps find) { find_ips_ = std::move(find); }
  // Once, before pods are told of them.
  Task<void> FindAddresses();

  // Asks the runtime once; before any pod is looked at.
  Task<void> CheckRuntime();
  Task<void> Run();  // until cancelled

  // Whether a pod can be given a network now.
  Status network_ready() const;
  // As the last check found it.
  bool runtime_ready() const { return runtime_ready_; }
  // Why nothing can be done for pods, the network left out; "" where it can.
  std::string RuntimeErrors() const;
  const NodeFacts& facts() const { return facts_; }
  const NodeResources& resources() const { return resources_; }
  // As last computed or seen.
  const core::Node& node() const { return node_; }
  void Seen(const core::Node& node);  // the API's version
  // Somebody deleted it. It is not made anew: that takes a restart, or somebody else.
  void Gone(const core::Node& last);
  // What pods are told of this node: of the addresses in its status, others' included.
  std::vector<std::string> HostIps() const { return kubelet::HostIps(node_.status()); }
  std::string uid() const { return node_.metadata().uid(); }
  // The runtime's handler ("": the default) makes what is mounted below a read-only volume read-only as well.
  bool RecursiveReadOnly(std::string_view handler) const;
  client::ObjectReference Reference() const;

 private:
  Task<Status> Register();
  Task<Status> Update(bool force);
  using Images = StatusOr<::runtime::v1::ListImagesResponse>;  // an error: the status keeps what it has
  // Asks the machine and the runtime what the status tells of them.
  Task<Images> Observe();
  NodeHealth Health() const;
  Task<void> AskVersion();
  std::vector<std::string> RuntimeProblems() const;
  std::string RuntimeSilence() const;  // why a runtime that does not answer makes the node not ready, or ""
  // What the kubelet keeps, as last observed, over what others keep in the same status.
  core::NodeStatus Fresh(const core::NodeStatus& before, const Images& images) const;
  // Tells the runtime the node's pod subnets when they are new: it makes its network configuration of them where it has
  // a template. Standalone they are the configuration's.
  Task<void> TellPodCidr();
  bool RestoreLabels(core::Node* node) const;  // true if somebody had changed them
  void ReportCordon(const core::Node& node);
  void ReportTransitions(const core::NodeStatus& before, const core::NodeStatus& after);

  // A look for the addresses: one at a time, which may outlive this.
  struct Finding {
    explicit Finding(asio::any_io_executor executor) : done(executor) {}
    bool running = false;
    std::optional<StatusOr<std::vector<std::string>>> found;
    Wakeup done;
  };
  static Task<void> Find(std::shared_ptr<Finding> finding, FindIps find);

  asio::any_io_executor executor_;
  std::shared_ptr<Finding> finding_;
  std::shared_ptr<client::Rest> rest_;
  cri::Runtime& runtime_;
  Clock& clock_;
  client::EventSink& events_;
  const Config& config_;
  NodeFacts facts_;
  NodeResources resources_;
  std::vector<std::function<std::string()>> checks_;
  std::function<NodePressure()> pressure_;
  std::function<bool()> sources_ready_;
  FindIps find_ips_;
  core::Node node_;
  bool known_ = false;  // node_ is as the API has it, our status in it
  ::runtime::v1::StatusResponse runtime_status_;
  std::string pod_cidr_;  // as the runtime knows it
  Status network_ready_ = absl::UnavailableError("network state unknown");
  bool runtime_ready_ = false;
  bool cordoned_ = false;                // as events have told
  bool registered_ = false;              // once by this process, whatever became of it
  std::optional<SteadyTime> last_good_;  // when a check last found the runtime ready
  std::string runtime_problem_;          // what a runtime that answers says of itself
  SteadyTime last_report_{};
  std::chrono::nanoseconds report_delay_{0};
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_NODE_NODE_AGENT_H_
