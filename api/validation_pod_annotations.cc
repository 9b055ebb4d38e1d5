// Annotations that mean something to the server or to a kubelet.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/text.h"
#include "api/validation_pod.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr char kAppArmorPrefix[] = "container.apparmor.security.beta.kubernetes.io/";
constexpr char kSeccompPod[] = "seccomp.security.alpha.kubernetes.io/pod";
constexpr char kSeccompPrefix[] = "container.seccomp.security.alpha.kubernetes.io/";
constexpr char kDeletionCost[] = "controller.kubernetes.io/pod-deletion-cost";
constexpr std::string_view kLocalhost = "localhost/";

// A 32-bit integer without a plus sign or leading zeros.
bool IsDeletionCost(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  int32_t value = 0;
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit)) return false;
  return (text[0] != '0' || text == "0") && absl::SimpleAtoi(text, &value);
}

bool BadDeletionCost(const StringMap& annotations) {
  const auto it = annotations.find(kDeletionCost);
  return it != annotations.end() && !IsDeletionCost(it->second);
}

void ValidateSeccomp(std::string_view profile, const Path& path, FieldErrors* errors) {
  if (profile == "runtime/default" || profile == "docker/default" || profile == "unconfined") return;
  if (!profile.starts_with(kLocalhost)) return errors->Invalid(path, profile, "must be a valid seccomp profile");
  RelativePath(profile.substr(kLocalhost.size()), path, errors);
}

// Init containers, containers, ephemeral ones, as upstream goes through them. `path` is the specification's.
template <typename Visit>
void EachContainer(const core::PodSpec& spec, const Path& path, const Visit& visit) {
  const Path inits = path.Child("initContainers"), containers = path.Child("containers"),
             ephemeral = path.Child("ephemeralContainers");
  for (int i = 0; i < spec.initcontainers_size(); ++i) visit(spec.initcontainers(i), inits.Index(i));
  for (int i = 0; i < spec.containers_size(); ++i) visit(spec.containers(i), containers.Index(i));
  for (int i = 0; i < spec.ephemeralcontainers_size(); ++i)
    visit(spec.ephemeralcontainers(i).ephemeralcontainercommon(), ephemeral.Index(i));
}

bool HasContainer(const core::PodSpec& spec, std::string_view name) {
  bool found = false;
  EachContainer(spec, Path(""), [&](const auto& c, const Path&) { found |= c.name() == name; });
  return found;
}

void ValidateAppArmor(const core::PodSpec& spec, std::string_view container, std::string_view profile, const Path& path,
                      FieldErrors* errors) {
  if (!HasContainer(spec, container)) errors->Invalid(path, container, "container not found");
  if (profile.empty() || profile == "runtime/default" || profile == "unconfined" || profile.starts_with(kLocalhost))
    return;
  errors->Invalid(path, profile, absl::StrCat("invalid AppArmor profile name: ", GoQuote(profile)));
}

// One profile, named by an annotation and by a field. `what` is "seccomp" or "apparmor".
template <typename Profile>
void ValidateMatch(std::string_view annotation, const Profile& profile, std::string_view what, const Path& path,
                   FieldErrors* errors) {
  bool same = true;
  if (profile.type() == "Localhost") {
    same = annotation.starts_with(kLocalhost);
    if (same && (!profile.has_localhostprofile() || annotation.substr(kLocalhost.size()) != profile.localhostprofile()))
      errors->Forbidden(path.Child("localhostProfile"),
                        absl::StrCat(what, " profile in annotation and field must match"));
  } else if (profile.type() == "RuntimeDefault") {
    same = annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default");
  } else if (profile.type() == "Unconfined") {
    same = annotation == "unconfined";
  }
  if (!same) errors->Forbidden(path.Child("type"), absl::StrCat(what, " type in annotation and field must match"));
}

}  // namespace

void ValidatePodAnnotations(const StringMap& annotations, const core::PodSpec& spec, const StringMap* old,
                            const Path& path, FieldErrors* errors) {
  const auto stays = [&](const std::string& key) {
    if (old == nullptr) return false;
    const auto before = old->find(key);
    return before != old->end() && before->second == annotations.at(key);
  };
  if (annotations.contains(kMirrorAnnotation) && spec.nodename().empty() && !stays(kMirrorAnnotation))
    errors->Invalid(path.Key(kMirrorAnnotation), annotations.at(kMirrorAnnotation),
                    "must set spec.nodeName if mirror pod annotation is set");
  // One that was wrong already may also become another wrong one, as upstream has it.
  if (BadDeletionCost(annotations) && (old == nullptr || !BadDeletionCost(*old)))
    errors->Invalid(path.Key(kDeletionCost), annotations.at(kDeletionCost), "must be a 32bit integer");
  std::vector<std::string> keys = SortedKeys(annotations);
  std::erase_if(keys, stays);
  for (const std::string& key : keys)
    if (key == kSeccompPod || key.starts_with(kSeccompPrefix))
      ValidateSeccomp(annotations.at(key), path.Child(key), errors);
  for (const std::string& key : keys)
    if (key.starts_with(kAppArmorPrefix))
      ValidateAppArmor(spec, std::string_view(key).substr(sizeof(kAppArmorPrefix) - 1), annotations.at(key),
                       path.Key(key), errors);
}

void ValidateAnnotationsMatchFields(const StringMap& annotations, const core::PodSpec& spec, const Path& path,
                                    FieldErrors* errors) {
  const Path context = path.Child("securityContext");
  const core::PodSecurityContext& of_pod = spec.securitycontext();
  if (const auto it = annotations.find(kSeccompPod); it != annotations.end() && of_pod.has_seccompprofile())
    ValidateMatch(it->second, of_pod.seccompprofile(), "seccomp", context.Child("seccompProfile"), errors);
  EachContainer(spec, path, [&](const auto& c, const Path& at) {
    const auto it = annotations.find(absl::StrCat(kSeccompPrefix, c.name()));
    if (it == annotations.end() || !c.securitycontext().has_seccompprofile()) return;
    const Path own = at.Child("securityContext");
    ValidateMatch(it->second, c.securitycontext().seccompprofile(), "seccomp", own.Child("seccompProfile"), errors);
  });
  if (spec.os().name() == "windows") return;
  EachContainer(spec, path, [&](const auto& c, const Path& at) {
    const auto it = annotations.find(absl::StrCat(kAppArmorPrefix, c.name()));
    if (it == annotations.end()) return;
    const bool has_own = c.securitycontext().has_apparmorprofile();
    if (!has_own && !of_pod.has_apparmorprofile()) return;
    const Path own = at.Child("securityContext");
    ValidateMatch(it->second, has_own ? c.securitycontext().apparmorprofile() : of_pod.apparmorprofile(), "apparmor",
                  own.Child("appArmorProfile"), errors);
  });
}

void ValidatePodAnnotationUpdates(const core::Pod& pod, const core::Pod& old, FieldErrors* errors) {
  const Path metadata("metadata");
  const Path path = metadata.Child("annotations");
  const StringMap &now = pod.metadata().annotations(), &before = old.metadata().annotations();
  for (const std::string& key : SortedKeys(before)) {
    const auto it = now.find(key);
    if (it != now.end() && it->second == before.at(key)) continue;
    if (key.starts_with(kAppArmorPrefix))
      errors->Forbidden(path.Key(key), "may not remove or update AppArmor annotations");
    if (key == kMirrorAnnotation) errors->Forbidden(path.Key(key), "may not remove or update mirror pod annotation");
  }
  for (const std::string& key : SortedKeys(now)) {
    if (before.contains(key)) continue;
    if (key.starts_with(kAppArmorPrefix)) errors->Forbidden(path.Key(key), "may not add AppArmor annotations");
    if (key == kMirrorAnnotation) errors->Forbidden(path.Key(key), "may not add mirror pod annotation");
  }
  ValidatePodAnnotations(now, pod.spec(), &before, path, errors);
}

}  // namespace skiff::api::internal
