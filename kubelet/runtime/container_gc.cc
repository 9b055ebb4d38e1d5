#include "kubelet/runtime/container_gc.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/runtime/labels.h"

namespace skiff::kubelet {
namespace {

std::string Label(const StringMap& labels, const char* key) {
  auto it = labels.find(key);
  return it == labels.end() ? "" : it->second;
}

// Of "namespace_name_uid"; "" for other names.
std::string UidOfLogDirectory(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '_');
  return parts.size() == 3 ? parts[2] : "";
}

void UnlinkLogs(const std::string& logs_dir, const std::string& log_path) {
  const std::string prefix = logs_dir + "/";
  if (!absl::StartsWith(log_path, prefix)) return;
  const auto root = Dir::Open(logs_dir);
  const size_t slash = log_path.rfind('/');
  if (!root.ok() || slash < prefix.size()) return;
  // The directory is the pod's own: it is entered without following links.
  const auto dir = root->OpenDir(log_path.substr(prefix.size(), slash - prefix.size()));
  if (!dir.ok()) return;
  const std::string name = log_path.substr(slash + 1);
  const auto files = dir->List();
  if (!files.ok()) return;
  for (const std::string& file : *files) {
    if (file == name || absl::StartsWith(file, name + ".")) (void)dir->Unlink(file);
  }
}

// Links to logs that are gone: left when the kubelet was down while its containers were removed. Other kubelets on this
// machine may share the directory, so only links into our own logs count. A log that is being rotated is gone for a
// moment.
StatusOr<std::vector<std::string>> LinksThatLeadNowhere(const std::string& links_dir, const std::string& logs_dir) {
  ASSIGN_OR_RETURN(auto names, ListDir(links_dir));
  std::erase_if(names, [&](const std::string& name) {
    if (!absl::EndsWith(name, ".log")) return true;
    char target[4096];
    const ssize_t n = ::readlink(JoinPath(links_dir, name).c_str(), target, sizeof target);
    const std::string log(target, n > 0 ? static_cast<size_t>(n) : 0);
    return !absl::StartsWith(log, logs_dir + "/") || Exists(log);
  });
  return names;
}

}  // namespace

Task<void> RemoveContainerLogs(std::string logs_dir, std::string log_path) {
  std::function<Status()> remove = [logs_dir = std::move(logs_dir), log_path = std::move(log_path)] {
    UnlinkLogs(logs_dir, log_path);
    return absl::OkStatus();
  };
  (co_await RunBlocking(std::move(remove))).IgnoreError();
}

bool ContainerGc::Gone(const std::string& uid, bool everything_dead) const {
  return hooks_.content_gone(uid) || (everything_dead && hooks_.runtime_ended(uid));
}

Task<Status> ContainerGc::Collect(bool everything_dead) {
  Status first = co_await CollectContainers(everything_dead);
  first.Update(co_await CollectSandboxes(everything_dead));
  first.Update(co_await CollectLogs());
  co_return first;
}

// Keeps the newest; the others leave `unit` whether or not the runtime let them go, lest others are taken instead.
Task<void> ContainerGc::RemoveOldest(Unit* unit, size_t count, bool one_name) {
  std::stable_sort(unit->begin(), unit->end(), [one_name](const Dead& a, const Dead& b) {
    if (one_name && a.attempt != b.attempt) return a.attempt > b.attempt;
    return a.created > b.created;
  });
  while (count-- > 0 && !unit->empty()) {
    const Dead dead = std::move(unit->back());
    unit->pop_back();
    if (dead.unknown) {
      cri::v1::StopContainerRequest stop;
      stop.set_container_id(dead.id);
      stop.set_timeout(2);
      auto stopped = co_await runtime_.StopContainer(std::move(stop), {.timeout = options_.request_timeout});
      if (!stopped.ok() && !absl::IsNotFound(stopped.status())) {
        LOG_ERROR(stopped.status(), "Failed to stop container", {"containerID", dead.id});
        continue;
      }
    }
    std::string log, link;
    cri::v1::ContainerStatusRequest ask;
    ask.set_container_id(dead.id);
    if (auto answer = co_await runtime_.ContainerStatus(std::move(ask)); answer.ok()) {
      const auto& labels = answer->status().labels();
      log = answer->status().log_path();
      link = JoinPath(options_.container_logs_dir,
                      LogLinkName(Label(labels, kPodNameLabel), Label(labels, kPodNamespaceLabel), dead.name, dead.id));
    }
    cri::v1::RemoveContainerRequest request;
    request.set_container_id(dead.id);
    auto removed = co_await runtime_.RemoveContainer(std::move(request), {.timeout = options_.request_timeout});
    if (!removed.ok() && !absl::IsNotFound(removed.status())) {
      LOG_ERROR(removed.status(), "Failed to remove container", {"containerID", dead.id});
      continue;
    }
    if (!log.empty()) co_await RemoveContainerLogs(options_.logs_dir, log);
    if (!link.empty()) ::unlink(link.c_str());
  }
}

Task<Status> ContainerGc::CollectContainers(bool everything_dead) {
  CO_ASSIGN_OR_RETURN(auto listed, co_await runtime_.ListContainers({}));
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(clock_.Now().time_since_epoch());
  // What was made after now is of before the clock was set back: nobody knows its age, and it does not stay for that.
  auto young = [&](int64_t created) { return created > (now - options_.min_age).count() && created <= now.count(); };
  std::map<std::pair<std::string, std::string>, Unit> units;
  for (const auto& c : listed.containers()) {
    if (c.state() == cri::v1::CONTAINER_RUNNING || young(c.created_at())) continue;
    units[{Label(c.labels(), kPodUidLabel), c.metadata().name()}].push_back(
        {c.id(), c.metadata().name(), c.created_at(), c.metadata().attempt(), c.state() == cri::v1::CONTAINER_UNKNOWN});
  }
  if (hooks_.sources_ready()) {
    for (auto it = units.begin(); it != units.end();) {
      if (!Gone(it->first.first, everything_dead)) {
        ++it;
        continue;
      }
      co_await RemoveOldest(&it->second, it->second.size());
      it = units.erase(it);
    }
  }
  struct Local {
    static Task<void> Limit(ContainerGc* self, std::map<std::pair<std::string, std::string>, Unit>* units,
                            size_t most) {
      for (auto& [key, unit] : *units) {
        if (unit.size() > most) co_await self->RemoveOldest(&unit, unit.size() - most);
      }
    }
  };
  auto total = [&] {
    size_t n = 0;
    for (const auto& [key, unit] : units) n += unit.size();
    return n;
  };
  if (options_.max_per_container >= 0) {
    co_await Local::Limit(this, &units, static_cast<size_t>(options_.max_per_container));
  }
  const size_t most = static_cast<size_t>(std::max(options_.max_containers, 0));
  if (options_.max_containers >= 0 && total() > most) {
    // As many of each as fit, at least one; then the oldest of all.
    co_await Local::Limit(this, &units, std::max<size_t>(1, most / units.size()));
    if (const size_t left = total(); left > most) {
      Unit all;
      for (auto& [key, unit] : units) all.insert(all.end(), unit.begin(), unit.end());
      co_await RemoveOldest(&all, left - most, false);
    }
  }
  co_return co_await IsCancelled() ? absl::CancelledError("stopped") : absl::OkStatus();
}

Task<void> ContainerGc::RemoveSandbox(std::string id) {
  cri::v1::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(id);
  auto stopped = co_await runtime_.StopPodSandbox(std::move(stop), {.timeout = options_.request_timeout});
  if (!stopped.ok() && !absl::IsNotFound(stopped.status())) {
    LOG_ERROR(stopped.status(), "Failed to stop sandbox before removing", {"sandboxID", id});
    co_return;
  }
  cri::v1::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  auto removed = co_await runtime_.RemovePodSandbox(std::move(request), {.timeout = options_.request_timeout});
  if (!removed.ok() && !absl::IsNotFound(removed.status())) {
    LOG_ERROR(removed.status(), "Failed to remove sandbox", {"sandboxID", id});
  }
}

// A sandbox goes when it is not ready, holds no containers, and its pod is over or has a newer one.
Task<Status> ContainerGc::CollectSandboxes(bool everything_dead) {
  CO_ASSIGN_OR_RETURN(auto containers, co_await runtime_.ListContainers({}));
  CO_ASSIGN_OR_RETURN(auto sandboxes, co_await runtime_.ListPodSandbox({}));
  std::set<std::string> used;
  for (const auto& c : containers.containers()) used.insert(c.pod_sandbox_id());
  struct One {
    std::string id;
    int64_t created;
    uint32_t attempt;
    bool active;
  };
  std::map<std::string, std::vector<One>> by_pod;
  for (const auto& s : sandboxes.items()) {
    by_pod[s.metadata().uid()].push_back(
        {s.id(), s.created_at(), s.metadata().attempt(), s.state() == cri::v1::SANDBOX_READY || used.contains(s.id())});
  }
  for (auto& [uid, list] : by_pod) {
    const bool gone = hooks_.sources_ready() && Gone(uid, everything_dead);
    std::stable_sort(list.begin(), list.end(), [](const One& a, const One& b) {
      return a.attempt != b.attempt ? a.attempt > b.attempt : a.created > b.created;
    });
    for (size_t i = list.size(); i-- > (gone ? 0 : 1);) {
      if (!list[i].active) co_await RemoveSandbox(list[i].id);
    }
  }
  co_return co_await IsCancelled() ? absl::CancelledError("stopped") : absl::OkStatus();
}

Task<Status> ContainerGc::CollectLogs() {
  if (hooks_.sources_ready()) {
    std::function<StatusOr<std::vector<std::string>>()> list = [dir = options_.logs_dir] { return ListDir(dir); };
    CO_ASSIGN_OR_RETURN(const auto names, co_await RunBlockingFor<std::vector<std::string>>(std::move(list)),
                        "failed to read podLogsDirectory \"", options_.logs_dir, "\"");
    for (const std::string& name : names) {
      const std::string uid = UidOfLogDirectory(name);
      if (uid.empty() || !hooks_.content_gone(uid)) continue;
      std::function<Status()> remove = [path = JoinPath(options_.logs_dir, name)] { return RemoveAll(path); };
      if (Status s = co_await RunBlocking(std::move(remove)); !s.ok()) {
        LOG_ERROR(s, "Failed to remove pod logs directory", {"path", name});
      }
    }
  }
  std::function<StatusOr<std::vector<std::string>>()> look =
      [links = options_.container_logs_dir, logs = options_.logs_dir] { return LinksThatLeadNowhere(links, logs); };
  const auto names = co_await RunBlockingFor<std::vector<std::string>>(std::move(look));
  if (!names.ok()) co_return absl::OkStatus();
  for (const std::string& name : *names) {
    const size_t dash = name.rfind('-');
    if (dash != std::string::npos) {
      cri::v1::ContainerStatusRequest request;
      request.set_container_id(name.substr(dash + 1, name.size() - dash - 5));
      auto answer = co_await runtime_.ContainerStatus(std::move(request));
      if (answer.ok() && answer->status().state() != cri::v1::CONTAINER_EXITED) continue;
    }
    ::unlink(JoinPath(options_.container_logs_dir, name).c_str());
  }
  co_return absl::OkStatus();
}

}  // namespace skiff::kubelet
