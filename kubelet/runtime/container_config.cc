#include "kubelet/runtime/container_config.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "kubelet/runtime/labels.h"
#include "kubelet/runtime/security.h"

namespace skiff::kubelet {
namespace {

cri_v1::Protocol ProtocolOf(std::string_view name) {
  if (name == "UDP") return cri_v1::UDP;
  if (name == "SCTP") return cri_v1::SCTP;
  return cri_v1::TCP;
}

bool AnyPrivileged(const Pod& pod) {
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) {
      if (c.securitycontext().privileged()) return true;
    }
  }
  // Runtimes look at the sandbox's configuration that comes with a container, and refuse a privileged one in another.
  for (const auto& c : pod.spec().ephemeralcontainers()) {
    if (c.ephemeralcontainercommon().securitycontext().privileged()) return true;
  }
  return false;
}

void SetGroups(const core::PodSecurityContext& sc, const std::vector<int64_t>& of_volumes,
               google::protobuf::RepeatedField<int64_t>* groups, cri_v1::SupplementalGroupsPolicy* policy) {
  if (sc.has_fsgroup()) groups->Add(sc.fsgroup());
  for (int64_t group : sc.supplementalgroups()) groups->Add(group);
  groups->Add(of_volumes.begin(), of_volumes.end());
  if (sc.supplementalgroupspolicy() == "Strict") *policy = cri_v1::Strict;
}

void SetSeLinux(const core::SELinuxOptions& from, cri_v1::SELinuxOption* to) {
  to->set_user(from.user());
  to->set_role(from.role());
  to->set_type(from.type());
  to->set_level(from.level());
}

cri_v1::MountPropagation PropagationOf(ContainerMount::Propagation p) {
  switch (p) {
    case ContainerMount::Propagation::kHostToContainer: return cri_v1::PROPAGATION_HOST_TO_CONTAINER;
    case ContainerMount::Propagation::kBidirectional: return cri_v1::PROPAGATION_BIDIRECTIONAL;
    default: return cri_v1::PROPAGATION_PRIVATE;
  }
}

}  // namespace

cri_v1::NamespaceOption Namespaces(const Pod& pod, const cri_v1::UserNamespace& users) {
  cri_v1::NamespaceOption out;
  out.set_network(IsHostNetwork(pod) ? cri_v1::NODE : cri_v1::POD);
  out.set_ipc(pod.spec().hostipc() ? cri_v1::NODE : cri_v1::POD);
  out.set_pid(pod.spec().hostpid()                 ? cri_v1::NODE
              : pod.spec().shareprocessnamespace() ? cri_v1::POD
                                                   : cri_v1::CONTAINER);
  *out.mutable_userns_options() = users;
  return out;
}

void SetSandboxResources(const Pod& pod, const NodeSettings& node, cri_v1::LinuxContainerResources* resources,
                         cri_v1::LinuxContainerResources* overhead) {
  Pod bare = pod;
  bare.mutable_spec()->clear_overhead();
  CgroupResources pod_resources = PodCgroupResources(bare, node.cfs_quota, node.cfs_period_micros, -1);
  resources->set_cpu_shares(pod_resources.cpu_shares.value_or(kMinShares));
  ResourceList limits = PodLimits(bare);
  auto limit = [&](int64_t milli_cpu, int64_t memory, cri_v1::LinuxContainerResources* to) {
    if (milli_cpu > 0 && node.cfs_quota) {
      to->set_cpu_period(node.cfs_period_micros);
      to->set_cpu_quota(MilliCpuToQuota(milli_cpu, node.cfs_period_micros));
    }
    if (memory > 0) to->set_memory_limit_in_bytes(memory);
  };
  limit(Get(limits, "cpu").MilliValue(), Get(limits, "memory").Value(), resources);
  if (pod.spec().overhead_size() > 0) {
    const int64_t milli_cpu = Get(pod.spec().overhead(), "cpu").MilliValue();
    overhead->set_cpu_shares(MilliCpuToShares(milli_cpu));
    limit(milli_cpu, Get(pod.spec().overhead(), "memory").Value(), overhead);
  }
}

void SetSandboxUpdate(const Pod& pod, const NodeSettings& node, cri_v1::LinuxContainerResources* resources,
                      cri_v1::LinuxContainerResources* overhead) {
  SetSandboxResources(pod, node, resources, overhead);
  Pod bare = pod;
  bare.mutable_spec()->clear_overhead();
  const CgroupResources cgroup = PodCgroupResources(bare, node.cfs_quota, node.cfs_period_micros, -1);
  if (!cgroup.cpu_quota) resources->clear_cpu_quota(), resources->clear_cpu_period();
  if (!cgroup.memory_limit) resources->clear_memory_limit_in_bytes();
}

StatusOr<cri_v1::PodSandboxConfig> SandboxConfig(const Pod& pod, const SandboxInputs& in, const NodeSettings& node) {
  cri_v1::PodSandboxConfig out;
  auto* metadata = out.mutable_metadata();
  metadata->set_name(pod.metadata().name());
  metadata->set_namespace_(pod.metadata().namespace_());
  metadata->set_uid(pod.metadata().uid());
  metadata->set_attempt(in.attempt);
  SetSandboxLabels(pod, out.mutable_labels(), out.mutable_annotations());
  auto* dns = out.mutable_dns_config();
  for (const auto& s : in.resolver.servers) dns->add_servers(s);
  for (const auto& s : in.resolver.searches) dns->add_searches(s);
  for (const auto& s : in.resolver.options) dns->add_options(s);
  if (!IsHostNetwork(pod)) out.set_hostname(in.hostname);
  out.set_log_directory(
      PodLogDir(node.logs_dir, pod.metadata().namespace_(), pod.metadata().name(), pod.metadata().uid()));
  for (const auto& c : pod.spec().containers()) {
    for (const auto& port : c.ports()) {
      auto* mapping = out.add_port_mappings();
      mapping->set_host_ip(port.hostip());
      mapping->set_host_port(port.hostport());
      mapping->set_container_port(port.containerport());
      mapping->set_protocol(ProtocolOf(port.protocol()));
    }
  }
  auto* linux = out.mutable_linux();
  linux->set_cgroup_parent(in.cgroup_parent);
  auto* sc = linux->mutable_security_context();
  sc->set_privileged(AnyPrivileged(pod));
  sc->mutable_seccomp()->set_profile_type(cri_v1::SecurityProfile::RuntimeDefault);
  *sc->mutable_namespace_options() = Namespaces(pod, in.users);
  const auto& pod_sc = pod.spec().securitycontext();
  for (const auto& sysctl : pod_sc.sysctls()) {
    (*linux->mutable_sysctls())[SysctlWithDots(sysctl.name())] = sysctl.value();
  }
  if (pod_sc.has_runasuser()) sc->mutable_run_as_user()->set_value(pod_sc.runasuser());
  if (pod_sc.has_runasgroup()) sc->mutable_run_as_group()->set_value(pod_sc.runasgroup());
  cri_v1::SupplementalGroupsPolicy policy = cri_v1::Merge;
  SetGroups(pod_sc, in.volume_groups, sc->mutable_supplemental_groups(), &policy);
  sc->set_supplemental_groups_policy(policy);
  if (pod_sc.has_selinuxoptions()) SetSeLinux(pod_sc.selinuxoptions(), sc->mutable_selinux_options());
  SetSandboxResources(pod, node, linux->mutable_resources(), linux->mutable_overhead());
  return out;
}

bool MaySwap(const Pod& pod, const core::Container& container, const NodeSettings& node) {
  return node.limited_swap && node.swap_controller && node.cgroup_v2 && !IsCritical(pod) &&
         QosClass(pod) == "Burstable" &&
         Get(container.resources().requests(), "memory") != Get(container.resources().limits(), "memory");
}

// Swap that a container may take: as large a part of the node's as it asked for of its memory.
int64_t SwapLimitOf(const Pod& pod, const core::Container& container, const NodeSettings& node) {
  const int64_t request = Get(container.resources().requests(), "memory").Value();
  if (!MaySwap(pod, container, node) || node.memory_capacity <= 0 || request > node.memory_capacity) return 0;
  return static_cast<int64_t>(static_cast<double>(request) / static_cast<double>(node.memory_capacity) *
                              static_cast<double>(node.swap_capacity));
}

cri_v1::LinuxContainerResources ContainerResources(const Pod& pod, const core::Container& container,
                                                   const NodeSettings& node) {
  cri_v1::LinuxContainerResources out;
  const auto& limits = container.resources().limits();
  const auto& requests = container.resources().requests();
  // A limit of the pod as a whole holds for containers without one of their own.
  auto limit = [&](const char* name) {
    api::Quantity own = Get(limits, name);
    return own.IsZero() ? Get(pod.spec().resources().limits(), name) : own;
  };
  int64_t cpu_limit = limit("cpu").MilliValue();
  int64_t cpu_request = requests.contains("cpu") ? Get(requests, "cpu").MilliValue() : cpu_limit;
  out.set_cpu_shares(MilliCpuToShares(cpu_request));
  out.set_memory_limit_in_bytes(limit("memory").Value());
  if (node.cfs_quota) {
    out.set_cpu_quota(MilliCpuToQuota(cpu_limit, node.cfs_period_micros));
    out.set_cpu_period(node.cfs_period_micros);
  }
  out.set_oom_score_adj(OomScoreAdjust(pod, container, node.memory_capacity));
  if (node.cgroup_v2) {
    if (!node.single_process_oom_kill) (*out.mutable_unified())["memory.oom.group"] = "1";
    if (node.swap_controller) {
      (*out.mutable_unified())["memory.swap.max"] = absl::StrCat(SwapLimitOf(pod, container, node));
    }
  }
  // The pod's limits hold for containers without their own; a size that nobody asks for is limited to nothing.
  HugePageLimits huge_pages = HugePagesOf(pod.spec().resources().limits());
  for (const auto& [size, bytes] : HugePagesOf(limits)) huge_pages[size] = bytes;
  for (const std::string& size : node.page_sizes) {
    auto* huge = out.add_hugepage_limits();
    huge->set_page_size(size);
    auto it = huge_pages.find(size);
    huge->set_limit(it == huge_pages.end() ? 0 : static_cast<uint64_t>(it->second));
  }
  return out;
}

StatusOr<cri_v1::ContainerConfig> MakeContainerConfig(const Pod& pod, const core::Container& container,
                                                      const ContainerInputs& in, const NodeSettings& node) {
  RETURN_IF_ERROR(CheckNonRoot(pod, container, in.image_user));
  cri_v1::ContainerConfig out;
  out.mutable_metadata()->set_name(container.name());
  out.mutable_metadata()->set_attempt(static_cast<uint32_t>(in.restart_count));
  out.mutable_image()->set_image(in.image_ref);
  out.mutable_image()->set_user_specified_image(container.image());
  auto lookup = [&](std::string_view name) -> const std::string* {
    for (const auto& [key, value] : in.env) {
      if (key == name) return &value;
    }
    return nullptr;
  };
  for (const auto& word : container.command()) out.add_command(Expand(word, lookup));
  for (const auto& word : container.args()) out.add_args(Expand(word, lookup));
  out.set_working_dir(container.workingdir());
  SetContainerLabels(pod, container, in.restart_count, out.mutable_labels(), out.mutable_annotations());
  out.set_log_path(ContainerLogPath(container.name(), in.restart_count));
  out.set_stdin(container.stdin());
  out.set_stdin_once(container.stdinonce());
  out.set_tty(container.tty());
  for (const auto& [name, value] : in.env) {
    auto* env = out.add_envs();
    env->set_key(name);
    env->set_value(value);
  }
  for (const auto& mount : in.mounts) {
    auto* m = out.add_mounts();
    m->set_container_path(mount.container_path);
    m->set_host_path(mount.host_path);
    m->set_readonly(mount.read_only);
    m->set_recursive_read_only(mount.recursive_read_only);
    m->set_propagation(PropagationOf(mount.propagation));
    m->set_selinux_relabel(mount.relabel && node.selinux);
    if (!mount.image.empty()) {
      m->mutable_image()->set_image(mount.image);
      m->set_image_sub_path(mount.image_sub_path);
    }
  }
  if (!in.hosts_file.empty()) {
    auto* m = out.add_mounts();
    m->set_container_path("/etc/hosts");
    m->set_host_path(in.hosts_file);
    m->set_selinux_relabel(node.selinux);
  }
  if (!in.termination_log.empty()) {
    auto* m = out.add_mounts();
    m->set_container_path(container.terminationmessagepath());
    m->set_host_path(in.termination_log);
    m->set_selinux_relabel(node.selinux);
  }
  for (auto& m : *out.mutable_mounts()) {
    *m.mutable_uidmappings() = in.users.uids();
    *m.mutable_gidmappings() = in.users.gids();
  }

  auto* linux = out.mutable_linux();
  *linux->mutable_resources() = ContainerResources(pod, container, node);
  auto* sc = linux->mutable_security_context();
  core::SecurityContext effective = EffectiveSecurityContext(pod, container);
  if (effective.has_capabilities()) {
    for (const auto& c : effective.capabilities().add()) sc->mutable_capabilities()->add_add_capabilities(c);
    for (const auto& c : effective.capabilities().drop()) sc->mutable_capabilities()->add_drop_capabilities(c);
  }
  sc->set_privileged(effective.privileged());
  if (effective.has_selinuxoptions()) SetSeLinux(effective.selinuxoptions(), sc->mutable_selinux_options());
  if (effective.has_runasuser()) {
    sc->mutable_run_as_user()->set_value(effective.runasuser());
  } else {
    if (in.image_user.uid) sc->mutable_run_as_user()->set_value(*in.image_user.uid);
    sc->set_run_as_username(in.image_user.name);
  }
  if (effective.has_runasgroup()) sc->mutable_run_as_group()->set_value(effective.runasgroup());
  sc->set_readonly_rootfs(effective.readonlyrootfilesystem());
  cri_v1::SupplementalGroupsPolicy policy = cri_v1::Merge;
  SetGroups(pod.spec().securitycontext(), in.volume_groups, sc->mutable_supplemental_groups(), &policy);
  sc->set_supplemental_groups_policy(policy);
  sc->set_no_new_privs(effective.has_allowprivilegeescalation() && !effective.allowprivilegeescalation());
  if (effective.procmount() != "Unmasked") {
    for (const auto& path : MaskedPaths()) sc->add_masked_paths(path);
    for (const auto& path : ReadonlyPaths()) sc->add_readonly_paths(path);
  }
  ASSIGN_OR_RETURN(*sc->mutable_seccomp(), SeccompProfile(pod, container, node));
  RETURN_IF_ERROR(SetAppArmor(pod, container, sc));
  *sc->mutable_namespace_options() = Namespaces(pod, in.users);
  if (!in.pid_target.empty() && sc->namespace_options().pid() == cri_v1::CONTAINER) {
    sc->mutable_namespace_options()->set_pid(cri_v1::TARGET);
    sc->mutable_namespace_options()->set_target_id(in.pid_target);
  }
  return out;
}

}  // namespace skiff::kubelet
