#include "kubelet/runtime/pod_state.h"

#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

std::string Value(const StringMap& map, const char* key) {
  auto it = map.find(key);
  return it == map.end() ? "" : it->second;
}

}  // namespace

const ContainerState* PodState::Find(std::string_view container_name) const {
  for (const auto& c : containers) {
    if (c.name == container_name) return &c;
  }
  return nullptr;
}

const ContainerState* PodState::FindId(std::string_view id) const {
  for (const auto& c : containers) {
    if (c.id == id) return &c;
  }
  return nullptr;
}

bool PodState::AnyRunning() const {
  return std::any_of(containers.begin(), containers.end(),
                     [](const auto& c) { return c.state == ContainerState::State::kRunning; });
}

bool PodState::AnyReady() const {
  return std::any_of(sandboxes.begin(), sandboxes.end(), [](const auto& s) { return s.ready; });
}

bool PodState::IsActive(const ContainerState& container) const {
  return !sandboxes.empty() && container.sandbox_id == sandboxes.front().id;
}

ContainerState ToContainerState(const cri_v1::ContainerStatus& s, std::string sandbox_id) {
  ContainerState out;
  out.id = s.id();
  out.sandbox_id = std::move(sandbox_id);
  out.name = Value(s.labels(), kContainerNameLabel);
  if (out.name.empty()) out.name = s.metadata().name();
  out.image = s.image().image();
  out.image_ref = s.image_ref();
  out.log_path = s.log_path();
  out.created_at = s.created_at();
  switch (s.state()) {
    case cri_v1::CONTAINER_CREATED: out.state = ContainerState::State::kCreated; break;
    case cri_v1::CONTAINER_RUNNING: out.state = ContainerState::State::kRunning; break;
    case cri_v1::CONTAINER_EXITED: out.state = ContainerState::State::kExited; break;
    default: out.state = ContainerState::State::kUnknown; break;
  }
  if (out.state != ContainerState::State::kCreated) out.started_at = s.started_at();
  if (out.state == ContainerState::State::kExited) {
    out.finished_at = s.finished_at();
    out.exit_code = s.exit_code();
    out.reason = s.reason();
    out.message = s.message();
  }
  if (!absl::SimpleAtoi(Value(s.annotations(), kRestartCountAnnotation), &out.restart_count)) out.restart_count = 0;
  if (!absl::SimpleHexAtoi(Value(s.annotations(), kContainerHashAnnotation), &out.hash)) out.hash = 0;
  if (s.has_user() && s.user().has_linux()) {
    ContainerState::User user{s.user().linux().uid(), s.user().linux().gid(), {}};
    user.groups.assign(s.user().linux().supplemental_groups().begin(), s.user().linux().supplemental_groups().end());
    out.user = std::move(user);
  }
  if (s.has_resources() && s.resources().has_linux()) {
    const auto& r = s.resources().linux();
    out.resources = ContainerState::Resources{r.cpu_shares(), r.cpu_quota(), r.cpu_period(), r.memory_limit_in_bytes()};
  }
  return out;
}

bool KilledForUnknownReason(const cri_v1::ContainerStatus& s) {
  return s.state() == cri_v1::CONTAINER_EXITED && s.exit_code() == 137 && (s.reason().empty() || s.reason() == "Error");
}

SandboxState ToSandboxState(const cri_v1::PodSandboxStatus& s) {
  SandboxState out;
  out.id = s.id();
  out.attempt = s.metadata().attempt();
  out.ready = s.state() == cri_v1::SANDBOX_READY;
  out.host_network = s.linux().namespaces().options().network() == cri_v1::NODE;
  out.has_network_status = s.has_network();
  out.created_at = s.created_at();
  if (!s.network().ip().empty()) out.ips.push_back(s.network().ip());
  for (const auto& ip : s.network().additional_ips()) {
    if (!ip.ip().empty()) out.ips.push_back(ip.ip());
  }
  return out;
}

// Counts decide where there are any: the runtime's times are the wall clock's, which may have been set back in between.
void Sort(PodState* state) {
  std::stable_sort(state->sandboxes.begin(), state->sandboxes.end(), [](const auto& a, const auto& b) {
    if (a.attempt != b.attempt) return a.attempt > b.attempt;
    return a.created_at > b.created_at;
  });
  std::stable_sort(state->containers.begin(), state->containers.end(),
                   [](const auto& a, const auto& b) { return a.created_at > b.created_at; });
  std::map<std::string_view, std::vector<size_t>> places;  // of each name, in order
  for (size_t i = 0; i < state->containers.size(); ++i) places[state->containers[i].name].push_back(i);
  std::vector<size_t> order(state->containers.size());
  for (const auto& [name, own] : places) {
    std::vector<size_t> sorted = own;
    std::stable_sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
      return state->containers[a].restart_count > state->containers[b].restart_count;
    });
    for (size_t i = 0; i < own.size(); ++i) order[own[i]] = sorted[i];
  }
  std::vector<ContainerState> containers;
  containers.reserve(order.size());
  for (size_t from : order) containers.push_back(std::move(state->containers[from]));
  state->containers = std::move(containers);
  if (!state->sandboxes.empty() && !state->sandboxes.front().ips.empty()) state->ips = state->sandboxes.front().ips;
}

}  // namespace skiff::kubelet
