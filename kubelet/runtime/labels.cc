#include "kubelet/runtime/labels.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "base/files.h"

namespace skiff::kubelet {

void SetSandboxLabels(const Pod& pod, StringMap* labels, StringMap* annotations) {
  for (const auto& [key, value] : pod.metadata().labels()) (*labels)[key] = value;
  (*labels)[kPodNameLabel] = pod.metadata().name();
  (*labels)[kPodNamespaceLabel] = pod.metadata().namespace_();
  (*labels)[kPodUidLabel] = pod.metadata().uid();
  for (const auto& [key, value] : pod.metadata().annotations()) (*annotations)[key] = value;
}

void SetContainerLabels(const Pod& pod, const core::Container& container, int restart_count, StringMap* labels,
                        StringMap* annotations) {
  (*labels)[kPodNameLabel] = pod.metadata().name();
  (*labels)[kPodNamespaceLabel] = pod.metadata().namespace_();
  (*labels)[kPodUidLabel] = pod.metadata().uid();
  (*labels)[kContainerNameLabel] = container.name();
  auto& a = *annotations;
  a[kContainerHashAnnotation] = absl::StrCat(absl::Hex(HashContainer(container)));
  a[kRestartCountAnnotation] = absl::StrCat(restart_count);
  a[kMessagePathAnnotation] = container.terminationmessagepath();
  a[kMessagePolicyAnnotation] = container.terminationmessagepolicy();
  if (pod.metadata().has_deletiongraceperiodseconds()) {
    a[kDeletionGraceAnnotation] = absl::StrCat(pod.metadata().deletiongraceperiodseconds());
  }
  if (pod.spec().has_terminationgraceperiodseconds()) {
    a[kTerminationGraceAnnotation] = absl::StrCat(pod.spec().terminationgraceperiodseconds());
  }
  if (container.lifecycle().has_prestop()) a[kPreStopAnnotation] = api::ToJson(container.lifecycle().prestop());
  if (container.ports_size() > 0) {
    std::string ports = "[";
    for (const auto& port : container.ports()) {
      if (ports.size() > 1) ports += ',';
      ports += api::ToJson(port);
    }
    a[kPortsAnnotation] = ports + "]";
  }
}

uint64_t HashContainer(const core::Container& container) {
  std::string json = "{\"image\":";
  api::AppendJsonString(container.image(), &json);
  json += ",\"name\":";
  api::AppendJsonString(container.name(), &json);
  json += '}';
  // FNV-1a (32 bits) over the list of the bytes as upstream's dump of it is spelled.
  uint32_t hash = 2166136261u;
  auto add = [&](std::string_view text) {
    for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  };
  add("([]uint8)[");
  for (size_t i = 0; i < json.size(); ++i) {
    if (i > 0) add(" ");
    add(absl::StrCat(static_cast<unsigned>(static_cast<unsigned char>(json[i]))));
  }
  add("]");
  return hash;
}

std::string PodLogDir(const std::string& logs_dir, std::string_view ns, std::string_view name, std::string_view uid) {
  return absl::StrCat(logs_dir, "/", ns, "_", name, "_", uid);
}

std::string ContainerLogPath(std::string_view container, int restart_count) {
  return absl::StrCat(container, "/", restart_count, ".log");
}

std::string LogLinkName(std::string_view pod, std::string_view ns, std::string_view container, std::string_view id) {
  constexpr size_t kLongest = 255 - 4;  // a file name, without ".log"
  std::string suffix = absl::StrCat("-", id);
  std::string name = absl::StrCat(pod, "_", ns, "_", container);
  if (name.size() + suffix.size() > kLongest) name.resize(kLongest - std::min(kLongest, suffix.size()));
  return absl::StrCat(name, suffix, ".log");
}

int RestartCountFromLogs(const std::string& container_log_dir) {
  auto files = ListDir(container_log_dir);
  if (!files.ok()) return 0;
  int next = 0;
  for (const std::string& file : *files) {
    size_t dot = file.find(".log");  // also rotated ones: "3.log.20260101-000000.gz"
    int n;
    if (dot != std::string::npos && absl::SimpleAtoi(std::string_view(file).substr(0, dot), &n)) {
      next = std::max(next, n + 1);
    }
  }
  return next;
}

}  // namespace skiff::kubelet
