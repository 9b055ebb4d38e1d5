// The controllers and the scheduler against our own API server, in one process: what the fake one does not have
// (defaulting, admission, finalizers, subresources, protobuf from end to end).
#include <gtest/gtest.h>

#include "api/int_or_string.h"
#include "api/quantity.h"
#include "api/time.h"
#include "base/async_testing.h"
#include "base/files.h"
#include "client/kubeconfig.h"
#include "client/testing.h"
#include "controlplane/apiserver/api_server.h"
#include "controlplane/controllers/controllers.h"
#include "controlplane/controllers/deployment_math.h"
#include "controlplane/controllers/endpoint_slices.h"
#include "controlplane/controllers/informers.h"
#include "controlplane/controllers/pods.h"
#include "controlplane/scheduler/scheduler.h"
#include "k8s/io/api/core/v1/event.pb.h"

namespace skiff::controlplane {
namespace {

Task<void> Controllers(std::shared_ptr<client::Rest> rest, ControllerOptions options,
                       std::shared_ptr<Informers> informers) {
  const Status status = co_await RunControllers(rest, options, informers);
  EXPECT_TRUE(status.ok()) << status;
}
Task<void> Scheduling(std::shared_ptr<client::Rest> rest, std::shared_ptr<Informers> informers) {
  const Status status = co_await RunScheduler(rest, {}, informers);
  EXPECT_TRUE(status.ok()) << status;
}

class RealApiTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skiff-controllers-XXXXXX";
    dir_ = mkdtemp(name);
    ApiServerOptions options;
    options.bind_address = "127.0.0.1";
    options.advertise_address = "192.0.2.1";  // nobody dials it
    options.secure_port = 0;
    options.data_dir = dir_;
    options.write_kubeconfig = dir_ + "/kubeconfigs";
    ASSERT_TRUE(options.Complete().ok()) << options.Complete();
    auto server = ApiServer::Make(loop_, options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const Status started = RunTask(loop_, server_->Start());
    ASSERT_TRUE(started.ok()) << started;
    group_.Spawn("api server", server_->Run());
    auto config = client::LoadKubeconfig(options.write_kubeconfig + "/admin.kubeconfig");
    ASSERT_TRUE(config.ok()) << config.status();
    config->server = server_->local_url();
    config->qps = 0;
    rest_ = client::Rest::Make(loop_.get_executor(), *config).value();
    ControllerOptions controllers;
    controllers.root_ca_pem = server_->ca_pem();
    informers_ = MakeInformers(rest_);
    work_.Spawn("controllers", Controllers(rest_, controllers, informers_));
    work_.Spawn("scheduler", Scheduling(rest_, informers_));
    work_.Spawn("informers", RunInformers(informers_));
  }
  void TearDown() override {
    work_.Cancel();
    client::RunUntil(loop_, [this] { return work_.size() == 0; });
    group_.Cancel();
    client::RunUntil(loop_, [this] { return group_.size() == 0; });
    rest_.reset();
    server_.reset();
    EXPECT_TRUE(RemoveAll(dir_).ok());
  }

  template <typename T>
  T Make(T object) {
    auto created = RunTask(loop_, rest_->Create(std::move(object)));
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? *std::move(created) : T();
  }
  void MakeNode(const std::string& name) {
    core::Node node;
    node.mutable_metadata()->set_name(name);
    Make(node);
    const std::string now = api::FormatTime(Clock::Real().Now());
    const nlohmann::json patch = {
        {"status",
         {{"allocatable", {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}}},
          {"capacity", {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}}},
          {"conditions",
           nlohmann::json::array(
               {{{"type", "Ready"}, {"status", "True"}, {"lastHeartbeatTime", now}, {"lastTransitionTime", now}}})}}}};
    const auto patched = RunTask(loop_, rest_->Patch<core::Node>("", name, patch.dump(), {.subresource = "status"}));
    ASSERT_TRUE(patched.ok()) << patched.status();
  }

  // Plays the kubelets: pods on nodes become ready; deleted ones are let go.
  bool Until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      if (client::RunUntil(loop_, [&, n = 0]() mutable { return ++n > 3; }) && condition()) return true;
      for (const PodPtr& pod : informers_->pods->List()) {
        if (pod->spec().nodename().empty()) continue;
        const std::string& ns = pod->metadata().namespace_();
        if (IsBeingDeleted(pod->metadata())) {
          meta::DeleteOptions now;
          now.set_graceperiodseconds(0);
          const Status gone = RunTask(loop_, rest_->Delete<core::Pod>(ns, pod->metadata().name(), now));
          EXPECT_TRUE(gone.ok() || absl::IsNotFound(gone)) << gone;
        } else if (IsPodTerminal(*pod)) {
          continue;
        } else if (pod->metadata().labels().contains("job-name")) {
          const std::string patch = absl::StrCat(R"({"status":{"phase":")", job_phase_, R"("}})");
          const auto ended =
              RunTask(loop_, rest_->Patch<core::Pod>(ns, pod->metadata().name(), patch, {.subresource = "status"}));
          EXPECT_TRUE(ended.ok() || absl::IsNotFound(ended.status())) << ended.status();
        } else if (!IsPodReady(*pod)) {
          // The same at a second look at a pod that the cache still has as it was.
          const auto [own, _] = ips_.emplace(pod->metadata().uid(), ips_.size() + 1);
          const std::string ip = absl::StrCat("10.244.0.", own->second);
          const nlohmann::json patch = {
              {"status",
               {{"phase", "Running"},
                {"podIP", ip},
                {"podIPs", nlohmann::json::array({{{"ip", ip}}})},
                {"conditions",
                 nlohmann::json::array({{{"type", "Ready"},
                                         {"status", "True"},
                                         {"lastTransitionTime", api::FormatTime(Clock::Real().Now())}}})}}}};
          const auto ready = RunTask(
              loop_, rest_->Patch<core::Pod>(ns, pod->metadata().name(), patch.dump(), {.subresource = "status"}));
          EXPECT_TRUE(ready.ok() || absl::IsNotFound(ready.status())) << ready.status();
        }
      }
    }
    return false;
  }

  asio::io_context loop_;
  std::string dir_;
  std::unique_ptr<ApiServer> server_;
  std::shared_ptr<client::Rest> rest_;
  std::shared_ptr<Informers> informers_;
  TaskGroup group_{loop_.get_executor()}, work_{loop_.get_executor()};
  std::map<std::string, size_t> ips_;  // by pod
  std::string job_phase_ = "Succeeded";
};

apps::Deployment Deployment(const std::string& ns, int replicas, const std::string& image) {
  apps::Deployment d;
  d.mutable_metadata()->set_namespace_(ns);
  d.mutable_metadata()->set_name("web");
  d.mutable_spec()->set_replicas(replicas);
  (*d.mutable_spec()->mutable_selector()->mutable_matchlabels())["app"] = "web";
  auto* pod = d.mutable_spec()->mutable_template_();
  (*pod->mutable_metadata()->mutable_labels())["app"] = "web";
  auto* container = pod->mutable_spec()->add_containers();
  container->set_name("c");
  container->set_image(image);
  return d;
}

TEST_F(RealApiTest, ADeploymentRollsOutBehindAServiceAndItsNamespaceGoesAway) {
  MakeNode("n1");
  MakeNode("n2");
  core::Namespace ns;
  ns.mutable_metadata()->set_name("shop");
  Make(ns);
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("shop/default") != nullptr; }));
  Make(Deployment("shop", 3, "web:1"));
  core::Service service;
  service.mutable_metadata()->set_namespace_("shop");
  service.mutable_metadata()->set_name("web");
  (*service.mutable_spec()->mutable_selector())["app"] = "web";
  auto* port = service.mutable_spec()->add_ports();
  port->set_port(80);
  *port->mutable_targetport() = api::FromInt(8080);
  Make(service);

  ASSERT_TRUE(Until([&] {
    const auto d = informers_->deployments->Get("shop/web");
    return d != nullptr && d->status().availablereplicas() == 3 &&
           FindCondition(d->status(), "Progressing") != nullptr &&
           FindCondition(d->status(), "Progressing")->reason() == "NewReplicaSetAvailable";
  }));
  EXPECT_EQ(informers_->deployments->Get("shop/web")->metadata().annotations().at(kRevision), "1");
  ASSERT_TRUE(Until([&] {
    const auto slices = informers_->endpoint_slices->InNamespace("shop");
    if (slices.size() != 1 || slices[0]->endpoints_size() != 3) return false;
    for (const auto& endpoint : slices[0]->endpoints()) {
      if (!endpoint.conditions().ready()) return false;
    }
    return true;
  }));
  EXPECT_FALSE(informers_->nodes->Get("n1")->spec().podcidr().empty());
  EXPECT_EQ(informers_->root_cas->Get("shop/kube-root-ca.crt")->data().at("ca.crt"), server_->ca_pem());

  // A new template, then back.
  const auto set_image = [&](const char* image) {
    const nlohmann::json patch = nlohmann::json::array(
        {{{"op", "replace"}, {"path", "/spec/template/spec/containers/0/image"}, {"value", image}}});
    const auto patched =
        RunTask(loop_, rest_->Patch<apps::Deployment>("shop", "web", patch.dump(), {.type = client::PatchType::kJson}));
    return patched.status();
  };
  ASSERT_TRUE(set_image("web:2").ok());
  const auto rolled_out = [&](const char* revision) {
    const auto now = informers_->deployments->Get("shop/web");
    return now->metadata().annotations().at(kRevision) == revision &&
           now->status().observedgeneration() == now->metadata().generation() && IsComplete(*now, now->status());
  };
  ASSERT_TRUE(Until([&] { return rolled_out("2"); }));
  EXPECT_EQ(informers_->replica_sets->InNamespace("shop").size(), 2u);
  ASSERT_TRUE(set_image("web:1").ok());
  ASSERT_TRUE(Until([&] { return rolled_out("3"); }));
  EXPECT_EQ(informers_->replica_sets->InNamespace("shop").size(), 2u);

  ASSERT_TRUE(RunTask(loop_, rest_->Delete<core::Namespace>("", "shop")).ok());
  ASSERT_TRUE(Until([&] { return informers_->namespaces->Get("shop") == nullptr; }))
      << informers_->namespaces->Get("shop")->ShortDebugString();
  EXPECT_TRUE(informers_->pods->InNamespace("shop").empty());
}

TEST_F(RealApiTest, DeletionInTheForegroundWaitsForThePods) {
  MakeNode("n1");
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("default/default") != nullptr; }));
  Make(Deployment("default", 2, "web:1"));
  ASSERT_TRUE(Until([&] {
    const auto d = informers_->deployments->Get("default/web");
    return d != nullptr && d->status().availablereplicas() == 2;
  }));
  meta::DeleteOptions options;
  options.set_propagationpolicy("Foreground");
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<apps::Deployment>("default", "web", options)).ok());
  bool early = false;
  ASSERT_TRUE(Until([&] {
    const bool gone = informers_->deployments->Get("default/web") == nullptr;
    if (gone && !informers_->replica_sets->InNamespace("default").empty()) early = true;
    return gone && informers_->pods->InNamespace("default").empty();
  }));
  EXPECT_FALSE(early);
}

TEST_F(RealApiTest, OrphansStayAndAreAdopted) {
  MakeNode("n1");
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("default/default") != nullptr; }));
  Make(Deployment("default", 2, "web:1"));
  ASSERT_TRUE(Until([&] {
    const auto d = informers_->deployments->Get("default/web");
    return d != nullptr && d->status().availablereplicas() == 2;
  }));
  const std::string set = informers_->replica_sets->InNamespace("default")[0]->metadata().name();
  meta::DeleteOptions options;
  options.set_propagationpolicy("Orphan");
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<apps::Deployment>("default", "web", options)).ok());
  ASSERT_TRUE(Until([&] { return informers_->deployments->Get("default/web") == nullptr; }));
  ASSERT_TRUE(
      Until([&] { return informers_->replica_sets->InNamespace("default")[0]->metadata().ownerreferences().empty(); }));
  EXPECT_EQ(informers_->pods->InNamespace("default").size(), 2u);
  Make(Deployment("default", 2, "web:1"));
  ASSERT_TRUE(Until([&] {
    const auto sets = informers_->replica_sets->InNamespace("default");
    return sets.size() == 1 && sets[0]->metadata().ownerreferences_size() == 1;
  }));
  EXPECT_EQ(informers_->replica_sets->InNamespace("default")[0]->metadata().name(), set);
}

TEST_F(RealApiTest, ASilentNodeBecomesUnknown) {
  MakeNode("n1");
  // Its pods do not matter here; the conditions and taints do, without waiting for the grace period in real time.
  ASSERT_TRUE(Until([&] {
    const auto node = informers_->nodes->Get("n1");
    return node != nullptr && !node->spec().podcidr().empty() && node->spec().taints().empty();
  }));
  const nlohmann::json patch = {
      {"status",
       {{"conditions",
         nlohmann::json::array({{{"type", "Ready"}, {"status", "False"}, {"reason", "KubeletNotReady"}}})}}}};
  ASSERT_TRUE(RunTask(loop_, rest_->Patch<core::Node>("", "n1", patch.dump(), {.subresource = "status"})).ok());
  ASSERT_TRUE(Until([&] {
    const auto node = informers_->nodes->Get("n1");
    return node->spec().taints_size() == 1 && node->spec().taints(0).key() == "node.kubernetes.io/not-ready";
  }));
}

TEST_F(RealApiTest, ADaemonSetIsOnEveryNodeAndIsUpdatedInPlace) {
  MakeNode("n1");
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("default/default") != nullptr; }));
  apps::DaemonSet set;
  set.mutable_metadata()->set_namespace_("default");
  set.mutable_metadata()->set_name("agent");
  (*set.mutable_spec()->mutable_selector()->mutable_matchlabels())["app"] = "agent";
  auto* pod = set.mutable_spec()->mutable_template_();
  (*pod->mutable_metadata()->mutable_labels())["app"] = "agent";
  auto* container = pod->mutable_spec()->add_containers();
  container->set_name("c");
  container->set_image("agent:1");
  Make(set);
  const auto ready = [&](int nodes) {
    const auto now = informers_->daemon_sets->Get("default/agent");
    return now != nullptr && now->status().observedgeneration() == now->metadata().generation() &&
           now->status().desirednumberscheduled() == nodes && now->status().numberready() == nodes &&
           now->status().updatednumberscheduled() == nodes && now->status().numberavailable() == nodes;
  };
  ASSERT_TRUE(Until([&] { return ready(1); }));
  MakeNode("n2");
  ASSERT_TRUE(Until([&] { return ready(2); }));
  std::set<std::string> nodes;
  for (const PodPtr& p : informers_->pods->InNamespace("default")) nodes.insert(p->spec().nodename());
  EXPECT_EQ(nodes, (std::set<std::string>{"n1", "n2"}));
  const nlohmann::json patch = nlohmann::json::array(
      {{{"op", "replace"}, {"path", "/spec/template/spec/containers/0/image"}, {"value", "agent:2"}}});
  ASSERT_TRUE(RunTask(loop_, rest_->Patch<apps::DaemonSet>("default", "agent", patch.dump(),
                                                           {.type = client::PatchType::kJson}))
                  .ok());
  ASSERT_TRUE(Until([&] {
    if (!ready(2)) return false;
    for (const PodPtr& p : informers_->pods->InNamespace("default")) {
      if (p->spec().containers(0).image() != "agent:2") return false;
    }
    return true;
  }));
  const auto revisions = RunTask(loop_, rest_->List<apps::ControllerRevision>("default"));
  ASSERT_TRUE(revisions.ok());
  EXPECT_EQ(revisions->items.size(), 2u);
}

batch::Job Job(const std::string& name, int completions, int backoff_limit) {
  batch::Job job;
  job.mutable_metadata()->set_namespace_("default");
  job.mutable_metadata()->set_name(name);
  job.mutable_spec()->set_completions(completions);
  job.mutable_spec()->set_parallelism(2);
  job.mutable_spec()->set_backofflimit(backoff_limit);
  auto* spec = job.mutable_spec()->mutable_template_()->mutable_spec();
  spec->set_restartpolicy("Never");
  auto* container = spec->add_containers();
  container->set_name("c");
  container->set_image("work");
  return job;
}

std::string Outcome(const batch::Job& job) {
  for (const auto& condition : job.status().conditions()) {
    if ((condition.type() == "Complete" || condition.type() == "Failed") && condition.status() == "True") {
      return condition.type() + "/" + condition.reason();
    }
  }
  return "";
}

TEST_F(RealApiTest, JobsCompleteOrFail) {
  MakeNode("n1");
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("default/default") != nullptr; }));
  Make(Job("good", 3, 6));
  ASSERT_TRUE(Until([&] {
    const auto job = informers_->jobs->Get("default/good");
    return job != nullptr && !Outcome(*job).empty();
  }));
  const auto good = informers_->jobs->Get("default/good");
  EXPECT_EQ(Outcome(*good), "Complete/CompletionsReached");
  EXPECT_EQ(good->status().succeeded(), 3);
  EXPECT_EQ(good->status().failed(), 0);
  EXPECT_TRUE(good->status().has_completiontime());
  for (const PodPtr& pod : informers_->pods->InNamespace("default")) {
    EXPECT_EQ(pod->metadata().finalizers_size(), 0) << pod->metadata().name();
  }
  job_phase_ = "Failed";
  Make(Job("bad", 1, 0));
  ASSERT_TRUE(Until([&] {
    const auto job = informers_->jobs->Get("default/bad");
    return job != nullptr && !Outcome(*job).empty();
  }));
  EXPECT_EQ(Outcome(*informers_->jobs->Get("default/bad")), "Failed/BackoffLimitExceeded");
  EXPECT_EQ(informers_->jobs->Get("default/bad")->status().failed(), 1);
}

TEST_F(RealApiTest, BudgetsTellWhatMayBeEvicted) {
  MakeNode("n1");
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("default/default") != nullptr; }));
  Make(Deployment("default", 3, "web:1"));
  const auto budget = [&](const char* name, auto&& fill) {
    policy::PodDisruptionBudget made;
    made.mutable_metadata()->set_namespace_("default");
    made.mutable_metadata()->set_name(name);
    (*made.mutable_spec()->mutable_selector()->mutable_matchlabels())["app"] = "web";
    fill(made.mutable_spec());
    Make(made);
  };
  budget("most", [](auto* spec) { *spec->mutable_maxunavailable() = api::FromInt(1); });
  const auto now = [&](const char* name) { return informers_->budgets->Get("default", name); };
  const auto settled = [&](const char* name, int allowed) {
    const auto found = now(name);
    return found != nullptr && found->status().currenthealthy() == 3 &&
           found->status().disruptionsallowed() == allowed && found->status().disruptedpods().empty();
  };
  ASSERT_TRUE(Until([&] { return settled("most", 1); }));
  EXPECT_EQ(now("most")->status().desiredhealthy(), 2);
  EXPECT_EQ(now("most")->status().expectedpods(), 3);
  EXPECT_EQ(now("most")->status().observedgeneration(), now("most")->metadata().generation());
  ASSERT_EQ(now("most")->status().conditions_size(), 1);
  EXPECT_EQ(now("most")->status().conditions(0).type(), "DisruptionAllowed");
  EXPECT_EQ(now("most")->status().conditions(0).status(), "True");
  EXPECT_EQ(now("most")->status().conditions(0).reason(), "SufficientPods");

  const PodPtr pod = informers_->pods->InNamespace("default")[0];
  policy::Eviction eviction;
  eviction.mutable_metadata()->set_namespace_("default");
  eviction.mutable_metadata()->set_name(pod->metadata().name());
  const auto evicted = RunTask(loop_, rest_->CreateSub<core::Pod, policy::Eviction, meta::Status>(
                                          "default", pod->metadata().name(), "eviction", eviction));
  ASSERT_TRUE(evicted.ok()) << evicted.status();
  // No kubelet has made the replacement ready: no more may go.
  const auto used = RunTask(loop_, rest_->Get<policy::PodDisruptionBudget>("default", "most"));
  ASSERT_TRUE(used.ok());
  EXPECT_EQ(used->status().disruptionsallowed(), 0);
  ASSERT_TRUE(Until([&] { return settled("most", 1); }));

  budget("half", [](auto* spec) { *spec->mutable_minavailable() = api::FromString("50%"); });
  budget("number", [](auto* spec) { *spec->mutable_minavailable() = api::FromInt(3); });
  ASSERT_TRUE(Until([&] { return settled("half", 1) && settled("number", 0); }));
  EXPECT_EQ(now("half")->status().desiredhealthy(), 2);
  EXPECT_EQ(now("number")->status().conditions(0).reason(), "InsufficientPods");
}

TEST_F(RealApiTest, ClaimsAndVolumesGoWhenNothingUsesThem) {
  MakeNode("n1");
  core::Namespace ns;
  ns.mutable_metadata()->set_name("data");
  Make(ns);
  ASSERT_TRUE(Until([&] { return informers_->service_accounts->Get("data/default") != nullptr; }));
  storage::VolumeAttributesClass fast;
  fast.mutable_metadata()->set_name("fast");
  fast.set_drivername("csi.example.com");
  (*fast.mutable_parameters())["iops"] = "9";
  Make(fast);
  const auto resources = [](auto* spec) {
    spec->add_accessmodes("ReadWriteOnce");
    spec->set_volumeattributesclassname("fast");
  };
  for (const char* name : {"used", "kept"}) {
    core::PersistentVolumeClaim claim;
    claim.mutable_metadata()->set_namespace_("data");
    claim.mutable_metadata()->set_name(name);
    resources(claim.mutable_spec());
    (*claim.mutable_spec()->mutable_resources()->mutable_requests())["storage"] = api::Quantity::Of("1Gi").ToProto();
    Make(claim);
  }
  core::Pod pod;
  pod.mutable_metadata()->set_namespace_("data");
  pod.mutable_metadata()->set_name("user");
  pod.mutable_spec()->set_nodename("n1");
  auto* container = pod.mutable_spec()->add_containers();
  container->set_name("c");
  container->set_image("i");
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_persistentvolumeclaim()->set_claimname("used");
  Make(pod);
  core::PersistentVolume disk;
  disk.mutable_metadata()->set_name("disk");
  disk.mutable_spec()->add_accessmodes("ReadWriteOnce");
  (*disk.mutable_spec()->mutable_capacity())["storage"] = api::Quantity::Of("1Gi").ToProto();
  disk.mutable_spec()->mutable_persistentvolumesource()->mutable_hostpath()->set_path("/d");
  Make(disk);
  const auto phase = [&](const char* value) {
    const std::string patch = absl::StrCat(R"({"status":{"phase":")", value, R"("}})");
    return RunTask(loop_, rest_->Patch<core::PersistentVolume>("", "disk", patch, {.subresource = "status"})).status();
  };
  ASSERT_TRUE(phase("Bound").ok());

  ASSERT_TRUE(RunTask(loop_, rest_->Delete<core::PersistentVolumeClaim>("data", "used")).ok());
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<core::PersistentVolume>("", "disk")).ok());
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<storage::VolumeAttributesClass>("", "fast")).ok());
  // They are in use ..
  ASSERT_TRUE(Until([&, turns = 0]() mutable {
    const auto claim = informers_->claims->Get("data/used");
    const auto bound = informers_->volumes->Get("disk");
    const auto attributes = informers_->attributes_classes->Get("fast");
    return claim != nullptr && IsBeingDeleted(claim->metadata()) && bound != nullptr &&
           IsBeingDeleted(bound->metadata()) && attributes != nullptr && IsBeingDeleted(attributes->metadata()) &&
           ++turns > 5;
  }));
  // .. until they are not, and a namespace takes its claims with it.
  ASSERT_TRUE(phase("Released").ok());
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<core::Pod>("data", "user")).ok());
  ASSERT_TRUE(Until(
      [&] { return informers_->claims->Get("data/used") == nullptr && informers_->volumes->Get("disk") == nullptr; }));
  EXPECT_NE(informers_->claims->Get("data/kept"), nullptr);
  EXPECT_NE(informers_->attributes_classes->Get("fast"), nullptr);
  ASSERT_TRUE(RunTask(loop_, rest_->Delete<core::Namespace>("", "data")).ok());
  ASSERT_TRUE(Until([&] {
    return informers_->namespaces->Get("data") == nullptr && informers_->attributes_classes->Get("fast") == nullptr;
  }));
}

}  // namespace
}  // namespace skiff::controlplane
