#include "kubelet/runtime/env.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/async_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"

namespace skiff::kubelet {
namespace {

using ::testing::Contains;
using ::testing::Pair;
using testing_pods::MakePod;

TEST(Expand, AsUpstream) {
  std::map<std::string, std::string, std::less<>> vars = {{"A", "a"}, {"B", "$(A)"}};
  auto lookup = [&](std::string_view name) -> const std::string* {
    auto it = vars.find(name);
    return it == vars.end() ? nullptr : &it->second;
  };
  struct Case {
    const char *in, *out;
  };
  for (const Case& c : {Case{"$(A)", "a"},
                        {"x$(A)y", "xay"},
                        {"$$(A)", "$(A)"},
                        {"$(NO)", "$(NO)"},
                        {"$A", "$A"},
                        {"$(A", "$(A"},
                        {"$", "$"},
                        {"$$", "$"},
                        {"$(B)", "$(A)"},
                        {"", ""},
                        {"a$", "a$"}}) {
    EXPECT_EQ(Expand(c.in, lookup), c.out) << c.in;
  }
}

std::shared_ptr<const core::Service> Service(const char* ns, const char* name, const char* ip) {
  auto s = std::make_shared<core::Service>();
  s->mutable_metadata()->set_name(name);
  s->mutable_metadata()->set_namespace_(ns);
  s->mutable_spec()->set_clusterip(ip);
  auto* port = s->mutable_spec()->add_ports();
  port->set_port(443);
  port->set_protocol("TCP");
  port->set_name("https");
  return s;
}

TEST(ServiceEnv, DockerAndKubernetesNames) {
  Env env = ServiceEnv({Service("default", "my-svc", "10.0.0.1")});
  EXPECT_EQ(env, (Env{{"MY_SVC_SERVICE_HOST", "10.0.0.1"},
                      {"MY_SVC_SERVICE_PORT", "443"},
                      {"MY_SVC_SERVICE_PORT_HTTPS", "443"},
                      {"MY_SVC_PORT", "tcp://10.0.0.1:443"},
                      {"MY_SVC_PORT_443_TCP", "tcp://10.0.0.1:443"},
                      {"MY_SVC_PORT_443_TCP_PROTO", "tcp"},
                      {"MY_SVC_PORT_443_TCP_PORT", "443"},
                      {"MY_SVC_PORT_443_TCP_ADDR", "10.0.0.1"}}));
}

TEST(ServiceEnv, WhoSeesWhat) {
  std::vector<std::shared_ptr<const core::Service>> all = {
      Service("default", "kubernetes", "10.0.0.1"), Service("ns", "a", "10.0.0.2"), Service("other", "b", "10.0.0.3"),
      Service("ns", "headless", "None")};
  EXPECT_EQ(VisibleServices(all, "ns", true).size(), 2u);
  EXPECT_EQ(VisibleServices(all, "ns", false).size(), 1u);
}

class Objects final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string, std::string name) override {
    if (name != "cm") co_return NotFound("configmap \"", name, "\" not found");
    auto out = std::make_shared<ConfigMap>();
    (*out->mutable_data())["k"] = "v";
    (*out->mutable_data())["bad=name"] = "v";
    co_return std::shared_ptr<const ConfigMap>(out);
  }
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string, std::string name) override {
    co_return NotFound("secret \"", name, "\" not found");
  }
  Task<StatusOr<Token>> GetToken(TokenRequest) override { co_return Unavailable("none"); }
  void RegisterPod(const Pod&) override {}
  void UnregisterPod(const std::string&) override {}
};

StatusOr<Env> Make(const Pod& pod, std::vector<std::string>* invalid = nullptr, std::string empty_dirs = "") {
  static Objects objects;
  asio::io_context loop;
  EnvFacts facts;
  facts.pod_ip = "10.1.1.1";
  facts.pod_ips = {"10.1.1.1"};
  facts.host_ips = {"10.2.2.2"};
  facts.allocatable["cpu"] = api::Quantity(2).ToProto();
  facts.empty_dirs = std::move(empty_dirs);
  StatusOr<Env> out = absl::UnknownError("not run");
  struct Run {
    static Task<void> Do(const Pod& pod, const EnvFacts& facts, std::vector<std::string>* invalid, StatusOr<Env>* out) {
      *out = co_await MakeEnv(pod, pod.spec().containers(0), facts, {}, objects, invalid);
    }
  };
  Spawn(loop.get_executor(), "env", Run::Do(pod, facts, invalid, &out));
  loop.run();
  return out;
}

TEST(MakeEnv, FieldsResourcesAndReferences) {
  Pod pod = MakePod({"c"});
  (*pod.mutable_metadata()->mutable_labels())["l"] = "label";
  auto* c = pod.mutable_spec()->mutable_containers(0);
  auto field = [&](const char* name, const char* path) {
    auto* e = c->add_env();
    e->set_name(name);
    e->mutable_valuefrom()->mutable_fieldref()->set_fieldpath(path);
  };
  field("IP", "status.podIP");
  field("HOST", "status.hostIP");
  field("NAME", "metadata.name");
  field("OLD", "spec.host");
  field("LABEL", "metadata.labels['l']");
  auto* e = c->add_env();
  e->set_name("CPU");
  e->mutable_valuefrom()->mutable_resourcefieldref()->set_resource("limits.cpu");
  e = c->add_env();
  e->set_name("JOINED");
  e->set_value("$(NAME)-$(IP)-$(MISSING)");
  e = c->add_env();
  e->set_name("CM");
  auto* ref = e->mutable_valuefrom()->mutable_configmapkeyref();
  ref->mutable_localobjectreference()->set_name("cm");
  ref->set_key("k");
  auto* from = c->add_envfrom();
  from->set_prefix("P_");
  from->mutable_configmapref()->mutable_localobjectreference()->set_name("cm");
  std::vector<std::string> invalid;
  auto env = Make(pod, &invalid);
  ASSERT_TRUE(env.ok()) << env.status();
  for (auto [name, value] : {std::pair{"IP", "10.1.1.1"},
                             {"HOST", "10.2.2.2"},
                             {"NAME", "p"},
                             {"OLD", "n1"},
                             {"LABEL", "label"},
                             {"CPU", "2"},
                             {"JOINED", "p-10.1.1.1-$(MISSING)"},
                             {"CM", "v"},
                             {"P_k", "v"}}) {
    EXPECT_THAT(*env, Contains(Pair(std::string(name), std::string(value))));
  }
  ASSERT_EQ(invalid.size(), 1u);
}

TEST(MakeEnv, LimitsThatAreNotSet) {
  Pod pod = MakePod({"c"}, {"i"});
  EnvFacts facts;
  facts.allocatable["cpu"] = api::Quantity(2).ToProto();
  facts.allocatable["hugepages-2Mi"] = api::Quantity::Of("64Mi").ToProto();
  auto value = [&](const core::Container& c, const char* of, const char* resource) {
    core::ResourceFieldSelector selector;
    selector.set_containername(of);
    selector.set_resource(resource);
    return *ResourceFieldValue(pod, c, selector, facts);
  };
  const core::Container &main = pod.spec().containers(0), &init = pod.spec().initcontainers(0);
  EXPECT_EQ(value(main, "", "limits.cpu"), "2") << "the node's";
  EXPECT_EQ(value(main, "c", "limits.cpu"), "2");
  EXPECT_EQ(value(init, "", "limits.cpu"), "2");
  EXPECT_EQ(value(init, "i", "limits.cpu"), "0") << "as upstream, for an init container by its name";
  EXPECT_EQ(value(main, "", "limits.hugepages-2Mi"), "0") << "never overcommitted";
}

TEST(MakeEnv, Errors) {
  Pod pod = MakePod({"c"});
  auto* e = pod.mutable_spec()->mutable_containers(0)->add_env();
  e->set_name("X");
  auto* ref = e->mutable_valuefrom()->mutable_configmapkeyref();
  ref->mutable_localobjectreference()->set_name("cm");
  ref->set_key("nokey");
  EXPECT_EQ(Make(pod).status().message(), "couldn't find key nokey in ConfigMap ns/cm");
  ref->mutable_localobjectreference()->set_name("nope");
  EXPECT_EQ(Make(pod).status().message(), "configmap \"nope\" not found");
  ref->set_optional(true);
  EXPECT_TRUE(Make(pod).ok());
  e->mutable_valuefrom()->mutable_fieldref()->set_fieldpath("spec.nope");
  EXPECT_EQ(Make(pod).status().message(), "unsupported fieldPath: spec.nope");
  e->mutable_valuefrom()->mutable_fieldref()->set_fieldpath("spec.host");  // what old clients call spec.nodeName
  EXPECT_TRUE(Make(pod).ok());
}

TEST(MakeEnv, FilesOfAVolume) {
  char name[] = "/tmp/skiff-env-XXXXXX";
  const std::string dir = ::mkdtemp(name);
  std::filesystem::create_directories(dir + "/empty-dirs/v");
  std::ofstream(dir + "/empty-dirs/v/env") << "A='from a file'\n";
  std::ofstream(dir + "/outside") << "A='not this'\n";
  std::filesystem::create_symlink(dir + "/outside", dir + "/empty-dirs/v/link");
  Pod pod = MakePod({"c"});
  auto* volume = pod.mutable_spec()->add_volumes();
  volume->set_name("v");
  volume->mutable_volumesource()->mutable_emptydir();
  auto* e = pod.mutable_spec()->mutable_containers(0)->add_env();
  e->set_name("X");
  auto* ref = e->mutable_valuefrom()->mutable_filekeyref();
  ref->set_volumename("v");
  ref->set_path("env");
  ref->set_key("A");
  EXPECT_THAT(*Make(pod, nullptr, dir + "/empty-dirs"), Contains(Pair("X", "from a file")));
  ref->set_key("B");
  EXPECT_EQ(Make(pod, nullptr, dir + "/empty-dirs").status().message(),
            "environment variable key \"B\" not found in file \"" + dir + "/empty-dirs/v/env\"");
  ref->set_optional(true);
  EXPECT_TRUE(Make(pod, nullptr, dir + "/empty-dirs").ok());
  ref->set_optional(false);
  ref->set_key("A");
  std::filesystem::create_directories(dir + "/empty-dirs/v/sub");
  std::filesystem::create_symlink("../env", dir + "/empty-dirs/v/sub/inside");
  std::filesystem::create_symlink("/env", dir + "/empty-dirs/v/absolute");
  std::filesystem::create_symlink("../../../env", dir + "/empty-dirs/v/upwards");
  for (const char* path : {"sub/inside", "absolute", "upwards", "../env"}) {
    ref->set_path(path);
    EXPECT_THAT(*Make(pod, nullptr, dir + "/empty-dirs"), Contains(Pair("X", "from a file"))) << path;
  }
  ASSERT_EQ(::mkfifo((dir + "/empty-dirs/v/pipe").c_str(), 0666), 0);
  for (const char* path : {"link", "../../outside", "none", "pipe", "sub"}) {
    ref->set_path(path);
    EXPECT_EQ(Make(pod, nullptr, dir + "/empty-dirs").status().message(), "couldn't parse env file") << path;
  }
  ref->set_volumename("other");
  EXPECT_EQ(Make(pod, nullptr, dir + "/empty-dirs").status().message(),
            "cannot find the volume \"other\" referenced by FileKeyRef");
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace skiff::kubelet
