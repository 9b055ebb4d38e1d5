// Pods and runtime states in few words, for tests.
#ifndef SKIFF_KUBELET_POD_POD_TESTING_H_
#define SKIFF_KUBELET_POD_POD_TESTING_H_

#include <string>
#include <vector>

#include "kubelet/pod/types.h"
#include "kubelet/runtime/pod_state.h"

namespace skiff::kubelet::testing_pods {

inline Pod MakePod(std::vector<std::string> containers, std::vector<std::string> inits = {}) {
  Pod pod;
  auto* m = pod.mutable_metadata();
  m->set_name("p");
  m->set_namespace_("ns");
  m->set_uid("u-1");
  m->set_generation(1);
  m->set_resourceversion("1");
  auto* spec = pod.mutable_spec();
  spec->set_restartpolicy("Always");
  spec->set_dnspolicy("Default");
  spec->set_terminationgraceperiodseconds(30);
  spec->set_nodename("n1");
  auto add = [](auto* c, const std::string& name) {
    c->set_name(name);
    c->set_image("img");
    c->set_imagepullpolicy("IfNotPresent");
    c->set_terminationmessagepath("/dev/termination-log");
    c->set_terminationmessagepolicy("File");
  };
  for (const auto& name : containers) add(spec->add_containers(), name);
  for (const auto& name : inits) add(spec->add_initcontainers(), name);
  pod.mutable_status()->set_phase("Pending");
  return pod;
}

// Later calls make newer sandboxes and containers; containers belong to the newest sandbox.
struct StateBuilder {
  PodState state;
  int64_t now = 1000000000;

  StateBuilder() { state.uid = "u-1", state.name = "p", state.ns = "ns"; }
  StateBuilder& Sandbox(const std::string& id, bool ready = true, uint32_t attempt = 0) {
    SandboxState s;
    s.id = id;
    s.ready = ready;
    s.attempt = attempt;
    s.created_at = now++;
    s.has_network_status = true;
    if (ready) s.ips = {"10.0.0.5"};
    state.sandboxes.insert(state.sandboxes.begin(), s);
    if (ready) state.ips = s.ips;
    return *this;
  }
  StateBuilder& Container(const std::string& name, ContainerState::State st, int exit_code = 0, int restarts = 0) {
    ContainerState c;
    c.id = name + "-" + std::to_string(restarts);
    c.name = name;
    c.sandbox_id = state.sandboxes.front().id;
    c.state = st;
    c.exit_code = exit_code;
    c.created_at = c.started_at = now++;
    if (st == ContainerState::State::kExited) {
      c.finished_at = now++;
      c.reason = exit_code == 0 ? "Completed" : "Error";
    }
    c.restart_count = restarts;
    c.image = "img";
    state.containers.insert(state.containers.begin(), c);
    return *this;
  }
  operator const PodState&() const { return state; }
};

}  // namespace skiff::kubelet::testing_pods

#endif  // SKIFF_KUBELET_POD_POD_TESTING_H_
