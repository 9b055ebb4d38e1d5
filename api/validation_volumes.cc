// Volumes of pods.
#include <set>

#include "absl/strings/str_split.h"
#include "api/quantity.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::api::internal {

namespace core = k8s::io::api::core::v1;
using Names = std::set<std::string>;

void RelativePath(std::string_view value, const Path& path, FieldErrors* errors) {
  if (value.starts_with('/')) errors->Invalid(path, value, "must be a relative path");
  for (const std::string_view part : absl::StrSplit(value, '/'))
    if (part == "..") return errors->Invalid(path, value, "must not contain '..'");
}

namespace {

constexpr char kFileMode[] = "must be a number between 0 and 0777 (octal), both inclusive";

template <typename Items>
void ValidateItems(const Items& items, const Path& path, FieldErrors* errors) {
  const Path list = path.Child("items");
  for (int i = 0; i < items.size(); ++i) {
    const Path at = list.Index(i);
    const auto& item = items.Get(i);
    if (item.key().empty()) errors->Required(at.Child("key"));
    if (item.path().empty()) errors->Required(at.Child("path"));
    RelativePath(item.path(), at.Child("path"), errors);
    if (item.path().starts_with("..") && item.path() != "..")
      errors->Invalid(at.Child("path"), item.path(), "must not start with '..'");
    if (item.has_mode() && (item.mode() > 0777 || item.mode() < 0))
      errors->Invalid(at.Child("mode"), item.mode(), kFileMode);
  }
}

template <typename V>
void ValidateMode(const V& volume, const Path& path, FieldErrors* errors) {
  if (volume.has_defaultmode() && (volume.defaultmode() > 0777 || volume.defaultmode() < 0))
    errors->Invalid(path.Child("defaultMode"), volume.defaultmode(), kFileMode);
}

void ValidateSource(const core::VolumeSource& source, const Path& path, FieldErrors* errors) {
  std::vector<const google::protobuf::FieldDescriptor*> set;
  source.GetReflection()->ListFields(source, &set);
  if (set.empty()) return errors->Required(path, "must specify a volume type");
  for (size_t i = 1; i < set.size(); ++i)
    errors->Forbidden(path.Child(set[i]->name()), "may not specify more than 1 volume type");
  if (source.has_emptydir() && source.emptydir().has_sizelimit() &&
      Quantity::Of(source.emptydir().sizelimit()).Sign() < 0) {
    const Path dir = path.Child("emptyDir");
    errors->Forbidden(dir.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
  }
  if (source.has_hostpath()) {
    const Path at = path.Child("hostPath");
    if (source.hostpath().path().empty()) errors->Required(at.Child("path"));
    for (const std::string_view part : absl::StrSplit(source.hostpath().path(), '/'))
      if (part == "..") {
        errors->Invalid(at.Child("path"), source.hostpath().path(), "must not contain '..'");
        break;
      }
    const std::string& type = source.hostpath().type();
    if (!type.empty())
      OneOf(at.Child("type"), type,
            {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"},
            errors);
  }
  if (source.has_secret()) {
    const Path at = path.Child("secret");
    if (source.secret().secretname().empty()) errors->Required(at.Child("secretName"));
    ValidateMode(source.secret(), at, errors);
    ValidateItems(source.secret().items(), at, errors);
  }
  if (source.has_configmap()) {
    const Path at = path.Child("configMap");
    if (source.configmap().localobjectreference().name().empty()) errors->Required(at.Child("name"));
    ValidateMode(source.configmap(), at, errors);
    ValidateItems(source.configmap().items(), at, errors);
  }
  if (source.has_persistentvolumeclaim()) {
    const Path at = path.Child("persistentVolumeClaim");
    if (source.persistentvolumeclaim().claimname().empty()) errors->Required(at.Child("claimName"));
  }
  if (source.has_nfs()) {
    const Path at = path.Child("nfs");
    if (source.nfs().server().empty()) errors->Required(at.Child("server"));
    if (source.nfs().path().empty())
      errors->Required(at.Child("path"));
    else if (!source.nfs().path().starts_with('/'))
      errors->Invalid(at.Child("path"), source.nfs().path(), "must be an absolute path");
  }
  if (source.has_projected()) {
    const Path at = path.Child("projected");
    ValidateMode(source.projected(), at, errors);
    const Path sources = at.Child("sources");
    for (int i = 0; i < source.projected().sources_size(); ++i) {
      const auto& one = source.projected().sources(i);
      const Path item = sources.Index(i);
      if (one.has_secret() && one.secret().localobjectreference().name().empty()) {
        const Path secret = item.Child("secret");
        errors->Required(secret.Child("name"));
      }
      if (one.has_configmap() && one.configmap().localobjectreference().name().empty()) {
        const Path map = item.Child("configMap");
        errors->Required(map.Child("name"));
      }
      if (one.has_serviceaccounttoken()) {
        const Path token = item.Child("serviceAccountToken");
        const auto& t = one.serviceaccounttoken();
        if (t.has_expirationseconds() && t.expirationseconds() < 600)
          errors->Invalid(token.Child("expirationSeconds"), t.expirationseconds(),
                          "may not specify a duration less than 10 minutes");
        if (t.has_expirationseconds() && t.expirationseconds() > (int64_t{1} << 32))
          errors->Invalid(token.Child("expirationSeconds"), t.expirationseconds(),
                          "may not specify a duration larger than 2^32 seconds");
        if (t.path().empty()) errors->Required(token.Child("path"));
      }
    }
  }
}

}  // namespace

Names ValidateVolumes(const core::PodSpec& spec, const Path& path, FieldErrors* errors) {
  Names names;
  const Path volumes = path.Child("volumes");
  for (int i = 0; i < spec.volumes_size(); ++i) {
    const core::Volume& volume = spec.volumes(i);
    const Path at = volumes.Index(i);
    const size_t before = errors->causes().size();
    ValidateSource(volume.volumesource(), at, errors);
    if (volume.name().empty())
      errors->Required(at.Child("name"));
    else
      InvalidAll(at.Child("name"), volume.name(), IsDns1123Label(volume.name()), errors);
    if (names.contains(volume.name())) errors->Duplicate(at.Child("name"), volume.name());
    if (errors->causes().size() == before) names.insert(volume.name());
  }
  return names;
}

}  // namespace skiff::api::internal
