#include "kubelet/runtime/security.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/files.h"
#include "kubelet/runtime/container_config.h"

// apparmor_profile is deprecated in the CRI, and older runtimes read nothing else.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"

namespace skiff::kubelet {

const std::vector<std::string>& MaskedPaths() {
  static const auto* const paths = [] {
    auto* out = new std::vector<std::string>{"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                             "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                             "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                             "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
    for (int cpu = 0; Exists(absl::StrCat("/sys/devices/system/cpu/cpu", cpu)); ++cpu) {
      std::string path = absl::StrCat("/sys/devices/system/cpu/cpu", cpu, "/thermal_throttle");
      if (Exists(path)) out->push_back(path);
    }
    return out;
  }();
  return *paths;
}

const std::vector<std::string>& ReadonlyPaths() {
  static const auto* const paths =
      new std::vector<std::string>{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return *paths;
}

core::SecurityContext EffectiveSecurityContext(const Pod& pod, const core::Container& container) {
  core::SecurityContext out;
  const auto& p = pod.spec().securitycontext();
  if (p.has_selinuxoptions()) *out.mutable_selinuxoptions() = p.selinuxoptions();
  if (p.has_runasuser()) out.set_runasuser(p.runasuser());
  if (p.has_runasgroup()) out.set_runasgroup(p.runasgroup());
  if (p.has_runasnonroot()) out.set_runasnonroot(p.runasnonroot());
  const auto& c = container.securitycontext();
  if (c.has_selinuxoptions()) *out.mutable_selinuxoptions() = c.selinuxoptions();
  if (c.has_capabilities()) *out.mutable_capabilities() = c.capabilities();
  if (c.has_privileged()) out.set_privileged(c.privileged());
  if (c.has_runasuser()) out.set_runasuser(c.runasuser());
  if (c.has_runasgroup()) out.set_runasgroup(c.runasgroup());
  if (c.has_runasnonroot()) out.set_runasnonroot(c.runasnonroot());
  if (c.has_readonlyrootfilesystem()) out.set_readonlyrootfilesystem(c.readonlyrootfilesystem());
  if (c.has_allowprivilegeescalation()) out.set_allowprivilegeescalation(c.allowprivilegeescalation());
  if (c.has_procmount()) out.set_procmount(c.procmount());
  return out;
}

Status CheckNonRoot(const Pod& pod, const core::Container& container, const ImageUser& user) {
  core::SecurityContext sc = EffectiveSecurityContext(pod, container);
  if (!sc.runasnonroot()) return absl::OkStatus();
  std::string where = absl::StrCat("(pod: \"", FormatPod(pod), "\", container: ", container.name(), ")");
  if (sc.has_runasuser()) {
    if (sc.runasuser() == 0) return InvalidArgument("container's runAsUser breaks non-root policy ", where);
    return absl::OkStatus();
  }
  if (!user.uid && !user.name.empty()) {
    return InvalidArgument("container has runAsNonRoot and image has non-numeric user (", user.name,
                           "), cannot verify user is non-root ", where);
  }
  if (user.uid && *user.uid == 0) {
    return InvalidArgument("container has runAsNonRoot and image will run as root ", where);
  }
  if (user.uid && (*user.uid < 0 || *user.uid > INT32_MAX)) {
    return InvalidArgument("container has runAsNonRoot and image has an invalid user id (", *user.uid,
                           "). (Must be 1-(2147483647)): must be between 0 and 2147483647, inclusive ", where);
  }
  return absl::OkStatus();
}

StatusOr<cri_v1::SecurityProfile> SeccompProfile(const Pod& pod, const core::Container& container,
                                                 const NodeSettings& node) {
  cri_v1::SecurityProfile out;
  const core::SeccompProfile* profile = nullptr;
  if (container.securitycontext().has_seccompprofile()) {
    profile = &container.securitycontext().seccompprofile();
  } else if (pod.spec().securitycontext().has_seccompprofile()) {
    profile = &pod.spec().securitycontext().seccompprofile();
  }
  if (profile == nullptr) {
    out.set_profile_type(node.seccomp_default ? cri_v1::SecurityProfile::RuntimeDefault
                                              : cri_v1::SecurityProfile::Unconfined);
  } else if (profile->type() == "RuntimeDefault") {
    out.set_profile_type(cri_v1::SecurityProfile::RuntimeDefault);
  } else if (profile->type() == "Localhost") {
    if (profile->localhostprofile().empty()) {
      return InvalidArgument("localhostProfile must be set if seccompProfile type is Localhost.");
    }
    out.set_profile_type(cri_v1::SecurityProfile::Localhost);
    out.set_localhost_ref(JoinPath(node.seccomp_root, profile->localhostprofile()));
  } else {
    out.set_profile_type(cri_v1::SecurityProfile::Unconfined);
  }
  return out;
}

std::string SysctlWithDots(std::string name) {
  size_t separator = name.find_first_of("./");
  if (separator != std::string::npos && name[separator] == '/') {
    for (char& c : name) c = c == '/' ? '.' : c == '.' ? '/' : c;
  }
  return name;
}

Status SetAppArmor(const Pod& pod, const core::Container& container, cri_v1::LinuxContainerSecurityContext* out) {
  const core::AppArmorProfile* profile = nullptr;
  core::AppArmorProfile annotated;
  if (container.securitycontext().has_apparmorprofile()) {
    profile = &container.securitycontext().apparmorprofile();
  } else if (auto it = pod.metadata().annotations().find("container.apparmor.security.beta.kubernetes.io/" +
                                                         container.name());
             it != pod.metadata().annotations().end()) {
    std::string_view value = it->second;
    if (value == "runtime/default") {
      annotated.set_type("RuntimeDefault");
    } else if (value == "unconfined") {
      annotated.set_type("Unconfined");
    } else if (value.starts_with("localhost/")) {
      annotated.set_type("Localhost");
      annotated.set_localhostprofile(std::string(value.substr(10)));
    }
    profile = &annotated;
  } else if (pod.spec().securitycontext().has_apparmorprofile()) {
    profile = &pod.spec().securitycontext().apparmorprofile();
  }
  if (profile == nullptr || profile->type().empty()) return absl::OkStatus();
  auto* apparmor = out->mutable_apparmor();
  if (profile->type() == "RuntimeDefault") {
    apparmor->set_profile_type(cri_v1::SecurityProfile::RuntimeDefault);
    out->set_apparmor_profile("runtime/default");
  } else if (profile->type() == "Unconfined") {
    apparmor->set_profile_type(cri_v1::SecurityProfile::Unconfined);
    out->set_apparmor_profile("unconfined");
  } else if (profile->type() == "Localhost") {
    if (profile->localhostprofile().empty()) {
      return InvalidArgument("missing localhost apparmor profile name");
    }
    apparmor->set_profile_type(cri_v1::SecurityProfile::Localhost);
    apparmor->set_localhost_ref(profile->localhostprofile());
    out->set_apparmor_profile("localhost/" + profile->localhostprofile());
  } else {
    return InvalidArgument("unknown apparmor profile type: \"", profile->type(), "\"");
  }
  return absl::OkStatus();
}

}  // namespace skiff::kubelet
