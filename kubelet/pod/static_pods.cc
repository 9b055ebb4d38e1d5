#include "kubelet/pod/static_pods.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/go_dump.h"
#include "api/names.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::kubelet {
namespace {

// 128 bits of FNV-1a as hex.
class Fnv128 {
 public:
  void Add(std::string_view text) {
    for (unsigned char c : text) hash_ = (hash_ ^ c) * kPrime;
  }
  std::string Hex() const {
    return absl::StrFormat("%016x%016x", static_cast<uint64_t>(hash_ >> 64), static_cast<uint64_t>(hash_));
  }

 private:
  using U128 = unsigned __int128;
  static constexpr U128 kPrime = (U128{1} << 88) | 0x13b;
  U128 hash_ = (U128{0x6c62272e07bb0142} << 64) | 0x62b821756295c58d;
};

// What would fail later and less clearly. The API server checks the rest when the mirror pod is made.
Status Check(const Pod& pod) {
  const auto& spec = pod.spec();
  if (auto complaints = api::IsDns1123Subdomain(pod.metadata().name()); !complaints.empty()) {
    return InvalidArgument("invalid pod: metadata.name: Invalid value: \"", pod.metadata().name(),
                           "\": ", complaints.front());
  }
  if (spec.containers_size() == 0) return InvalidArgument("invalid pod: spec.containers: Required value");
  if (spec.ephemeralcontainers_size() > 0) {
    return InvalidArgument("invalid pod: spec.ephemeralContainers: Forbidden: cannot be set on create");
  }
  std::set<std::string> volumes, names;
  for (const auto& volume : spec.volumes()) {
    if (!volumes.insert(volume.name()).second) {
      return InvalidArgument("invalid pod: spec.volumes: Duplicate value: \"", volume.name(), "\"");
    }
  }
  auto check = [&](std::string_view list, int i, const core::Container& c) -> Status {
    const std::string at = absl::StrCat("invalid pod: spec.", list, "[", i, "]");
    if (c.name().empty()) return InvalidArgument(at, ".name: Required value");
    if (auto complaints = api::IsDns1123Label(c.name()); !complaints.empty()) {
      return InvalidArgument(at, ".name: Invalid value: \"", c.name(), "\": ", complaints.front());
    }
    if (!names.insert(c.name()).second) return InvalidArgument(at, ".name: Duplicate value: \"", c.name(), "\"");
    if (c.image().empty()) return InvalidArgument(at, ".image: Required value");
    for (int m = 0; m < c.volumemounts_size(); ++m) {
      if (!volumes.contains(c.volumemounts(m).name())) {
        return InvalidArgument(at, ".volumeMounts[", m, "].name: Not found: \"", c.volumemounts(m).name(), "\"");
      }
    }
    return absl::OkStatus();
  };
  for (int i = 0; i < spec.initcontainers_size(); ++i) {
    RETURN_IF_ERROR(check("initContainers", i, spec.initcontainers(i)));
  }
  for (int i = 0; i < spec.containers_size(); ++i) RETURN_IF_ERROR(check("containers", i, spec.containers(i)));
  return absl::OkStatus();
}

Status Complete(const ManifestOrigin& origin, const api::json& document, Pod* pod) {
  if (pod->metadata().name().empty()) return InvalidArgument("invalid pod: name is needed for the pod");
  api::SetPodDefaults(pod);
  RETURN_IF_ERROR(Check(*pod));
  auto* m = pod->mutable_metadata();
  if (m->uid().empty()) {
    Fnv128 hash;
    hash.Add(api::GoDump(*pod, document));
    if (origin.file) {
      hash.Add(absl::StrCat("host:", origin.node_name));
      hash.Add(absl::StrCat("file:", origin.where));
    } else {
      hash.Add(absl::StrCat("url:", origin.where));
    }
    m->set_uid(hash.Hex());
  }
  m->set_name(absl::StrCat(m->name(), "-", absl::AsciiStrToLower(origin.node_name)));
  if (m->namespace_().empty()) m->set_namespace_("default");
  pod->mutable_spec()->set_nodename(origin.node_name);
  (*m->mutable_annotations())[kHashAnnotation] = m->uid();
  if (origin.file) {
    // Node problems do not evict what may be needed to solve them.
    bool there = false;
    for (const auto& t : pod->spec().tolerations()) {
      there = there ||
              (t.key().empty() && t.operator_() == "Exists" && t.effect() == "NoExecute" && !t.has_tolerationseconds());
    }
    if (!there) {
      auto* toleration = pod->mutable_spec()->add_tolerations();
      toleration->set_operator_("Exists");
      toleration->set_effect("NoExecute");
    }
  }
  pod->mutable_status()->Clear();
  pod->mutable_status()->set_phase("Pending");
  if (std::string what = ApiObjectReference(*pod); !what.empty()) {
    return InvalidArgument("static pods may not reference ", what);
  }
  return absl::OkStatus();
}

}  // namespace

std::string ApiObjectReference(const Pod& pod) {
  const auto& spec = pod.spec();
  if (!spec.serviceaccountname().empty() || !spec.serviceaccount().empty()) return "serviceaccounts";
  bool secrets = spec.imagepullsecrets_size() > 0, config_maps = false;
  for (const auto* list : {&spec.containers(), &spec.initcontainers()}) {
    for (const auto& c : *list) {
      for (const auto& from : c.envfrom()) {
        secrets = secrets || from.has_secretref();
        config_maps = config_maps || from.has_configmapref();
      }
      for (const auto& env : c.env()) {
        secrets = secrets || env.valuefrom().has_secretkeyref();
        config_maps = config_maps || env.valuefrom().has_configmapkeyref();
      }
    }
  }
  for (const auto& volume : spec.volumes()) {
    const auto& v = volume.volumesource();
    secrets = secrets || v.has_secret() || v.azurefile().has_secretname() || v.cephfs().has_secretref() ||
              v.cinder().has_secretref() || v.flexvolume().has_secretref() || v.rbd().has_secretref() ||
              v.scaleio().has_secretref() || v.iscsi().has_secretref() || v.storageos().has_secretref() ||
              v.csi().has_nodepublishsecretref();
    config_maps = config_maps || v.has_configmap();
    for (const auto& s : v.projected().sources()) {
      secrets = secrets || s.has_secret();
      config_maps = config_maps || s.has_configmap();
    }
  }
  if (secrets) return "secrets";
  if (config_maps) return "configmaps";
  if (spec.resourceclaims_size() > 0) return "resourceclaims";
  for (const auto& volume : spec.volumes()) {
    const auto& v = volume.volumesource();
    if (v.has_csi()) return "csidrivers (via CSI volumes)";
    if (v.has_glusterfs()) return "endpoints (via glusterFS volumes)";
    if (v.has_persistentvolumeclaim()) return "persistentvolumeclaims";
    if (v.has_ephemeral()) return "persistentvolumeclaims (via ephemeral volumes)";
    if (v.has_azurefile()) return "secrets (via azureFile volumes)";
    for (const auto& s : v.projected().sources()) {
      if (s.has_serviceaccounttoken()) return "serviceaccounts (via projected volumes)";
      if (s.has_clustertrustbundle()) return "clustertrustbundles";
      if (s.has_podcertificate()) return "podcertificates";
    }
  }
  return "";
}

StatusOr<std::vector<Pod>> ParseManifest(std::string_view text, const ManifestOrigin& origin) {
  std::vector<Pod> out;
  ASSIGN_OR_RETURN(std::string json, api::YamlToJson(text), origin.where);
  ASSIGN_OR_RETURN(api::json document, api::ParseJson(json), origin.where);
  if (!document.is_object()) return InvalidArgument(origin.where, ": couldn't parse as pod: not an object");
  auto text_of = [&](const char* key) {
    auto it = document.find(key);
    return it != document.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const std::string kind = text_of("kind"), version = text_of("apiVersion");
  auto add = [&](const api::json& one) -> Status {
    Pod pod;
    RETURN_IF_ERROR(api::FromJsonValue(one, &pod), origin.where);
    RETURN_IF_ERROR(Complete(origin, one, &pod), origin.where);
    out.push_back(std::move(pod));
    return absl::OkStatus();
  };
  if (kind == "Pod" && version == "v1") {
    RETURN_IF_ERROR(add(document));
  } else if (kind == "PodList" && version == "v1" && !origin.file) {
    auto items = document.find("items");
    if (items == document.end() || !items->is_array()) {
      return InvalidArgument(origin.where, ": items: must be a list of pods");
    }
    for (const auto& item : *items) RETURN_IF_ERROR(add(item));
  } else {
    return InvalidArgument(origin.where, ": couldn't parse as pod: apiVersion \"", version, "\", kind \"", kind, "\"");
  }
  return out;
}

Pod MirrorOf(const Pod& static_pod, const std::string& node_name, const std::string& node_uid) {
  Pod out = static_pod;
  auto* m = out.mutable_metadata();
  (*m->mutable_annotations())[kMirrorAnnotation] = Annotation(static_pod, kHashAnnotation);
  m->clear_ownerreferences();
  auto* owner = m->add_ownerreferences();
  owner->set_apiversion("v1");
  owner->set_kind("Node");
  owner->set_name(node_name);
  owner->set_uid(node_uid);
  owner->set_controller(true);
  m->clear_uid();
  m->clear_resourceversion();
  m->clear_creationtimestamp();
  return out;
}

bool IsMirrorOf(const Pod& mirror, const Pod& static_pod) {
  return mirror.metadata().name() == static_pod.metadata().name() &&
         mirror.metadata().namespace_() == static_pod.metadata().namespace_() && IsMirror(mirror) &&
         Annotation(mirror, kMirrorAnnotation) == Annotation(static_pod, kHashAnnotation);
}

}  // namespace skiff::kubelet
