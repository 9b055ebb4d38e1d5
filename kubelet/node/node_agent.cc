#include "kubelet/node/node_agent.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "base/log.h"
#include "kubelet/node/csi_node.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// In one order, whatever the runtime's.
std::vector<std::pair<int64_t, std::vector<std::string>>> ImagesOf(const core::NodeStatus& status) {
  std::vector<std::pair<int64_t, std::vector<std::string>>> out;
  for (const auto& image : status.images()) {
    auto& [size, names] = out.emplace_back(image.sizebytes(), std::vector<std::string>());
    names.assign(image.names().begin(), image.names().end());
    std::sort(names.begin(), names.end());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Whether two statuses differ in more than heartbeats.
bool Differ(const core::NodeStatus& a, const core::NodeStatus& b) {
  if (a.images_size() != b.images_size() || ImagesOf(a) != ImagesOf(b)) return true;
  core::NodeStatus x = a, y = b;
  for (auto* s : {&x, &y}) {
    for (auto& c : *s->mutable_conditions()) c.clear_lastheartbeattime();
    s->clear_images();
  }
  return !api::Equal(x, y);
}

// Whether a watch has shown a later version of the same node than the answer to a write.
bool IsLater(const core::Node& seen, const core::Node& answered) {
  uint64_t a = 0, b = 0;
  return seen.metadata().uid() == answered.metadata().uid() &&
         absl::SimpleAtoi(seen.metadata().resourceversion(), &a) &&
         absl::SimpleAtoi(answered.metadata().resourceversion(), &b) && a > b;
}

bool IsDefaultLabel(std::string_view key) {
  for (std::string_view own :
       {"kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type", "kubernetes.io/os",
        "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch"}) {
    if (key == own) return true;
  }
  return false;
}

// Reports of many nodes that changed together (an upgrade) spread: up to half the period earlier or later.
std::chrono::nanoseconds Spread(std::chrono::nanoseconds period) {
  static std::minstd_rand random{std::random_device{}()};
  return std::chrono::nanoseconds(
      std::uniform_int_distribution<int64_t>(-period.count() / 2, period.count() / 2)(random));
}

constexpr seconds kResolverPatience(1);

// A runtime that did not answer well for this long is down.
constexpr seconds kRuntimeSilence(30);

// As upstream prints a condition of the runtime.
std::string TextOf(const ::runtime::v1::RuntimeCondition* c) {
  if (c == nullptr) return "<nil>";
  return absl::StrCat(c->type(), "=", c->status() ? "true" : "false", " reason:", c->reason(),
                      " message:", c->message());
}

// One problem as it is, several as upstream prints an aggregate: each once, in brackets.
std::string Joined(const std::vector<std::string>& problems) {
  std::vector<std::string> once;
  for (const std::string& problem : problems) {
    if (std::find(once.begin(), once.end(), problem) == once.end()) once.push_back(problem);
  }
  if (once.size() <= 1) return absl::StrJoin(once, "");
  return absl::StrCat("[", absl::StrJoin(once, ", "), "]");
}

}  // namespace

NodeAgent::NodeAgent(asio::any_io_executor executor, std::shared_ptr<client::Rest> rest, cri::Runtime& runtime,
                     Clock& clock, client::EventSink& events, const Config& config, NodeFacts facts,
                     NodeResources resources)
    : executor_(executor),
      finding_(std::make_shared<Finding>(executor)),
      rest_(std::move(rest)),
      runtime_(runtime),
      clock_(clock),
      events_(events),
      config_(config),
      facts_(std::move(facts)),
      resources_(std::move(resources)),
      node_(MakeNode(config, facts_, resources_)) {}

client::ObjectReference NodeAgent::Reference() const {
  client::ObjectReference ref;
  ref.set_kind("Node");
  ref.set_apiversion("v1");
  ref.set_name(facts_.name);
  return ref;
}

void NodeAgent::Seen(const core::Node& node) {
  core::NodeStatus computed = node_.status();
  node_ = node;
  // Until ours is in it as well, its status may say nothing of what pods may have.
  if (!known_) *node_.mutable_status() = std::move(computed);
}

Task<void> NodeAgent::CheckRuntime() {
  auto answer = co_await runtime_.Status({}, {.timeout = seconds(10)});
  // Where checks are far apart (nodeStatusUpdateFrequency), it was good between them: one that fails is not an outage.
  if (runtime_ready_) last_good_ = std::max(*last_good_, clock_.Steady() - kRuntimeSilence + seconds(10));
  runtime_ready_ = false;
  if (!answer.ok()) {  // once is nothing yet; how long it lasts is what counts
    LOG_ERROR(answer.status(), "Container runtime sanity check failed");
    co_return;
  }
  const ::runtime::v1::RuntimeCondition *runtime = nullptr, *network = nullptr;
  for (const auto& c : answer->status().conditions()) {
    if (c.type() == "RuntimeReady") runtime = &c;
    if (c.type() == "NetworkReady") network = &c;
  }
  network_ready_ = absl::OkStatus();
  if (network == nullptr || !network->status()) {
    network_ready_ = absl::UnavailableError(absl::StrCat("container runtime network not ready: ", TextOf(network)));
  }
  runtime_problem_.clear();
  if (runtime == nullptr || !runtime->status()) {
    runtime_problem_ = absl::StrCat("container runtime not ready: ", TextOf(runtime));
    co_return;
  }
  runtime_ready_ = true;
  last_good_ = clock_.Steady();
  runtime_status_ = *std::move(answer);
}

std::string NodeAgent::RuntimeSilence() const {
  if (!last_good_) return "container runtime status check may not have completed yet";
  return !runtime_ready_ && clock_.Steady() - *last_good_ >= kRuntimeSilence ? "container runtime is down" : "";
}

Status NodeAgent::network_ready() const {
  // Nothing can be started for a pod then: it waits instead of failing.
  if (std::string silence = RuntimeSilence(); !silence.empty()) return absl::UnavailableError(silence);
  return network_ready_;
}

bool NodeAgent::RecursiveReadOnly(std::string_view handler) const {
  for (const auto& known : runtime_status_.runtime_handlers()) {
    if (known.name() == handler) return known.features().recursive_read_only_mounts();
  }
  return false;
}

Task<void> NodeAgent::TellPodCidr() {
  std::string wanted = config_.pod_cidr;
  if (rest_ != nullptr) {
    const auto& spec = node_.spec();
    wanted = spec.podcidrs().empty() ? spec.podcidr() : absl::StrJoin(spec.podcidrs(), ",");
  }
  if (wanted.empty() || wanted == pod_cidr_) co_return;
  ::runtime::v1::UpdateRuntimeConfigRequest request;
  request.mutable_runtime_config()->mutable_network_config()->set_pod_cidr(wanted);
  const auto answer = co_await runtime_.UpdateRuntimeConfig(std::move(request), {.timeout = seconds(10)});
  if (!answer.ok()) {
    LOG_ERROR(answer.status(), "Failed to update pod CIDR", {"podCIDR", wanted});
    co_return;
  }
  LOG_INFO("Updating Pod CIDR", {"originalPodCIDR", pod_cidr_}, {"newPodCIDR", wanted});
  pod_cidr_ = std::move(wanted);
}

void NodeAgent::Gone(const core::Node& last) {
  if (last.metadata().uid() != node_.metadata().uid()) return;
  known_ = false;
  node_.mutable_metadata()->clear_uid();
  node_.mutable_metadata()->clear_resourceversion();
}

Task<void> NodeAgent::Find(std::shared_ptr<Finding> finding, FindIps find) {
  finding->found = co_await RunBlockingFor(find);
  finding->running = false;
  finding->done.Notify();
}

Task<void> NodeAgent::FindAddresses() {
  if (!find_ips_) co_return;
  // A resolver that does not answer holds up neither the start nor the heartbeats: what it says counts when it comes.
  if (!std::exchange(finding_->running, true)) Spawn(executor_, "find addresses", Find(finding_, find_ips_));
  (co_await finding_->done.WaitFor(kResolverPatience)).IgnoreError();
  if (!finding_->found) co_return;
  auto found = *std::exchange(finding_->found, std::nullopt);
  if (!found.ok()) {  // the status keeps those it has
    if (!absl::IsCancelled(found.status())) {
      LOG_ERROR(found.status(), "Failed to set some node status fields", {"node", facts_.name});
    }
    facts_.ips.clear();
    co_return;
  }
  facts_.ips = *std::move(found);
  if (node_.status().addresses().empty()) {
    *node_.mutable_status()->mutable_addresses() = MakeNode(config_, facts_, resources_).status().addresses();
  }
}

// Both may be upgraded while the kubelet runs.
Task<void> NodeAgent::AskVersion() {
  facts_.os_image = OsImage();
  ::runtime::v1::VersionRequest request;
  request.set_version("0.1.0");
  const auto answer = co_await runtime_.Version(std::move(request), {.timeout = seconds(10)});
  if (!answer.ok()) co_return;
  facts_.runtime_name = answer->runtime_name();
  facts_.runtime_version = answer->runtime_version();
}

Task<NodeAgent::Images> NodeAgent::Observe() {
  co_await CheckRuntime();
  if (runtime_ready_) co_await AskVersion();
  co_await FindAddresses();
  co_return co_await runtime_.ListImages({}, {.timeout = seconds(30)});
}

std::vector<std::string> NodeAgent::RuntimeProblems() const {
  std::vector<std::string> problems{RuntimeSilence()};
  for (const auto& check : checks_) problems.push_back(check());
  problems.push_back(runtime_problem_);
  std::erase(problems, "");
  return problems;
}

std::string NodeAgent::RuntimeErrors() const { return Joined(RuntimeProblems()); }

NodeHealth NodeAgent::Health() const {
  NodeHealth health;
  std::vector<std::string> problems = RuntimeProblems();
  if (!network_ready_.ok()) problems.emplace_back(network_ready_.message());
  health.not_ready = Joined(problems);
  if (pressure_) {
    const NodePressure pressure = pressure_();
    health.memory_pressure = pressure.memory;
    health.disk_pressure = pressure.disk;
    health.pid_pressure = pressure.pid;
  }
  return health;
}

core::NodeStatus NodeAgent::Fresh(const core::NodeStatus& before, const Images& images) const {
  const core::Node made = MakeNode(config_, facts_, resources_);
  core::NodeStatus status = before;
  SetResources(resources_, &status);
  const bool theirs = HasExternalCloudProvider(config_) && before.addresses_size() > 0;
  if (!theirs && made.status().addresses_size() > 0) *status.mutable_addresses() = made.status().addresses();
  *status.mutable_daemonendpoints() = made.status().daemonendpoints();
  *status.mutable_nodeinfo() = made.status().nodeinfo();
  SetRuntimeFeatures(runtime_status_, &status);
  if (sources_ready_ && sources_ready_()) status.clear_volumesinuse();
  if (images.ok()) SetImages(*images, config_.node_status_max_images, &status);
  SetConditions(Health(), before, clock_.Now(), &status);
  return status;
}

void NodeAgent::ReportTransitions(const core::NodeStatus& before, const core::NodeStatus& after) {
  const std::string& boot = after.nodeinfo().bootid();
  if (!before.nodeinfo().bootid().empty() && before.nodeinfo().bootid() != boot) {
    events_.Record(Reference(), client::kWarning, "Rebooted",
                   absl::StrCat("Node ", facts_.name, " has been rebooted, boot id: ", boot));
  }
  auto event = [&](std::string_view reason) {
    events_.Record(Reference(), client::kNormal, reason,
                   absl::StrCat("Node ", facts_.name, " status is now: ", reason));
  };
  for (const auto& c : after.conditions()) {
    const core::NodeCondition* old = nullptr;
    for (const auto& o : before.conditions()) {
      if (o.type() == c.type()) old = &o;
    }
    if (old != nullptr && old->status() == c.status()) continue;
    const bool on = c.status() == "True";
    if (c.type() == "Ready") {
      if (on || old != nullptr) event(on ? "NodeReady" : "NodeNotReady");
    } else if (c.type() == "MemoryPressure") {
      event(on ? "NodeHasInsufficientMemory" : "NodeHasSufficientMemory");
    } else if (c.type() == "DiskPressure") {
      event(on ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure");
    } else if (c.type() == "PIDPressure") {
      event(on ? "NodeHasInsufficientPID" : "NodeHasSufficientPID");
    }
  }
}

// What the machine is cannot be changed by a label.
bool NodeAgent::RestoreLabels(core::Node* node) const {
  bool changed = false;
  auto& labels = *node->mutable_metadata()->mutable_labels();
  for (const auto& [key, value] :
       {std::pair<const char*, std::string_view>("kubernetes.io/os", "linux"),
        std::pair<const char*, std::string_view>("kubernetes.io/arch", facts_.architecture)}) {
    if (std::string& label = labels[key]; label != value) {
      label = value;
      changed = true;
    }
  }
  return changed;
}

void NodeAgent::ReportCordon(const core::Node& node) {
  if (std::exchange(cordoned_, node.spec().unschedulable()) == node.spec().unschedulable()) return;
  const char* reason = cordoned_ ? "NodeNotSchedulable" : "NodeSchedulable";
  events_.Record(Reference(), client::kNormal, reason, absl::StrCat("Node ", facts_.name, " status is now: ", reason));
}

Task<Status> NodeAgent::Register() {
  core::Node wanted = MakeNode(config_, facts_, resources_);
  const Images images = co_await Observe();
  *wanted.mutable_status() = Fresh(wanted.status(), images);
  auto created = co_await rest_->Create(wanted);
  if (created.ok()) {
    LOG_INFO("Successfully registered node", {"node", facts_.name});
    ReportTransitions({}, created->status());
    node_ = *std::move(created);
    last_report_ = clock_.Steady();
    registered_ = known_ = true;
    co_return absl::OkStatus();
  }
  // Who may not make nodes may have been given one.
  if (!client::IsAlreadyExists(created.status()) && !absl::IsPermissionDenied(created.status())) {
    co_return created.status();
  }
  CO_ASSIGN_OR_RETURN(core::Node existing, co_await rest_->Get<core::Node>("", facts_.name));
  LOG_INFO("Node was previously registered", {"node", facts_.name});
  // What the machine says of itself is put right; labels of others stay, and so do those that --node-labels gave once:
  // whoever changed them since meant it.
  core::Node update = existing;
  bool changed = false;
  auto reconcile = [&](const auto& from, auto* to) {
    for (const auto& [key, value] : from) {
      auto it = to->find(key);
      if (it == to->end() || it->second != value) {
        (*to)[key] = value;
        changed = true;
      }
    }
  };
  google::protobuf::Map<std::string, std::string> own;
  for (const auto& [key, value] : wanted.metadata().labels()) {
    if (IsDefaultLabel(key)) own[key] = value;
  }
  reconcile(own, update.mutable_metadata()->mutable_labels());
  auto& annotations = *update.mutable_metadata()->mutable_annotations();
  reconcile(wanted.metadata().annotations(), &annotations);
  if (!wanted.metadata().annotations().contains(kProvidedNodeIp)) {
    changed = annotations.erase(kProvidedNodeIp) > 0 || changed;
  }
  if (changed) {
    CO_ASSIGN_OR_RETURN(existing, co_await rest_->Update(update));
  }
  Seen(existing);
  registered_ = true;
  // Registered it is all the same when this fails: the status follows with the next round.
  if (Status s = co_await Update(true); !s.ok() && !absl::IsCancelled(s)) {
    LOG_ERROR(s, "Error updating node status, will retry", {"node", facts_.name});
  }
  co_return absl::OkStatus();
}

Task<Status> NodeAgent::Update(bool force) {
  co_await TellPodCidr();
  const Images images = co_await Observe();
  if (rest_ == nullptr) {
    *node_.mutable_status() = Fresh(node_.status(), images);
    co_return absl::OkStatus();
  }
  for (int attempt = 0; attempt < 5; ++attempt) {
    core::Node update = node_;
    if (!known_) {
      CO_ASSIGN_OR_RETURN(update, co_await rest_->Get<core::Node>("", facts_.name), "error getting node \"",
                          facts_.name, "\"");
    }
    // Ours over the newest that is known of theirs, in one go: others write conditions, resources and attached volumes
    // at any time, and what they wrote since makes the write a conflict.
    const core::NodeStatus before = update.status();
    *update.mutable_status() = Fresh(before, images);
    const bool relabelled = RestoreLabels(&update);
    const bool changed = Differ(before, update.status()) || relabelled;
    ReportCordon(update);
    const bool due = clock_.Steady() - last_report_ >= config_.node_status_report_frequency + report_delay_;
    if (!force && !due && !changed) {
      node_ = std::move(update);
      known_ = true;
      co_return absl::OkStatus();
    }
    auto answer = co_await rest_->UpdateStatus(std::move(update));
    if (answer.ok()) {
      const core::NodeStatus written = answer->status();
      if (!IsLater(node_, *answer)) {
        node_ = *std::move(answer);
        known_ = true;
      }
      last_report_ = clock_.Steady();
      report_delay_ = changed ? Spread(config_.node_status_report_frequency) : std::chrono::nanoseconds(0);
      ReportTransitions(before, written);
      co_return absl::OkStatus();
    }
    if (client::IsNotFound(answer.status())) Gone(node_);
    if (!client::IsConflict(answer.status())) co_return answer.status();
    known_ = false;
  }
  co_return absl::AbortedError("the node keeps changing");
}

Task<void> NodeAgent::Run() {
  milliseconds retry(200);
  while (!co_await IsCancelled()) {
    if (rest_ != nullptr && config_.register_node && !registered_) {
      Status s = co_await Register();
      if (!s.ok()) {
        LOG_ERROR(s, "Unable to register node with API server", {"node", facts_.name});
        retry = std::min(retry * 2, milliseconds(7000));
        if (absl::IsCancelled(co_await clock_.Sleep(retry))) break;
        continue;
      }
      retry = milliseconds(200);
      if (Status csi = co_await EnsureCsiNode(rest_, node_); !csi.ok() && !absl::IsCancelled(csi)) {
        LOG_ERROR(csi, "Failed to initialize CSINode", {"node", facts_.name});
      }
    } else if (Status s = co_await Update(false); !s.ok()) {
      if (absl::IsCancelled(s)) break;
      LOG_ERROR(s, "Error updating node status, will retry", {"node", facts_.name});
    }
    // A runtime that is not ready yet is looked at more often, so that it is seen at once when it is.
    const bool ready = runtime_ready_ && network_ready_.ok();
    if (absl::IsCancelled(co_await clock_.Sleep(ready ? config_.node_status_update_frequency
                                                      : std::chrono::nanoseconds(seconds(1))))) {
      break;
    }
  }
}

}  // namespace skiff::kubelet
