#include "kubelet/resources/cgroups.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/work_metrics.h"

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

constexpr const char* kV1Controllers[] = {"cpu",    "cpuacct", "memory",  "pids",
                                          "cpuset", "hugetlb", "systemd", "name=systemd"};

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
  if (options_.slices != nullptr) {
    std::string at;
    for (std::string_view part : absl::StrSplit(path, '/')) {
      absl::StrAppend(&at, at.empty() ? "" : "/", part);
      const std::string slice(part);
      if (IsDir(JoinPath(HierarchyFor("memory"), at))) continue;
      RETURN_IF_ERROR(options_.slices->Start(slice, SlicePropertiesFor(slice, ParentSlice(slice), v2_)));
    }
  }
  RETURN_IF_ERROR(MakeDirectories(path));
  return Apply(path, resources);
}

Status Cgroups::MakeDirectories(const std::string& path) {
  if (v2_) {
    // A controller must be on in every ancestor before it has files in the child.
    std::string at = options_.mount;
    auto has = [](const std::string& list, const char* controller) {
      return absl::StrContains(absl::StrCat(" ", list, " "), absl::StrCat(" ", controller, " "));
    };
    std::string available = FirstLine(JoinPath(at, "cgroup.controllers"));
    for (std::string_view part : absl::StrSplit(path, '/')) {
      const std::string on = FirstLine(JoinPath(at, "cgroup.subtree_control"));
      for (const char* controller : {"cpu", "memory", "pids", "cpuset", "io", "hugetlb"}) {
        if (!has(available, controller) || has(on, controller)) continue;
        if (Status s = WriteValue(JoinPath(at, "cgroup.subtree_control"), absl::StrCat("+", controller)); !s.ok()) {
          VLOG(4, "Cannot enable cgroup controller", {"cgroup", at}, {"controller", controller}, {"err", s});
        }
      }
      at = JoinPath(at, part);
      if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("mkdir ", at));
    }
    return absl::OkStatus();
  }
  for (const char* controller : kV1Controllers) {
    std::string at = HierarchyFor(controller);
    if (at.empty()) continue;
    const bool is_cpuset = std::string_view(controller) == "cpuset";
    if (!is_cpuset && ::mkdir(JoinPath(at, path).c_str(), 0755) == 0) continue;  // a pod's: its class has one
    for (std::string_view part : absl::StrSplit(path, '/')) {
      std::string parent = at;
      at = JoinPath(at, part);
      if (::mkdir(at.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("mkdir ", at));
      if (!is_cpuset) continue;
      // A new cpuset is empty, and takes no process before it has CPUs and memory nodes.
      for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
        if (!FirstLine(JoinPath(at, file)).empty()) continue;
        std::string value = FirstLine(JoinPath(parent, file));
        if (!value.empty()) RETURN_IF_ERROR(WriteValue(JoinPath(at, file), value));
      }
    }
  }
  return absl::OkStatus();
}

Status Cgroups::MoveProcess(std::string_view cgroup, pid_t pid) {
  std::string path(absl::StripPrefix(cgroup, "/"));
  if (!path.empty()) RETURN_IF_ERROR(MakeDirectories(path));
  std::vector<std::string> hierarchies{options_.mount};
  if (!v2_) {
    hierarchies.clear();
    for (const auto& name : v1_) hierarchies.push_back(JoinPath(options_.mount, name));
  }
  for (const std::string& hierarchy : hierarchies) {
    const std::string at = path.empty() ? hierarchy : JoinPath(hierarchy, path);
    RETURN_IF_ERROR(MakeDirs(at));
    RETURN_IF_ERROR(WriteValue(JoinPath(at, "cgroup.procs"), absl::StrCat(pid)));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<pid_t>> Cgroups::RootProcesses() const {
  const std::string devices = HierarchyFor("devices");  // as upstream; "" on v1 without it
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(JoinPath(devices.empty() ? options_.mount : devices, "cgroup.procs"), 16 << 20));
  std::vector<pid_t> pids;
  for (std::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // 0 stands for one of another PID namespace.
    if (pid_t pid; absl::SimpleAtoi(line, &pid) && pid > 0) pids.push_back(pid);
  }
  return pids;
}

Status Cgroups::ApplyHugePages(const std::string& path, const HugePageLimits& limits) {
  const std::string hierarchy = HierarchyFor("hugetlb");
  if (hierarchy.empty()) return absl::OkStatus();
  for (const std::string& size : options_.page_sizes) {
    auto it = limits.find(size);
    const std::string file = absl::StrCat("hugetlb.", size, v2_ ? ".max" : ".limit_in_bytes");
    const std::string target = JoinPath(JoinPath(hierarchy, path), file);
    Status s = WriteValue(target, absl::StrCat(it == limits.end() ? 0 : it->second));
    if (!s.ok() && ErrnoOf(s) != ENOENT) return s;
  }
  return absl::OkStatus();
}

Status Cgroups::Apply(const std::string& path, const CgroupResources& r) {
  if (options_.slices != nullptr) {
    const auto properties = ResourceProperties(r, v2_);
    if (!properties.empty()) {
      RETURN_IF_ERROR(options_.slices->SetProperties(path.substr(path.rfind('/') + 1), properties));
    }
  }
  if (r.huge_pages) RETURN_IF_ERROR(ApplyHugePages(path, *r.huge_pages));
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

Status Cgroups::LimitReserved(const std::string& name, const CgroupResources& resources) {
  // With systemd it is a slice: "system.slice", or its path.
  const std::string path = options_.names.Reserved(name);
  if (path.empty() || !IsDir(JoinPath(HierarchyFor("memory"), path))) {
    return NotFound("cgroup ", name, " has some missing paths: ", JoinPath(HierarchyFor("memory"), path));
  }
  return Apply(path, resources);
}

Task<Status> Cgroups::LimitPods(CgroupResources top) {
  if (!options_.enabled) co_return absl::OkStatus();
  std::function<Status()> change = [this, top = std::move(top)]() -> Status {
    RETURN_IF_ERROR(Apply(options_.names.Kubepods(), top));
    // systemd takes controllers away that none of its units asks for (cpuset).
    return MakeDirectories(options_.names.Qos("Burstable"));
  };
  co_return co_await InTurn("", std::move(change));
}

Status Cgroups::MakeRoots(const CgroupResources& top) {
  if (!options_.enabled) return absl::OkStatus();
  if (!v2_ && HierarchyFor("memory").empty()) {
    return FailedPrecondition("no cgroup hierarchy with a memory controller below ", options_.mount);
  }
  const std::string kubepods = options_.names.Kubepods();
  const bool there = IsDir(JoinPath(HierarchyFor("memory"), kubepods));
  RETURN_IF_ERROR(Make(kubepods, there ? CgroupResources() : top), "make the pods' root cgroup");
  // Huge pages are limited for pods and for all together, not for the classes between.
  HugePageLimits unlimited;
  for (const std::string& size : options_.page_sizes) unlimited[size] = kHugePagesUnlimited;
  CgroupResources least;
  least.cpu_shares = kMinShares;
  least.huge_pages = unlimited;
  RETURN_IF_ERROR(Make(options_.names.Qos("BestEffort"), least), "make the BestEffort cgroup");
  CgroupResources burstable;  // its shares follow its pods
  burstable.huge_pages = unlimited;
  if (!IsDir(JoinPath(HierarchyFor("cpu"), options_.names.Qos("Burstable")))) burstable.cpu_shares = kMinShares;
  return Annotate(Make(options_.names.Qos("Burstable"), burstable), "make the Burstable cgroup");
}

Task<Status> Cgroups::InTurn(const char* operation, std::function<Status()> change) {
  auto took = std::make_shared<std::chrono::nanoseconds>(0);
  std::function<Status()> timed = [change = std::move(change), took] {
    const auto began = std::chrono::steady_clock::now();
    Status s = change();
    *took = std::chrono::steady_clock::now() - began;
    return s;
  };
  Status s;
  if (options_.slices == nullptr) {
    s = timed();
  } else {
    CO_ASSIGN_OR_RETURN(const AsyncLock::Guard turn, co_await turn_->Lock());
    s = co_await RunBlocking(std::move(timed));
  }
  if (*operation != '\0') ObserveCgroupOperation(operation, *took);
  co_return s;
}

Task<Status> Cgroups::MakePod(Pod pod) {
  if (!options_.enabled) co_return absl::OkStatus();
  const char* operation = PodExists(pod) ? "update" : "create";
  const CgroupResources limits =
      PodCgroupResources(pod, options_.cfs_quota, options_.period_micros, options_.pids_limit);
  std::function<Status()> change = [this, path = options_.names.Pod(QosClass(pod), pod.metadata().uid()), limits] {
    return Make(path, limits);
  };
  co_return co_await InTurn(operation, std::move(change));
}

bool Cgroups::PodExists(const Pod& pod) const {
  if (!options_.enabled) return true;
  if (removing_.contains(pod.metadata().uid())) return false;
  const std::string path = options_.names.Pod(QosClass(pod), pod.metadata().uid());
  if (v2_) return IsDir(JoinPath(options_.mount, path));
  return std::all_of(std::begin(kV1Controllers), std::end(kV1Controllers), [&](const char* controller) {
    const std::string hierarchy = HierarchyFor(controller);
    return hierarchy.empty() || IsDir(JoinPath(hierarchy, path));
  });
}

bool Cgroups::PodHasMemoryCgroup(const Pod& pod) const {
  if (!options_.enabled) return true;
  if (removing_.contains(pod.metadata().uid())) return false;
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

Task<Status> Cgroups::RemovePod(std::string uid) {
  if (!options_.enabled) co_return absl::OkStatus();
  const auto entry = removing_.insert(uid);
  std::function<Status()> change = [this, uid = std::move(uid)] { return Erase(uid); };
  Status s = co_await InTurn("destroy", std::move(change));
  removing_.erase(entry);
  co_return s;
}

Status Cgroups::Erase(const std::string& uid) {
  Status first;
  if (options_.slices != nullptr) {
    for (const char* qos : {"Guaranteed", "Burstable", "BestEffort"}) {
      const std::string path = options_.names.Pod(qos, uid);
      if (!IsDir(JoinPath(HierarchyFor("memory"), path))) continue;
      first.Update(options_.slices->Stop(path.substr(path.rfind('/') + 1)));
    }
  }
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

Task<Status> Cgroups::SetBurstableMilliCpu(int64_t milli) {
  if (!options_.enabled) co_return absl::OkStatus();
  CgroupResources r;
  r.cpu_shares = MilliCpuToShares(milli);
  std::function<Status()> change = [this, r = std::move(r)] { return Apply(options_.names.Qos("Burstable"), r); };
  co_return co_await InTurn("update", std::move(change));
}

std::vector<std::string> HugePageSizes(const std::string& directory) {
  std::vector<std::string> out;
  auto names = ListDir(directory);
  if (!names.ok()) return out;
  for (std::string_view name : *names) {  // hugepages-2048kB
    constexpr std::string_view kPrefix = "hugepages-", kSuffix = "kB";
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) continue;
    name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
    if (std::string size = KernelPageSize(absl::StrCat(name, "Ki")); !size.empty()) out.push_back(std::move(size));
  }
  return out;
}

}  // namespace skiff::kubelet
