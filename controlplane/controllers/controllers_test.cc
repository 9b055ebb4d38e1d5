// The controllers and the scheduler together against the fake API server, with a test in the kubelet's place.
#include "controlplane/controllers/controllers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/int_or_string.h"
#include "api/quantity.h"
#include "api/time.h"
#include "base/async_testing.h"
#include "client/fake_api_server.h"
#include "client/testing.h"
#include "controlplane/controllers/deployment_math.h"
#include "controlplane/controllers/endpoint_slices.h"
#include "controlplane/controllers/informers.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/scheduler/scheduler.h"
#include "k8s/io/api/core/v1/event.pb.h"

namespace skiff::controlplane {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;

Task<void> Controllers(std::shared_ptr<client::Rest> rest, ControllerOptions options,
                       std::shared_ptr<Informers> informers) {
  const Status status = co_await RunControllers(rest, options, informers);
  EXPECT_TRUE(status.ok()) << status;
}
Task<void> Scheduling(std::shared_ptr<client::Rest> rest, std::shared_ptr<Informers> informers) {
  const Status status = co_await RunScheduler(rest, {}, informers);
  EXPECT_TRUE(status.ok()) << status;
}

core::Node Node(const std::string& name, const std::string& cpu = "4") {
  core::Node node;
  node.mutable_metadata()->set_name(name);
  auto& allocatable = *node.mutable_status()->mutable_allocatable();
  allocatable["cpu"] = api::Quantity::Of(cpu).ToProto();
  allocatable["memory"] = api::Quantity::Of("8Gi").ToProto();
  allocatable["pods"] = api::Quantity::Of("110").ToProto();
  auto* ready = node.mutable_status()->add_conditions();
  ready->set_type("Ready");
  ready->set_status("True");
  return node;
}

apps::Deployment Deployment(const std::string& name, int replicas, const std::string& image = "web:1") {
  apps::Deployment d;
  d.mutable_metadata()->set_namespace_("default");
  d.mutable_metadata()->set_name(name);
  d.mutable_spec()->set_replicas(replicas);
  (*d.mutable_spec()->mutable_selector()->mutable_matchlabels())["app"] = name;
  auto* pod = d.mutable_spec()->mutable_template_();
  (*pod->mutable_metadata()->mutable_labels())["app"] = name;
  pod->mutable_spec()->set_schedulername("default-scheduler");
  auto* container = pod->mutable_spec()->add_containers();
  container->set_name("c");
  container->set_image(image);
  auto* port = container->add_ports();
  port->set_name("http");
  port->set_containerport(8080);
  port->set_protocol("TCP");
  d.mutable_spec()->mutable_strategy()->set_type("RollingUpdate");
  auto* rolling = d.mutable_spec()->mutable_strategy()->mutable_rollingupdate();
  *rolling->mutable_maxsurge() = api::FromString("25%");
  *rolling->mutable_maxunavailable() = api::FromString("25%");
  d.mutable_spec()->set_revisionhistorylimit(10);
  d.mutable_spec()->set_progressdeadlineseconds(600);
  return d;
}

class ControllersTest : public testing::Test {
 protected:
  void SetUp() override {
    core::Namespace ns;
    ns.mutable_metadata()->set_name("default");
    server_.Put(ns);
  }
  ~ControllersTest() override {
    group_.Cancel();
    client::RunUntil(loop_, [this] { return group_.size() == 0; });
  }
  void Start(ControllerOptions options = {}) {
    options.root_ca_pem = "CA";
    informers_ = MakeInformers(rest_);
    group_.Spawn("controllers", Controllers(rest_, options, informers_));
    group_.Spawn("scheduler", Scheduling(rest_, informers_));
    group_.Spawn("informers", RunInformers(informers_));
  }

  // Does the kubelets' part once: bound pods become ready, deleted ones go, and so on until the condition holds.
  bool Until(const std::function<bool()>& condition) {
    return client::RunUntil(loop_, [&] {
      if (kubelet_) {
        for (const auto& pod : server_.List<core::Pod>()) {
          if (pod->spec().nodename().empty() || IsPodReady(*pod)) continue;
          core::Pod ready = *pod;
          ready.mutable_status()->set_phase("Running");
          const std::string ip = absl::StrCat("10.244.0.", ++ips_);
          ready.mutable_status()->set_podip(ip);
          ready.mutable_status()->add_podips()->set_ip(ip);
          auto* condition_ready = ready.mutable_status()->add_conditions();
          condition_ready->set_type("Ready");
          condition_ready->set_status("True");
          *condition_ready->mutable_lasttransitiontime() = api::ToTime(Clock::Real().Now());
          server_.Put(ready);
        }
      }
      const int running = static_cast<int>(server_.List<core::Pod>().size());
      most_pods_ = std::max(most_pods_, running);
      return condition();
    });
  }
  std::shared_ptr<const apps::Deployment> D(const std::string& name) {
    return server_.Get<apps::Deployment>("default/" + name);
  }
  std::vector<std::string> Events(const std::string& reason) {
    std::vector<std::string> out;
    for (const auto& event : server_.List<core::Event>()) {
      if (event->reason() == reason) out.push_back(event->message());
    }
    return out;
  }

  asio::io_context loop_;
  client::FakeApiServer server_{loop_.get_executor()};
  std::shared_ptr<client::Rest> rest_ = server_.NewRest();
  std::shared_ptr<Informers> informers_;
  TaskGroup group_{loop_.get_executor()};
  bool kubelet_ = true;
  int ips_ = 0, most_pods_ = 0;
};

TEST_F(ControllersTest, ADeploymentBecomesReadyPodsBehindAService) {
  server_.Put(Node("n1"));
  server_.Put(Node("n2"));
  server_.Put(Deployment("web", 3));
  core::Service service;
  service.mutable_metadata()->set_namespace_("default");
  service.mutable_metadata()->set_name("web");
  (*service.mutable_spec()->mutable_selector())["app"] = "web";
  service.mutable_spec()->set_clusterip("10.96.0.20");
  service.mutable_spec()->add_ipfamilies("IPv4");
  auto* port = service.mutable_spec()->add_ports();
  port->set_port(80);
  port->set_protocol("TCP");
  *port->mutable_targetport() = api::FromString("http");
  server_.Put(service);
  Start();
  ASSERT_TRUE(Until([&] { return D("web")->status().availablereplicas() == 3; }));
  const auto sets = server_.List<apps::ReplicaSet>();
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0]->spec().replicas(), 3);
  EXPECT_EQ(sets[0]->metadata().annotations().at(kRevision), "1");
  const std::string hash = sets[0]->metadata().labels().at(kTemplateHash);
  EXPECT_EQ(sets[0]->metadata().name(), "web-" + hash);
  std::set<std::string> nodes;
  for (const auto& pod : server_.List<core::Pod>()) {
    nodes.insert(pod->spec().nodename());
    EXPECT_EQ(pod->metadata().labels().at(kTemplateHash), hash);
    EXPECT_EQ(pod->metadata().ownerreferences(0).uid(), sets[0]->metadata().uid());
  }
  EXPECT_EQ(nodes.size(), 2u);  // spread
  ASSERT_TRUE(Until([&] {
    const auto slices = server_.List<discovery::EndpointSlice>();
    if (slices.size() != 1 || slices[0]->endpoints_size() != 3) return false;
    for (const auto& e : slices[0]->endpoints()) {
      if (!e.conditions().ready()) return false;
    }
    return true;
  }));
  const auto slice = server_.List<discovery::EndpointSlice>()[0];
  EXPECT_EQ(slice->ports(0).port(), 8080);
  EXPECT_EQ(slice->metadata().labels().at(kServiceName), "web");
  ASSERT_TRUE(Until([&] {
    const auto endpoints = server_.Get<core::Endpoints>("default/web");
    return endpoints != nullptr && endpoints->subsets_size() == 1 && endpoints->subsets(0).addresses_size() == 3;
  }));
  ASSERT_TRUE(Until([&] {
    return D("web")->status().conditions_size() == 2 &&
           FindCondition(D("web")->status(), "Progressing")->reason() == "NewReplicaSetAvailable";
  }));
  EXPECT_EQ(FindCondition(D("web")->status(), "Available")->status(), "True");
  ASSERT_TRUE(Until([&] { return Events("SuccessfulCreate").size() == 3 && Events("Scheduled").size() == 3; }));
  EXPECT_THAT(Events("ScalingReplicaSet"), Contains("Scaled up replica set web-" + hash + " from 0 to 3"));
  EXPECT_NE(server_.Get<core::ServiceAccount>("default/default"), nullptr);
  EXPECT_EQ(server_.Get<core::ConfigMap>("default/kube-root-ca.crt")->data().at("ca.crt"), "CA");
  ASSERT_TRUE(Until([&] { return !server_.Get<core::Node>("n2")->spec().podcidr().empty(); }));
  EXPECT_NE(server_.Get<core::Node>("n1")->spec().podcidr(), server_.Get<core::Node>("n2")->spec().podcidr());
}

TEST_F(ControllersTest, ARollingUpdateKeepsWithinItsBoundsAndCanBeUndone) {
  server_.Put(Node("n1"));
  server_.Put(Deployment("web", 4));
  Start();
  ASSERT_TRUE(Until([&] { return D("web")->status().availablereplicas() == 4; }));
  const std::string first = server_.List<apps::ReplicaSet>()[0]->metadata().name();
  most_pods_ = 0;
  int least = 4;
  apps::Deployment next = *D("web");
  next.mutable_spec()->mutable_template_()->mutable_spec()->mutable_containers(0)->set_image("web:2");
  next.mutable_metadata()->set_generation(2);
  server_.Put(next);
  ASSERT_TRUE(Until([&] {
    int ready = 0;
    for (const auto& pod : server_.List<core::Pod>()) ready += IsPodReady(*pod);
    least = std::min(least, ready);
    const auto& status = D("web")->status();
    return status.observedgeneration() == 2 && status.updatedreplicas() == 4 && status.replicas() == 4 &&
           status.availablereplicas() == 4;
  }));
  EXPECT_GE(least, 3);       // maxUnavailable 25%
  EXPECT_LE(most_pods_, 5);  // maxSurge 25%
  ASSERT_EQ(server_.List<apps::ReplicaSet>().size(), 2u);
  ASSERT_TRUE(Until([&] { return D("web")->metadata().annotations().at(kRevision) == "2"; }));
  EXPECT_EQ(server_.Get<apps::ReplicaSet>("default/" + first)->spec().replicas(), 0);
  // Back to the first template: the old set is used again, with a new revision.
  next = *D("web");
  next.mutable_spec()->mutable_template_()->mutable_spec()->mutable_containers(0)->set_image("web:1");
  next.mutable_metadata()->set_generation(3);
  server_.Put(next);
  ASSERT_TRUE(Until([&] {
    return server_.Get<apps::ReplicaSet>("default/" + first)->status().availablereplicas() == 4 &&
           D("web")->status().updatedreplicas() == 4 && D("web")->status().replicas() == 4;
  }));
  const auto set = server_.Get<apps::ReplicaSet>("default/" + first);
  EXPECT_EQ(set->metadata().annotations().at(kRevision), "3");
  EXPECT_EQ(set->metadata().annotations().at(kRevisionHistory), "1");
  EXPECT_EQ(server_.List<apps::ReplicaSet>().size(), 2u);
}

TEST_F(ControllersTest, ScalesDownAndReplacesLostPods) {
  server_.Put(Node("n1"));
  server_.Put(Deployment("web", 5));
  Start();
  ASSERT_TRUE(Until([&] { return D("web")->status().availablereplicas() == 5; }));
  server_.Remove(core::Pod(), client::KeyOf(*server_.List<core::Pod>()[0]));
  ASSERT_TRUE(Until([&] { return server_.List<core::Pod>().size() == 5; }));
  apps::Deployment smaller = *D("web");
  smaller.mutable_spec()->set_replicas(2);
  smaller.mutable_metadata()->set_generation(5);
  server_.Put(smaller);
  ASSERT_TRUE(Until([&] { return server_.List<core::Pod>().size() == 2 && D("web")->status().replicas() == 2; }));
  ASSERT_TRUE(Until([&] { return D("web")->status().observedgeneration() == 5; }));
}

TEST_F(ControllersTest, DeletingADeploymentCollectsEverythingBelowIt) {
  server_.Put(Node("n1"));
  server_.Put(Deployment("web", 2));
  Start();
  ASSERT_TRUE(Until([&] { return D("web")->status().availablereplicas() == 2; }));
  server_.Remove(apps::Deployment(), "default/web");
  EXPECT_TRUE(Until([&] { return server_.List<apps::ReplicaSet>().empty() && server_.List<core::Pod>().empty(); }));
}

TEST_F(ControllersTest, ANamespaceIsEmptiedAndFinalized) {
  core::Namespace ns;
  ns.mutable_metadata()->set_name("going");
  ns.mutable_spec()->add_finalizers("kubernetes");
  server_.Put(ns);
  core::ConfigMap map;
  map.mutable_metadata()->set_namespace_("going");
  map.mutable_metadata()->set_name("m");
  server_.Put(map);
  Start();
  ASSERT_TRUE(Until([&] { return server_.Get<core::ServiceAccount>("going/default") != nullptr; }));
  ns = *server_.Get<core::Namespace>("going");
  *ns.mutable_metadata()->mutable_deletiontimestamp() = api::ToTime(Clock::Real().Now());
  server_.Put(ns);
  ASSERT_TRUE(Until([&] {
    return server_.Get<core::ConfigMap>("going/m") == nullptr &&
           server_.Get<core::ServiceAccount>("going/default") == nullptr &&
           (server_.Get<core::Namespace>("going") == nullptr ||
            server_.Get<core::Namespace>("going")->spec().finalizers().empty());
  }));
}

TEST_F(ControllersTest, SaysWhyAPodCannotBePlaced) {
  server_.Put(Node("n1", "1"));
  auto d = Deployment("big", 1);
  (*d.mutable_spec()
        ->mutable_template_()
        ->mutable_spec()
        ->mutable_containers(0)
        ->mutable_resources()
        ->mutable_requests())["cpu"] = api::Quantity::Of("100").ToProto();
  server_.Put(d);
  Start();
  const std::string why =
      "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: "
      "1 "
      "Preemption is not helpful for scheduling.";
  ASSERT_TRUE(Until([&] {
    const auto pods = server_.List<core::Pod>();
    return pods.size() == 1 && FindPodCondition(*pods[0], "PodScheduled") != nullptr;
  }));
  const auto* condition = FindPodCondition(*server_.List<core::Pod>()[0], "PodScheduled");
  EXPECT_EQ(condition->status(), "False");
  EXPECT_EQ(condition->reason(), "Unschedulable");
  EXPECT_EQ(condition->message(), why);
  ASSERT_TRUE(Until([&] { return !Events("FailedScheduling").empty(); }));
  EXPECT_EQ(Events("FailedScheduling")[0], why);
  // Room appears.
  server_.Put(Node("n2", "200"));
  ASSERT_TRUE(Until([&] { return server_.List<core::Pod>()[0]->spec().nodename() == "n2"; }));
}

TEST_F(ControllersTest, AnUnknownControllerNameIsAnError) {
  const Status status = RunTask(loop_, RunControllers(rest_, {.controllers = {"*", "-nothing"}}));
  EXPECT_EQ(status.message(), "\"nothing\" is not in the list of known controllers");
  EXPECT_FALSE(RunTask(loop_, RunControllers(rest_, {.cluster_cidr = "10.0.0.0/33"})).ok());
}

core::Pod RunningPod(const std::string& name, const std::string& node) {
  core::Pod pod;
  pod.mutable_metadata()->set_namespace_("default");
  pod.mutable_metadata()->set_name(name);
  pod.mutable_metadata()->set_uid(name);
  pod.mutable_spec()->set_nodename(node);
  pod.mutable_spec()->add_tolerations()->set_operator_("Exists");
  pod.mutable_status()->set_phase("Running");
  auto* ready = pod.mutable_status()->add_conditions();
  ready->set_type("Ready");
  ready->set_status("True");
  return pod;
}

TEST_F(ControllersTest, ATaintWithoutATimeEvictsWhenTheTolerationEnds) {
  kubelet_ = false;
  core::Node node = Node("n1");
  auto* taint = node.mutable_spec()->add_taints();
  taint->set_key("mine");
  taint->set_effect("NoExecute");
  server_.Put(node);
  auto tolerating = [](const char* name, int64_t seconds) {
    core::Pod pod = RunningPod(name, "n1");
    auto* toleration = pod.mutable_spec()->add_tolerations();
    toleration->set_key("mine");
    toleration->set_operator_("Exists");
    toleration->set_tolerationseconds(seconds);
    return pod;
  };
  server_.Put(tolerating("short", 1));
  server_.Put(tolerating("long", 1000));
  Start();
  auto leaving = [&](const char* name) {
    const auto pod = server_.Get<core::Pod>(absl::StrCat("default/", name));
    return pod == nullptr || pod->metadata().has_deletiontimestamp();
  };
  EXPECT_TRUE(Until([&] { return leaving("short"); }));
  EXPECT_FALSE(leaving("long"));
}

TEST_F(ControllersTest, ANodeThatSaysItIsNotReadySpeaksForItsPodsAndASilentOneDoesNot) {
  ControllerOptions options;
  options.node_monitor_period = std::chrono::seconds(1);
  options.node_monitor_grace_period = std::chrono::seconds(5);
  kubelet_ = false;
  for (const char* name : {"well", "ill", "silent"}) server_.Put(Node(name));
  server_.Put(RunningPod("on-ill", "ill"));
  server_.Put(RunningPod("on-silent", "silent"));
  Start(options);
  // Leases are the sign of life; the silent node renews none.
  int64_t beat = 1000;
  auto beating = [&](const std::function<bool()>& condition) {
    auto last = std::chrono::steady_clock::time_point();
    return Until([&] {
      if (std::chrono::steady_clock::now() - last > std::chrono::milliseconds(50)) {
        last = std::chrono::steady_clock::now();
        ++beat;
        for (const char* name : {"well", "ill"}) {
          coordination::Lease lease;
          lease.mutable_metadata()->set_namespace_("kube-node-lease");
          lease.mutable_metadata()->set_name(name);
          lease.mutable_spec()->mutable_renewtime()->set_seconds(beat);
          server_.Put(lease);
        }
      }
      return condition();
    });
  };
  ASSERT_TRUE(beating([&] { return server_.Get<core::Node>("silent") && informers_->nodes->Get("ill"); }));
  core::Node ill = *server_.Get<core::Node>("ill");
  ill.mutable_status()->mutable_conditions(0)->set_status("False");
  server_.Put(ill);
  auto tainted = [&](const char* node, const char* key) {
    int found = 0;
    for (const auto& taint : server_.Get<core::Node>(node)->spec().taints()) found += taint.key() == key;
    return found == 2;  // NoSchedule and NoExecute
  };
  ASSERT_TRUE(beating([&] {
    return tainted("ill", "node.kubernetes.io/not-ready") && tainted("silent", "node.kubernetes.io/unreachable") &&
           !IsPodReady(*server_.Get<core::Pod>("default/on-silent"));
  }));
  const auto silent = server_.Get<core::Node>("silent");
  ASSERT_EQ(silent->status().conditions(0).type(), "Ready");
  EXPECT_EQ(silent->status().conditions(0).status(), "Unknown");
  EXPECT_EQ(silent->status().conditions(0).reason(), "NodeStatusUnknown");
  EXPECT_EQ(silent->status().conditions(0).message(), "Kubelet stopped posting node status.");
  EXPECT_TRUE(IsPodReady(*server_.Get<core::Pod>("default/on-ill")));
  EXPECT_TRUE(beating([&] {
    const auto events = Events("NodeNotReady");
    return std::count(events.begin(), events.end(), "Node is not ready") == 1 &&
           std::count(events.begin(), events.end(), "Node silent status is now: NodeNotReady") == 1;
  }));
  EXPECT_TRUE(server_.Get<core::Node>("well")->spec().taints().empty());
}

}  // namespace
}  // namespace skiff::controlplane
