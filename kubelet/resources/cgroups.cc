#include "kubelet/resources/cgroups.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/files.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

bool IsDir(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

// One write to an existing kernel file.
Status WriteValue(const std::string& path, const std::string& value) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  ssize_t n = ::write(fd, value.data(), value.size());
  int err = errno;
  ::close(fd);
  return n < 0 ? ErrnoStatus(err, absl::StrCat("write \"", value, "\" to ", path)) : absl::OkStatus();
}

std::string FirstLine(const std::string& path) {
  auto text = ReadFile(path, 1 << 16);
  if (!text.ok()) return "";
  return std::string(absl::StripAsciiWhitespace(*text));
}

}  // namespace

Cgroups::Cgroups(Options options) : options_(std::move(options)) {
  v2_ = Exists(JoinPath(options_.mount, "cgroup.controllers"));
  if (v2_) return;
  auto names = ListDir(options_.mount);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    // cpu and cpuacct may be links to cpu,cpuacct; "unified" is the v2 tree of a mixed host.
    struct stat st;
    std::string path = JoinPath(options_.mount, name);
    if (name == "unified" || ::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) continue;
    v1_.push_back(name);
  }
}

std::vector<std::string> Cgroups::Hierarchies() const {
  if (v2_) return {options_.mount};
  std::vector<std::string> out;
  for (const auto& name : v1_) out.push_back(JoinPath(options_.mount, name));
  // On a mixed host runtimes make the containers' cgroups in the v2 tree as well, and leave the pod's there.
  if (std::string unified = JoinPath(options_.mount, "unified"); IsDir(unified)) out.push_back(unified);
  return out;
}

std::string Cgroups::HierarchyFor(std::string_view controller) const {
  if (v2_) return options_.mount;
  for (const auto& name : v1_) {
    for (std::string_view part : absl::StrSplit(name, ',')) {
      if (part == controller) return JoinPath(options_.mount, name);
    }
  }
  return "";
}

Status Cgroups::Make(const std::string& path, const CgroupResources& resources) {
  if (v2_) {
    // A controller must be on in every ancestor before it has files in the child.
    std::string at = options_.mount;
    std::string available = FirstLine(JoinPath(at, "cgroup.controllers"));
    for (std::string_view part : absl::StrSplit(path, '/')) {
      for (const char* controller : {"cpu", "memory", "pids", "cpuset", "io", "hugetlb"}) {
        if (!absl::StrContains(absl::StrCat(" ", available, " "), absl::StrCat(" ", controller, " "))) continue;
        if (Status s = WriteValue(JoinPath(at, "cgroup.subtree_control"), absl::StrCat("+", controller)); !s.ok()) {
          VLOG(4, "Cannot enable cgroup controller", {"cgroup", at}, {"controller", controller}, {"err", s});
        }
      }
      at = JoinPath(at, part);
      if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("mkdir ", at));
    }
    return Apply(path, resources);
  }
  for (const char* controller : {"cpu", "cpuacct", "memory", "pids", "cpuset", "hugetlb", "systemd", "name=systemd"}) {
    std::string at = HierarchyFor(controller);
    if (at.empty()) continue;
    for (std::string_view part : absl::StrSplit(path, '/')) {
      std::string parent = at;
      at = JoinPath(at, part);
      if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("mkdir ", at));
      if (std::string_view(controller) != "cpuset") continue;
      // A new cpuset is empty, and takes no process before it has CPUs and memory nodes.
      for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
        if (!FirstLine(JoinPath(at, file)).empty()) continue;
        std::string value = FirstLine(JoinPath(parent, file));
        if (!value.empty()) RETURN_IF_ERROR(WriteValue(JoinPath(at, file), value));
      }
    }
  }
  return Apply(path, resources);
}

Status Cgroups::Apply(const std::string& path, const CgroupResources& r) {
  auto set = [&](std::string_view controller, const char* file, const std::string& value) -> Status {
    std::string hierarchy = HierarchyFor(controller);
    if (hierarchy.empty()) return absl::OkStatus();
    std::string target = JoinPath(JoinPath(hierarchy, path), file);
    if (FirstLine(target) == value) return absl::OkStatus();
    Status s = WriteValue(target, value);
    // A controller that the host does not offer has no files; that is the host's choice.
    return ErrnoOf(s) == ENOENT ? absl::OkStatus() : s;
  };
  if (v2_) {
    if (r.cpu_shares) RETURN_IF_ERROR(set("cpu", "cpu.weight", absl::StrCat(SharesToWeight(*r.cpu_shares))));
    if (r.cpu_quota) {
      RETURN_IF_ERROR(
          set("cpu", "cpu.max",
              absl::StrCat(*r.cpu_quota > 0 ? absl::StrCat(*r.cpu_quota) : "max", " ", r.cpu_period.value_or(100000))));
    }
    if (r.memory_limit && *r.memory_limit > 0) {
      RETURN_IF_ERROR(set("memory", "memory.max", absl::StrCat(*r.memory_limit)));
    }
  } else {
    if (r.cpu_shares) RETURN_IF_ERROR(set("cpu", "cpu.shares", absl::StrCat(*r.cpu_shares)));
    if (r.cpu_quota && *r.cpu_quota != 0) {
      if (r.cpu_period) RETURN_IF_ERROR(set("cpu", "cpu.cfs_period_us", absl::StrCat(*r.cpu_period)));
      RETURN_IF_ERROR(set("cpu", "cpu.cfs_quota_us", absl::StrCat(*r.cpu_quota)));
    }
    if (r.memory_limit && *r.memory_limit > 0) {
      RETURN_IF_ERROR(set("memory", "memory.limit_in_bytes", absl::StrCat(*r.memory_limit)));
    }
  }
  if (r.pids_limit && *r.pids_limit > 0) RETURN_IF_ERROR(set("pids", "pids.max", absl::StrCat(*r.pids_limit)));
  return absl::OkStatus();
}

Status Cgroups::MakeRoots(int64_t allocatable_milli_cpu, int64_t allocatable_memory, int64_t pids) {
  if (!options_.enabled) return absl::OkStatus();
  if (!v2_ && HierarchyFor("memory").empty()) {
    return FailedPrecondition("no cgroup hierarchy with a memory controller below ", options_.mount);
  }
  CgroupResources top;
  top.cpu_shares = MilliCpuToShares(allocatable_milli_cpu);
  top.memory_limit = allocatable_memory;
  top.pids_limit = pids;
  RETURN_IF_ERROR(Make(options_.names.Kubepods(), top), "make the pods' root cgroup");
  CgroupResources least;
  least.cpu_shares = kMinShares;
  RETURN_IF_ERROR(Make(options_.names.Qos("BestEffort"), least), "make the BestEffort cgroup");
  CgroupResources burstable;  // its shares follow its pods
  if (!IsDir(JoinPath(HierarchyFor("cpu"), options_.names.Qos("Burstable")))) burstable.cpu_shares = kMinShares;
  return Annotate(Make(options_.names.Qos("Burstable"), burstable), "make the Burstable cgroup");
}

Status Cgroups::MakePod(const Pod& pod) {
  if (!options_.enabled) return absl::OkStatus();
  return Make(options_.names.Pod(QosClass(pod), pod.metadata().uid()),
              PodCgroupResources(pod, options_.cfs_quota, options_.period_micros, options_.pids_limit));
}

bool Cgroups::PodExists(const Pod& pod) const {
  if (!options_.enabled) return true;
  return IsDir(JoinPath(HierarchyFor("memory"), options_.names.Pod(QosClass(pod), pod.metadata().uid())));
}

Status Cgroups::Remove(const std::string& directory) {
  auto names = ListDir(directory);
  if (!names.ok()) return ErrnoOf(names.status()) == ENOENT ? absl::OkStatus() : names.status();
  for (const std::string& name : *names) {
    std::string child = JoinPath(directory, name);
    if (IsDir(child)) RETURN_IF_ERROR(Remove(child));
  }
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  int err = errno;
  if (err == EBUSY) {
    // Something still runs in there: it belongs to a pod that is over.
    auto procs = ReadFile(JoinPath(directory, "cgroup.procs"), 1 << 20);
    for (std::string_view line : absl::StrSplit(procs.ok() ? *procs : "", '\n', absl::SkipEmpty())) {
      pid_t pid;
      if (absl::SimpleAtoi(line, &pid) && pid > 1) ::kill(pid, SIGKILL);
    }
  }
  return ErrnoStatus(err, absl::StrCat("rmdir ", directory));
}

Status Cgroups::RemovePod(std::string_view uid) {
  if (!options_.enabled) return absl::OkStatus();
  Status first;
  for (const std::string& hierarchy : Hierarchies()) {
    for (const char* qos : {"Guaranteed", "Burstable", "BestEffort"}) {
      std::string path = JoinPath(hierarchy, options_.names.Pod(qos, uid));
      if (!IsDir(path)) continue;
      if (Status s = Remove(path); !s.ok() && first.ok()) first = s;
    }
  }
  return first;
}

std::set<std::string> Cgroups::PodsOnDisk() const {
  std::set<std::string> out;
  if (!options_.enabled) return out;
  for (const std::string& hierarchy : Hierarchies()) {
    for (const char* qos : {"Guaranteed", "Burstable", "BestEffort"}) {
      auto names = ListDir(JoinPath(hierarchy, options_.names.Qos(qos)));
      if (!names.ok()) continue;
      for (const std::string& name : *names) {
        if (std::string uid = options_.names.UidOf(name); !uid.empty()) out.insert(uid);
      }
    }
  }
  return out;
}

Status Cgroups::SetBurstableMilliCpu(int64_t milli) {
  if (!options_.enabled) return absl::OkStatus();
  CgroupResources r;
  r.cpu_shares = MilliCpuToShares(milli);
  return Apply(options_.names.Qos("Burstable"), r);
}

}  // namespace skiff::kubelet
