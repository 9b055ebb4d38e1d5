// What containers are given, as tables: resolver settings, hostnames, security contexts.
#include <unistd.h>

#include <cstring>

#include "absl/strings/escaping.h"
#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/runtime/container_config.h"
#include "kubelet/runtime/dns.h"
#include "kubelet/runtime/dns_warnings.h"
#include "kubelet/runtime/image_puller.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_pods::MakePod;
using Strings = std::vector<std::string>;

// As upstream: no limit is told of a pod of which one container has none.
TEST(SandboxUpdate, IsWhatThePodsCgroupGets) {
  Pod pod = MakePod({"a", "b"});
  auto limit = [](core::Container* c, const char* name, const char* value) {
    (*c->mutable_resources()->mutable_limits())[name] = api::Quantity::Of(value).ToProto();
  };
  NodeSettings node;
  node.cfs_quota = true;
  node.cfs_period_micros = 100000;
  limit(pod.mutable_spec()->mutable_containers(0), "memory", "64Mi");
  limit(pod.mutable_spec()->mutable_containers(0), "cpu", "1");
  limit(pod.mutable_spec()->mutable_containers(1), "cpu", "1");
  cri_v1::LinuxContainerResources resources, overhead;
  SetSandboxUpdate(pod, node, &resources, &overhead);
  EXPECT_EQ(resources.memory_limit_in_bytes(), 0);
  EXPECT_EQ(resources.cpu_quota(), 200000);
  limit(pod.mutable_spec()->mutable_containers(1), "memory", "64Mi");
  SetSandboxUpdate(pod, node, &resources, &overhead);
  EXPECT_EQ(resources.memory_limit_in_bytes(), 128 << 20);
}

TEST(Dns, Policies) {
  char path[] = "/tmp/skiff-resolv-XXXXXX";
  int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  const std::string text =
      "# comment\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch host.example.\noptions ndots:2 rotate\n";
  ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(fd);
  DnsSettings settings{{"10.96.0.10"}, {"10.0.0.1"}, "cluster.local", path};
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->set_dnspolicy("ClusterFirst");
  auto r = PodResolver(pod, settings, nullptr);
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ(*r, (Resolver{{"10.96.0.10"},
                          {"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "host.example"},
                          {"ndots:5"}}));
  pod.mutable_spec()->set_dnspolicy("Default");
  EXPECT_EQ(*PodResolver(pod, settings, nullptr),
            (Resolver{{"1.1.1.1", "2.2.2.2"}, {"host.example"}, {"ndots:2", "rotate"}}));
  pod.mutable_spec()->set_dnspolicy("ClusterFirst");
  pod.mutable_spec()->set_hostnetwork(true);
  EXPECT_EQ(PodResolver(pod, settings, nullptr)->servers, (Strings{"1.1.1.1", "2.2.2.2"}));
  pod.mutable_spec()->set_dnspolicy("ClusterFirstWithHostNet");
  EXPECT_EQ(PodResolver(pod, settings, nullptr)->servers, Strings{"10.96.0.10"});
  pod.mutable_spec()->set_dnspolicy("None");
  auto* config = pod.mutable_spec()->mutable_dnsconfig();
  for (const char* s : {"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}) config->add_nameservers(s);
  auto* option = config->add_options();
  option->set_name("ndots");
  option->set_value("3");
  std::vector<std::pair<std::string, std::string>> warnings;
  r = PodResolver(pod, settings, &warnings);
  EXPECT_EQ(r->servers.size(), 3u);
  EXPECT_EQ(r->options, Strings{"ndots:3"});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].first, "DNSConfigForming");
  EXPECT_EQ(ResolvConfProblem(path, "cluster.local"), "");
  auto problem = [&](const std::string& written, const std::string& domain) {
    EXPECT_TRUE(WriteFileAtomic(path, written).ok());
    std::string said = ResolvConfProblem(path, domain);
    if (const size_t at = said.find(path); at != std::string::npos) said.replace(at, std::strlen(path), "F");
    return said;
  };
  std::string domains = "search";
  for (int i = 0; i < 30; ++i) absl::StrAppend(&domains, " d", i);
  EXPECT_EQ(problem(domains, ""), "");
  EXPECT_EQ(problem(domains, "cluster.local"),
            "Resolv.conf file 'F' contains search line consisting of more than 29 domains!");
  EXPECT_EQ(problem("search " + std::string(254, 'x'), ""),
            "Resolv.conf file \"F\" contains a search path which length is more than allowed 253 chars!");
  std::string longest = "search";
  for (int i = 0; i < 9; ++i) longest += " " + std::string(240, 'y');
  EXPECT_EQ(problem(longest, ""),
            "Resolv.conf file 'F' contains search line which length is more than allowed 2048 chars!");
  EXPECT_EQ(problem("nameserver", ""), "nameserver list is empty ");
  EXPECT_EQ(ResolvConfProblem("/no/such/file", ""), "open /no/such/file: no such file or directory");
  settings.resolv_conf = "";
  pod = MakePod({"c"});
  EXPECT_EQ(*PodResolver(pod, settings, nullptr), (Resolver{{"127.0.0.1"}, {"."}, {}}));
  settings.resolv_conf = "/no/such/file";
  EXPECT_FALSE(PodResolver(pod, settings, nullptr).ok());
  ::unlink(path);
}

TEST(Dns, FilesOfTheHost) {
  auto parsed = [](std::string_view text) { return *ParseResolvConf(text); };
  EXPECT_EQ(parsed("search .\n").searches, Strings{});
  EXPECT_EQ(parsed("search a. . b\n").searches, (Strings{"a", "b"}));
  EXPECT_EQ(parsed("search a\nsearch b\n").searches, Strings{"b"});
  EXPECT_EQ(parsed("options ndots:2 rotate\noptions attempts:3 ndots:5\n").options,
            (Strings{"ndots:5", "rotate", "attempts:3"}));
  EXPECT_EQ(ParseResolvConf("nameserver 1.1.1.1\nnameserver\n").status().message(), "nameserver list is empty ");
}

TEST(Dns, Hostnames) {
  Pod pod = MakePod({"c"});
  EXPECT_EQ(HostnameOf(pod, "cluster.local")->name, "p");
  pod.mutable_spec()->set_hostname("h");
  pod.mutable_spec()->set_subdomain("sub");
  auto h = *HostnameOf(pod, "cluster.local");
  EXPECT_EQ(h.name, "h");
  EXPECT_EQ(h.domain, "sub.ns.svc.cluster.local");
  pod.mutable_spec()->set_sethostnameasfqdn(true);
  EXPECT_EQ(*KernelHostname(pod, h), "h.sub.ns.svc.cluster.local");
  pod.mutable_spec()->set_hostname(std::string(60, 'a') + "---------");
  EXPECT_EQ(HostnameOf(pod, "cluster.local")->name, std::string(60, 'a'));
  EXPECT_FALSE(KernelHostname(pod, *HostnameOf(pod, "cluster.local")).ok());
  pod.mutable_spec()->set_hostnetwork(true);
  EXPECT_TRUE(KernelHostname(pod, *HostnameOf(pod, "cluster.local")).ok()) << "it has the host's name";
}

TEST(Images, ErrorsReadAsGrpcs) {
  EXPECT_EQ(GrpcErrorText(absl::NotFoundError("x")), "rpc error: code = NotFound desc = x");
}

TEST(ContainerConfig, NonRootAndSeccompHold) {
  Pod pod = MakePod({"c"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  c->mutable_securitycontext()->set_runasnonroot(true);
  EXPECT_THAT(std::string(CheckNonRoot(pod, *c, {.uid = 0}).message()),
              HasSubstr("container has runAsNonRoot and image will run as root (pod: \"p_ns(u-1)\", container: c)"));
  EXPECT_THAT(std::string(CheckNonRoot(pod, *c, {.name = "app"}).message()), HasSubstr("non-numeric user (app)"));
  EXPECT_TRUE(CheckNonRoot(pod, *c, {.uid = 5}).ok());
  c->mutable_securitycontext()->set_runasuser(0);
  EXPECT_THAT(std::string(CheckNonRoot(pod, *c, {.uid = 5}).message()), HasSubstr("breaks non-root policy"));

  NodeSettings node;
  node.seccomp_root = "/var/lib/kubelet/seccomp";
  EXPECT_EQ(SeccompProfile(pod, *c, node)->profile_type(), cri_v1::SecurityProfile::Unconfined);
  auto* profile = c->mutable_securitycontext()->mutable_seccompprofile();
  profile->set_type("Localhost");
  EXPECT_FALSE(SeccompProfile(pod, *c, node).ok()) << "an empty Localhost profile is never unconfined";
  profile->set_localhostprofile("x.json");
  EXPECT_EQ(SeccompProfile(pod, *c, node)->localhost_ref(), "/var/lib/kubelet/seccomp/x.json");
}

TEST(ContainerConfig, CommandsAreExpandedAndLimitsSet) {
  Pod pod = MakePod({"c"});
  auto* c = pod.mutable_spec()->mutable_containers(0);
  c->add_command("run");
  c->add_args("--name=$(NAME)");
  (*c->mutable_resources()->mutable_limits())["cpu"] = api::Quantity::Of("200m").ToProto();
  (*c->mutable_resources()->mutable_limits())["memory"] = api::Quantity::Of("64Mi").ToProto();
  c->mutable_securitycontext()->mutable_capabilities()->add_drop("ALL");
  c->mutable_securitycontext()->set_allowprivilegeescalation(false);
  NodeSettings node;
  node.memory_capacity = int64_t{8} << 30;
  ContainerInputs in;
  in.env = {{"NAME", "x"}};
  in.restart_count = 3;
  in.hosts_file = "/h";
  in.termination_log = "/t";
  auto config = MakeContainerConfig(pod, *c, in, node);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->args(0), "--name=x");
  EXPECT_EQ(config->log_path(), "c/3.log");
  EXPECT_EQ(config->annotations().at("io.kubernetes.container.restartCount"), "3");
  EXPECT_EQ(config->labels().at("io.kubernetes.pod.uid"), "u-1");
  EXPECT_EQ(config->linux().resources().cpu_quota(), 20000);
  EXPECT_EQ(config->linux().resources().cpu_shares(), 204);
  EXPECT_EQ(config->linux().resources().memory_limit_in_bytes(), 64 << 20);
  EXPECT_TRUE(config->linux().security_context().no_new_privs());
  EXPECT_EQ(config->linux().security_context().namespace_options().pid(), cri_v1::CONTAINER);
  ASSERT_EQ(config->mounts_size(), 2);
  EXPECT_EQ(config->mounts(0).container_path(), "/etc/hosts");
  EXPECT_EQ(config->mounts(1).container_path(), "/dev/termination-log");
}

TEST(ContainerConfig, NamespacesAreThePodsTheHostsOrShared) {
  Pod pod = MakePod({"c"});
  auto option = [&] {
    auto container = MakeContainerConfig(pod, pod.spec().containers(0), {}, {});
    auto sandbox = SandboxConfig(pod, {}, {});
    EXPECT_TRUE(container.ok() && sandbox.ok());
    const auto& own = container->linux().security_context().namespace_options();
    EXPECT_EQ(own.SerializeAsString(), sandbox->linux().security_context().namespace_options().SerializeAsString());
    return own;
  };
  EXPECT_EQ(option().pid(), cri_v1::CONTAINER);
  EXPECT_EQ(option().ipc(), cri_v1::POD);
  EXPECT_EQ(option().network(), cri_v1::POD);
  pod.mutable_spec()->set_shareprocessnamespace(true);
  EXPECT_EQ(option().pid(), cri_v1::POD);
  pod.mutable_spec()->set_hostpid(true);
  pod.mutable_spec()->set_hostipc(true);
  pod.mutable_spec()->set_hostnetwork(true);
  EXPECT_EQ(option().pid(), cri_v1::NODE);
  EXPECT_EQ(option().ipc(), cri_v1::NODE);
  EXPECT_EQ(option().network(), cri_v1::NODE);
  // An ephemeral container looks at another's processes, where these are not the pod's or the host's anyway.
  ContainerInputs in;
  in.pid_target = "other";
  EXPECT_EQ(
      MakeContainerConfig(pod, pod.spec().containers(0), in, {})->linux().security_context().namespace_options().pid(),
      cri_v1::NODE);
  pod.mutable_spec()->clear_hostpid();
  pod.mutable_spec()->clear_shareprocessnamespace();
  const auto targeted = MakeContainerConfig(pod, pod.spec().containers(0), in, {});
  EXPECT_EQ(targeted->linux().security_context().namespace_options().pid(), cri_v1::TARGET);
  EXPECT_EQ(targeted->linux().security_context().namespace_options().target_id(), "other");
}

TEST(ContainerConfig, TheContainersSecurityContextGoesBeforeThePods) {
  Pod pod = MakePod({"c"});
  auto* p = pod.mutable_spec()->mutable_securitycontext();
  p->set_runasuser(1000);
  p->set_runasgroup(1001);
  p->set_fsgroup(1002);
  p->add_supplementalgroups(1003);
  p->set_supplementalgroupspolicy("Strict");
  auto* c = pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext();
  c->set_runasuser(2000);
  c->mutable_capabilities()->add_add("NET_ADMIN");
  c->mutable_capabilities()->add_drop("ALL");
  c->set_readonlyrootfilesystem(true);
  ContainerInputs in;
  in.image_user.uid = 5;
  in.hosts_file = "/hosts";
  auto context = [&] {
    auto config = MakeContainerConfig(pod, pod.spec().containers(0), in, {});
    EXPECT_TRUE(config.ok()) << config.status();
    EXPECT_FALSE(config->mounts(0).readonly()) << "/etc/hosts is never read-only";
    return config->linux().security_context();
  };
  const auto first = context();
  EXPECT_EQ(first.run_as_user().value(), 2000);
  EXPECT_EQ(first.run_as_group().value(), 1001);
  EXPECT_THAT(first.supplemental_groups(), ElementsAre(1002, 1003));
  EXPECT_EQ(first.supplemental_groups_policy(), cri_v1::Strict);
  EXPECT_THAT(first.capabilities().add_capabilities(), ElementsAre("NET_ADMIN"));
  EXPECT_THAT(first.capabilities().drop_capabilities(), ElementsAre("ALL"));
  EXPECT_TRUE(first.readonly_rootfs());
  EXPECT_FALSE(first.privileged());
  EXPECT_FALSE(first.no_new_privs());
  EXPECT_THAT(first.masked_paths(), Contains("/proc/kcore"));
  EXPECT_THAT(first.readonly_paths(), Contains("/proc/sys"));
  c->set_procmount("Unmasked");
  c->set_privileged(true);
  c->clear_runasuser();
  p->clear_runasuser();
  c->set_readonlyrootfilesystem(false);
  EXPECT_EQ(context().run_as_user().value(), 5) << "the image's";
  EXPECT_TRUE(context().privileged());
  EXPECT_EQ(context().masked_paths_size(), 0);
  EXPECT_EQ(context().readonly_paths_size(), 0);
  EXPECT_TRUE(SandboxConfig(pod, {}, {})->linux().security_context().privileged());
}

// Containerd refuses a privileged container where the sandbox's configuration, which comes with it, is not.
TEST(ContainerConfig, AContainerOfAnyKindMakesTheSandboxPrivileged) {
  Pod pod = MakePod({"c"});
  auto privileged = [&] { return SandboxConfig(pod, {}, {})->linux().security_context().privileged(); };
  auto* debugger = pod.mutable_spec()->add_ephemeralcontainers()->mutable_ephemeralcontainercommon();
  EXPECT_FALSE(privileged());
  debugger->mutable_securitycontext()->set_privileged(true);
  EXPECT_TRUE(privileged());
}

TEST(ContainerConfig, GroupsOfVolumesComeToThePods) {
  Pod pod = MakePod({"c"});
  pod.mutable_spec()->mutable_securitycontext()->set_fsgroup(1);
  pod.mutable_spec()->mutable_securitycontext()->add_supplementalgroups(2);
  ContainerInputs in;
  in.volume_groups = {3, 4};
  EXPECT_THAT(
      MakeContainerConfig(pod, pod.spec().containers(0), in, {})->linux().security_context().supplemental_groups(),
      ElementsAre(1, 2, 3, 4));
  SandboxInputs sandbox;
  sandbox.volume_groups = {3};
  EXPECT_THAT(SandboxConfig(pod, sandbox, {})->linux().security_context().supplemental_groups(), ElementsAre(1, 2, 3));
}

TEST(ContainerConfig, FilesAreRelabelledWhereTheHostHasSeLinux) {
  Pod pod = MakePod({"c"});
  ContainerInputs in;
  in.mounts = {{.volume = "ours", .relabel = true}, {.volume = "the host's"}};
  in.hosts_file = "/h";
  in.termination_log = "/t";
  NodeSettings node;
  auto labelled = [&] {
    std::vector<bool> out;
    const auto config = MakeContainerConfig(pod, pod.spec().containers(0), in, node);
    for (const auto& mount : config->mounts()) out.push_back(mount.selinux_relabel());
    return out;
  };
  EXPECT_THAT(labelled(), ElementsAre(false, false, false, false));
  node.selinux = true;
  EXPECT_THAT(labelled(), ElementsAre(true, false, true, true));
}

// LimitedSwap: a Burstable container's part of the node's swap is its part of the node's memory.
TEST(ContainerConfig, SwapFollowsTheMemoryThatIsAskedFor) {
  Pod pod = MakePod({"c"});
  auto* resources = pod.mutable_spec()->mutable_containers(0)->mutable_resources();
  (*resources->mutable_requests())["memory"] = api::Quantity::Of("1Gi").ToProto();
  NodeSettings node;
  node.cgroup_v2 = node.swap_controller = true;
  node.memory_capacity = int64_t{8} << 30;
  node.swap_capacity = int64_t{4} << 30;
  auto swap = [&] { return ContainerResources(pod, pod.spec().containers(0), node).unified().at("memory.swap.max"); };
  EXPECT_EQ(swap(), "0") << "NoSwap";
  node.limited_swap = true;
  EXPECT_EQ(swap(), "536870912");
  (*resources->mutable_limits())["memory"] = api::Quantity::Of("1Gi").ToProto();
  EXPECT_EQ(swap(), "0") << "a container whose limit is its request";
  (*resources->mutable_limits())["memory"] = api::Quantity::Of("2Gi").ToProto();
  EXPECT_EQ(swap(), "536870912");
  pod.mutable_spec()->set_priorityclassname("system-node-critical");
  pod.mutable_spec()->set_priority(2000001000);
  EXPECT_EQ(swap(), "0") << "critical pods";
  pod.mutable_spec()->clear_priority();
  resources->Clear();
  EXPECT_EQ(swap(), "0") << "BestEffort";
}

TEST(Labels, NamesOnDisk) {
  EXPECT_EQ(PodLogDir("/var/log/pods", "ns", "p", "u"), "/var/log/pods/ns_p_u");
  EXPECT_EQ(LogLinkName("p", "ns", "c", "abc"), "p_ns_c-abc.log");
  EXPECT_EQ(LogLinkName(std::string(250, 'p'), "ns", "c", "abc").size(), 255u);
  Pod a = MakePod({"c"}), b = MakePod({"c"});
  EXPECT_EQ(HashContainer(a.spec().containers(0)), HashContainer(b.spec().containers(0)));
  b.mutable_spec()->mutable_containers(0)->set_image("other");
  EXPECT_NE(HashContainer(a.spec().containers(0)), HashContainer(b.spec().containers(0)));
  // Upstream's number: containers run on when one kubelet takes over from the other.
  core::Container c;
  c.set_name("test_container");
  c.set_image("foo/image:v1");
  EXPECT_EQ(HashContainer(c), 0x8e45cbd0u);
}

}  // namespace
}  // namespace skiff::kubelet
