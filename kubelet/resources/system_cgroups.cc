#include "kubelet/resources/system_cgroups.h"

#include <cerrno>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace skiff::kubelet {
namespace {

// Processes begin others while they are moved.
constexpr int kAttempts = 11;

std::string Absolute(const std::string& name) {
  return name.empty() || name.front() == '/' ? name : absl::StrCat("/", name);
}

}  // namespace

StatusOr<std::string> ParseProcessCgroup(std::string_view text, bool v2) {
  std::map<std::string, std::string, std::less<>> by_controller;
  for (std::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) return InvalidArgument("invalid cgroup entry: must contain at least two colons: ", line);
    for (std::string_view controller : absl::StrSplit(parts[1], ',')) {
      by_controller.insert_or_assign(std::string(controller), std::string(parts[2]));
    }
  }
  const auto of = [&](std::string_view controller) -> StatusOr<std::string> {
    const auto it = by_controller.find(controller);
    if (it == by_controller.end()) return NotFound("no cgroup of ", controller.empty() ? "unified" : controller);
    return it->second;
  };
  if (v2) return of("");
  ASSIGN_OR_RETURN(const std::string cpu, of("cpu"));
  ASSIGN_OR_RETURN(const std::string memory, of("memory"));
  if (cpu != memory) {
    return FailedPrecondition("cpu and memory cgroup hierarchy not unified.  cpu: ", cpu, ", memory: ", memory);
  }
  const auto systemd = by_controller.find("name=systemd");
  return systemd == by_controller.end() ? cpu : systemd->second;
}

StatusOr<SystemCgroups> SystemCgroups::Make(Options options, Cgroups& cgroups) {
  options.kubelet = Absolute(options.kubelet);
  options.system = Absolute(options.system);
  if (options.system == "/") return InvalidArgument("system container cannot be root (\"/\")");
  ASSIGN_OR_RETURN(Dir proc, Dir::Open(options.proc));
  return SystemCgroups(std::move(options), cgroups, std::move(proc));
}

std::chrono::minutes SystemCgroups::period() const {
  return std::chrono::minutes(options_.kubelet.empty() && options_.system.empty() ? 5 : 1);
}

Status SystemCgroups::Ensure() {
  Status status = options_.system.empty() ? absl::OkStatus() : EnsureSystem();
  status.Update(EnsureKubelet());
  return status;
}

// One in a container of its own stays as it is, its score too.
StatusOr<bool> SystemCgroups::InHostPidNamespace() const {
  ASSIGN_OR_RETURN(const std::string first, proc_.ReadLink("1/ns/pid"), "find the PID namespace of the init process");
  ASSIGN_OR_RETURN(const std::string own, proc_.ReadLink(absl::StrCat(options_.pid, "/ns/pid")));
  return first == own;
}

Status SystemCgroups::EnsureKubelet() {
  ASSIGN_OR_RETURN(const bool in_host, InHostPidNamespace());
  const auto where = [this]() -> StatusOr<std::string> {
    ASSIGN_OR_RETURN(const std::string text, proc_.Read(absl::StrCat(options_.pid, "/cgroup")));
    return ParseProcessCgroup(text, cgroups_->v2());
  };
  if (!options_.kubelet.empty()) {
    if (!in_host) return absl::OkStatus();
    if (const auto at = where(); at.ok() && *at == options_.kubelet) return absl::OkStatus();
    return Annotate(cgroups_->MoveProcess(options_.kubelet, options_.pid), absl::StrCat("move PID ", options_.pid));
  }
  if (in_host) {
    // As upstream has it, a kubelet that could not be given its score has no figures of its own.
    const std::string score = absl::StrCat(options_.pid, "/oom_score_adj");
    RETURN_IF_ERROR(proc_.Write(score, absl::StrCat(options_.oom_score_adj)), "apply oom score");
  }
  ASSIGN_OR_RETURN(kubelet_, where());
  return absl::OkStatus();
}

bool SystemCgroups::IsKernelThread(pid_t pid) const {
  return ErrnoOf(proc_.ReadLink(absl::StrCat(pid, "/exe")).status()) == ENOENT;
}

Status SystemCgroups::EnsureSystem() {
  Status last;
  for (int i = 0; i < kAttempts; ++i) {
    ASSIGN_OR_RETURN(const std::vector<pid_t> all, cgroups_->RootProcesses());
    bool moved = false;
    for (const pid_t pid : all) {
      if (pid == 1 || IsKernelThread(pid)) continue;
      moved = true;
      last = Annotate(cgroups_->MoveProcess(options_.system, pid),
                      absl::StrCat("move PID ", pid, " into the system container \"", options_.system, "\""));
    }
    if (!moved) return absl::OkStatus();
  }
  return last;
}

}  // namespace skiff::kubelet
