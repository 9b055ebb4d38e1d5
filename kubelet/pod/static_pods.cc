#include "kubelet/pod/static_pods.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "base/files.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

// 128 bits of FNV-1a as hex: an id that follows from the content.
std::string Digest(std::string_view a, std::string_view b) {
  auto fnv = [](uint64_t h, std::string_view text) {
    for (unsigned char c : text) h = (h ^ c) * 1099511628211ULL;
    return h;
  };
  uint64_t high = fnv(fnv(14695981039346656037ULL, a), b), low = fnv(fnv(high ^ 0x5bd1e995, b), a);
  return absl::StrFormat("%016x%016x", high, low);
}

Status NamesNoObjects(const Pod& pod) {
  auto refuse = [](std::string_view field) {
    return InvalidArgument(field, ": static pods may not refer to API objects");
  };
  if (!pod.spec().serviceaccountname().empty()) return refuse("spec.serviceAccountName");
  for (const auto& volume : pod.spec().volumes()) {
    const auto& source = volume.volumesource();
    if (source.has_secret()) return refuse(absl::StrCat("spec.volumes[", volume.name(), "].secret"));
    if (source.has_configmap()) return refuse(absl::StrCat("spec.volumes[", volume.name(), "].configMap"));
    if (source.has_persistentvolumeclaim()) {
      return refuse(absl::StrCat("spec.volumes[", volume.name(), "].persistentVolumeClaim"));
    }
    for (const auto& projection : source.projected().sources()) {
      if (projection.has_secret() || projection.has_configmap() || projection.has_serviceaccounttoken()) {
        return refuse(absl::StrCat("spec.volumes[", volume.name(), "].projected"));
      }
    }
  }
  for (const auto* list : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& c : *list) {
      for (const auto& from : c.envfrom()) {
        if (from.has_configmapref() || from.has_secretref())
          return refuse(absl::StrCat("container ", c.name(), " envFrom"));
      }
      for (const auto& env : c.env()) {
        if (env.valuefrom().has_configmapkeyref() || env.valuefrom().has_secretkeyref()) {
          return refuse(absl::StrCat("container ", c.name(), " env ", env.name()));
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<PodPtr> ParseStaticPod(std::string_view text, const std::string& file, const std::string& node_name) {
  ASSIGN_OR_RETURN(std::string json, api::YamlToJson(text), file);
  auto pod = std::make_shared<Pod>();
  api::GroupVersionKind gvk;
  RETURN_IF_ERROR(api::FromJson(json, pod.get(), &gvk), file);
  if (gvk.kind != "Pod" || gvk.version != "v1")
    return InvalidArgument(file, ": couldn't parse as pod: kind is ", gvk.kind);
  if (pod->metadata().name().empty()) return InvalidArgument(file, ": metadata.name: Required value");
  if (pod->spec().containers_size() == 0) return InvalidArgument(file, ": spec.containers: Required value");
  api::SetPodDefaults(pod.get());
  RETURN_IF_ERROR(NamesNoObjects(*pod), file);
  auto* m = pod->mutable_metadata();
  if (m->namespace_().empty()) m->set_namespace_("default");
  m->set_name(absl::StrCat(m->name(), "-", node_name));
  std::string uid = m->uid().empty() ? Digest(absl::StrCat(node_name, "\n", file), json) : m->uid();
  m->set_uid(uid);
  (*m->mutable_annotations())["kubernetes.io/config.source"] = "file";
  (*m->mutable_annotations())["kubernetes.io/config.hash"] = uid;
  pod->mutable_spec()->set_nodename(node_name);
  // They are there before the taints of an unready node matter.
  auto* toleration = pod->mutable_spec()->add_tolerations();
  toleration->set_operator_("Exists");
  toleration->set_effect("NoExecute");
  if (pod->status().phase().empty()) pod->mutable_status()->set_phase("Pending");
  return PodPtr(pod);
}

StatusOr<std::map<std::string, PodPtr>> ReadStaticPods(const std::string& path, const std::string& node_name) {
  std::vector<std::string> files;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, path);
  if (S_ISDIR(st.st_mode)) {
    ASSIGN_OR_RETURN(std::vector<std::string> names, ListDir(path));
    for (const std::string& name : names) {
      std::string file = JoinPath(path, name);
      if (name[0] != '.' && ::stat(file.c_str(), &st) == 0 && S_ISREG(st.st_mode)) files.push_back(file);
    }
  } else {
    files.push_back(path);
  }
  std::map<std::string, PodPtr> out;
  for (const std::string& file : files) {
    auto text = ReadFile(file, 4 << 20);
    StatusOr<PodPtr> pod = text.ok() ? ParseStaticPod(*text, file, node_name) : StatusOr<PodPtr>(text.status());
    if (!pod.ok()) {
      LOG_ERROR(pod.status(), "Can't process manifest file", {"path", file});
      continue;
    }
    out[(*pod)->metadata().uid()] = *pod;
  }
  return out;
}

}  // namespace skiff::kubelet
