#include "kubelet/resources/cgroup_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace skiff::kubelet {

CgroupNames::CgroupNames(std::string_view root, bool systemd) : systemd_(systemd) {
  for (std::string_view part : absl::StrSplit(root, '/', absl::SkipEmpty())) root_.emplace_back(part);
  if (systemd) {
    // "a-b.slice" is a.slice/a-b.slice in the tree; as a name it is the parts a, b.
    std::vector<std::string> parts;
    for (std::string part : root_) {
      if (part.ends_with(".slice")) part.resize(part.size() - 6);
      parts.clear();
      for (std::string_view p : absl::StrSplit(part, '-')) parts.emplace_back(absl::StrReplaceAll(p, {{"_", "-"}}));
    }
    root_ = parts;
  }
}

std::vector<std::string> CgroupNames::Parts(std::string_view qos_class) const {
  std::vector<std::string> parts = root_;
  parts.emplace_back("kubepods");
  if (qos_class == "Burstable" || qos_class == "BestEffort") parts.push_back(absl::AsciiStrToLower(qos_class));
  return parts;
}

std::string CgroupNames::Path(const std::vector<std::string>& parts) const {
  if (!systemd_) return absl::StrJoin(parts, "/");
  std::string path, name;
  for (const std::string& part : parts) {
    absl::StrAppend(&name, name.empty() ? "" : "-", absl::StrReplaceAll(part, {{"-", "_"}}));
    absl::StrAppend(&path, path.empty() ? "" : "/", name, ".slice");
  }
  return path;
}

std::string CgroupNames::Kubepods() const { return Path(Parts("")); }
std::string CgroupNames::Qos(std::string_view qos_class) const { return Path(Parts(qos_class)); }

std::string CgroupNames::Pod(std::string_view qos_class, std::string_view uid) const {
  auto parts = Parts(qos_class);
  parts.push_back(absl::StrCat("pod", uid));
  return Path(parts);
}

std::string CgroupNames::Reserved(std::string_view name) const {
  std::vector<std::string> parts;
  for (std::string_view part : absl::StrSplit(name, '/', absl::SkipEmpty())) parts.emplace_back(part);
  if (parts.empty() || !systemd_) return absl::StrJoin(parts, "/");
  return CgroupNames(parts.back(), true).Path(CgroupNames(parts.back(), true).root_);
}

std::string CgroupNames::ForRuntime(std::string_view qos_class, std::string_view uid) const {
  std::string path = Pod(qos_class, uid);
  if (!systemd_) return "/" + path;
  return path.substr(path.rfind('/') + 1);
}

std::string CgroupNames::UidOf(std::string_view directory) const {
  if (systemd_) {
    if (!directory.ends_with(".slice")) return "";
    directory.remove_suffix(6);
    size_t at = directory.rfind("-pod");
    if (at == std::string_view::npos) return "";
    return absl::StrReplaceAll(directory.substr(at + 4), {{"_", "-"}});
  }
  return directory.starts_with("pod") ? std::string(directory.substr(3)) : "";
}

}  // namespace skiff::kubelet
