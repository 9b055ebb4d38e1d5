#include "cadvisor/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "absl/strings/str_split.h"
#include "cadvisor/cgroup_dir.h"
#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

constexpr std::string_view kV1Controllers[] = {"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"};
// A cgroup is where one of these has it; the others may lack it (runtimes do not join every hierarchy).
constexpr std::string_view kV1Deciding[] = {"cpu", "cpuacct", "memory"};

// The path as openat wants it, relative to a hierarchy's root.
StatusOr<std::string> Relative(const std::string& path) {
  if (path.empty() || path[0] != '/') return InvalidArgument("cgroup \"", path, "\": must begin with /");
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") return InvalidArgument("cgroup \"", path, "\": must not hold \"..\"");
  }
  std::string relative = path.substr(1);
  while (!relative.empty() && relative.back() == '/') relative.pop_back();
  return relative.empty() ? "." : relative;
}

// Names of the directories in `dir`.
StatusOr<std::vector<std::string>> Subdirectories(const Dir& dir) {
  ASSIGN_OR_RETURN(Fd fd, dir.OpenFile(".", O_RDONLY | O_DIRECTORY));
  DIR* stream = fdopendir(fd.get());
  if (stream == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", dir.path()));
  fd.Release();
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(stream);
  return names;
}

Status Collect(const Dir& dir, const std::string& path, int depth, std::set<std::string>* out) {
  out->insert(path);
  // Delegated trees may nest; nobody reads statistics that deep.
  if (depth > 32) return absl::OkStatus();
  const StatusOr<std::vector<std::string>> names = Subdirectories(dir);
  if (!names.ok()) return ErrnoOf(names.status()) == ENOENT ? absl::OkStatus() : names.status();
  for (const std::string& name : *names) {
    const StatusOr<Dir> child = dir.OpenDir(name);
    if (!child.ok()) continue;  // gone meanwhile
    RETURN_IF_ERROR(Collect(*child, path == "/" ? "/" + name : absl::StrCat(path, "/", name), depth + 1, out));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<CgroupTree> CgroupTree::Detect(const Dir& sys) {
  CgroupTree tree;
  ASSIGN_OR_RETURN(Dir root, sys.FollowDir("fs/cgroup"), "cgroups");
  if (root.Exists("cgroup.controllers")) {
    tree.version_ = Version::kV2;
    ASSIGN_OR_RETURN(const std::string controllers, root.Read("cgroup.controllers"), "cgroups");
    tree.v2_controllers_ = absl::StrSplit(absl::string_view(Trim(controllers)), ' ', absl::SkipEmpty());
    tree.has_psi_ = root.Exists("cpu.pressure");
    tree.roots_.emplace("", std::make_shared<Dir>(std::move(root)));
    return tree;
  }
  tree.version_ = Version::kV1;
  for (const std::string_view controller : kV1Controllers) {
    // "cpu" is a symlink to "cpu,cpuacct" where the two are mounted together.
    StatusOr<Dir> dir = root.FollowDir(std::string(controller));
    if (dir.ok() && dir->Exists("cgroup.procs")) {
      tree.roots_.emplace(controller, std::make_shared<Dir>(*std::move(dir)));
    }
  }
  if (tree.roots_.empty()) return NotFound("cgroups: no hierarchy is mounted at ", root.path());
  return tree;
}

bool CgroupTree::Has(std::string_view controller) const {
  if (version_ == Version::kV1) return roots_.find(controller) != roots_.end();
  if (controller == "blkio") controller = "io";
  return std::find(v2_controllers_.begin(), v2_controllers_.end(), controller) != v2_controllers_.end();
}

StatusOr<Cgroup> CgroupTree::OpenCgroup(const std::string& path) const {
  ASSIGN_OR_RETURN(const std::string relative, Relative(path));
  Cgroup cgroup;
  bool decided = false;
  for (const auto& [controller, root] : roots_) {
    StatusOr<Dir> dir = root->OpenDir(relative);
    if (!dir.ok()) {
      if (ErrnoOf(dir.status()) == ENOENT) continue;
      return dir.status();
    }
    decided |= version_ == Version::kV2 ||
               std::find(std::begin(kV1Deciding), std::end(kV1Deciding), controller) != std::end(kV1Deciding);
    cgroup.Add(controller, *std::move(dir));
  }
  if (!decided) return ErrnoStatus(ENOENT, absl::StrCat("cgroup \"", path, "\""));
  return cgroup;
}

StatusOr<CgroupStats> CgroupTree::ReadStats(const std::string& path) const {
  ASSIGN_OR_RETURN(const Cgroup cgroup, OpenCgroup(path));
  CgroupStats stats;
  RETURN_IF_ERROR(version_ == Version::kV1 ? ReadStatsV1(cgroup, false, &stats)
                                           : ReadStatsV2(cgroup, path == "/", false, &stats));
  ASSIGN_OR_RETURN(const std::vector<pid_t> pids, cgroup.Pids(version_ == Version::kV1 ? "cpu" : ""));
  stats.pids.processes = pids.size();
  // Where v2 has no pids controller, at the root among others, upstream counts the processes.
  if (version_ == Version::kV2 && stats.pids.threads == 0) stats.pids.threads = pids.size();
  return stats;
}

StatusOr<CgroupStats> CgroupTree::ReadCpuAndMemory(const std::string& path) const {
  ASSIGN_OR_RETURN(const Cgroup cgroup, OpenCgroup(path));
  CgroupStats stats;
  RETURN_IF_ERROR(version_ == Version::kV1 ? ReadStatsV1(cgroup, true, &stats)
                                           : ReadStatsV2(cgroup, path == "/", true, &stats));
  return stats;
}

StatusOr<CgroupSpec> CgroupTree::ReadSpec(const std::string& path) const {
  ASSIGN_OR_RETURN(const Cgroup cgroup, OpenCgroup(path));
  CgroupSpec spec;
  RETURN_IF_ERROR(version_ == Version::kV1 ? ReadSpecV1(cgroup, &spec) : ReadSpecV2(cgroup, path == "/", &spec));
  // A cgroup's birth is nowhere recorded. Its directory's time changes with every child; that of a file nobody writes
  // does not. The earliest is the best there is.
  std::optional<timespec> earliest;
  const auto consider = [&](const StatusOr<struct stat>& st) {
    if (!st.ok()) return;
    if (!earliest || st->st_mtim.tv_sec < earliest->tv_sec ||
        (st->st_mtim.tv_sec == earliest->tv_sec && st->st_mtim.tv_nsec < earliest->tv_nsec)) {
      earliest = st->st_mtim;
    }
  };
  for (const auto& [controller, dir] : cgroup.dirs()) {
    consider(dir.Stat("."));
    consider(dir.Stat(version_ == Version::kV1 ? "cgroup.clone_children" : "cgroup.events"));
  }
  if (earliest) {
    spec.created =
        std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::seconds(earliest->tv_sec) + std::chrono::nanoseconds(earliest->tv_nsec)));
  }
  return spec;
}

bool CgroupTree::Exists(const std::string& path) const { return OpenCgroup(path).ok(); }

StatusOr<std::vector<std::string>> CgroupTree::List(const std::string& path) const {
  ASSIGN_OR_RETURN(const std::string relative, Relative(path));
  std::string clean = relative == "." ? "/" : "/" + relative;
  std::set<std::string> found;
  for (const auto& [controller, root] : roots_) {
    if (version_ == Version::kV1 &&
        std::find(std::begin(kV1Deciding), std::end(kV1Deciding), controller) == std::end(kV1Deciding)) {
      continue;
    }
    const StatusOr<Dir> dir = root->OpenDir(relative);
    if (!dir.ok()) {
      if (ErrnoOf(dir.status()) == ENOENT) continue;
      return dir.status();
    }
    RETURN_IF_ERROR(Collect(*dir, clean, 0, &found));
  }
  if (found.empty()) return ErrnoStatus(ENOENT, absl::StrCat("cgroup \"", path, "\""));
  return std::vector<std::string>(found.begin(), found.end());
}

StatusOr<std::vector<pid_t>> CgroupTree::Pids(const std::string& path) const {
  ASSIGN_OR_RETURN(const Cgroup cgroup, OpenCgroup(path));
  if (version_ == Version::kV2) return cgroup.Pids("");
  // Which hierarchies a process joined differs; the first that lists some is as good as any.
  for (const std::string_view controller : {"cpu", "memory", "cpuacct", "pids"}) {
    ASSIGN_OR_RETURN(std::vector<pid_t> pids, cgroup.Pids(controller));
    if (!pids.empty()) return pids;
  }
  return std::vector<pid_t>{};
}

}  // namespace skiff::cadvisor
