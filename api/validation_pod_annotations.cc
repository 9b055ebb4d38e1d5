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

bool HasContainer(const core::PodSpec& spec, std::string_view name) {
  for (const core::Container& c : spec.initcontainers())
    if (c.name() == name) return true;
  for (const core::Container& c : spec.containers())
    if (c.name() == name) return true;
  for (const core::EphemeralContainer& c : spec.ephemeralcontainers())
    if (c.ephemeralcontainercommon().name() == name) return true;
  return false;
}

void ValidateAppArmor(const core::PodSpec& spec, std::string_view container, std::string_view profile, const Path& path,
                      FieldErrors* errors) {
  if (!HasContainer(spec, container)) errors->Invalid(path, container, "container not found");
  if (profile.empty() || profile == "runtime/default" || profile == "unconfined" || profile.starts_with(kLocalhost))
    return;
  errors->Invalid(path, profile, absl::StrCat("invalid AppArmor profile name: ", GoQuote(profile)));
}

}  // namespace

void ValidatePodAnnotations(const core::Pod& pod, const core::Pod* old, FieldErrors* errors) {
  const Path metadata("metadata");
  const Path path = metadata.Child("annotations");
  const StringMap& annotations = pod.metadata().annotations();
  if (const auto mirror = annotations.find(kMirrorAnnotation);
      mirror != annotations.end() && pod.spec().nodename().empty())
    errors->Invalid(path.Key(kMirrorAnnotation), mirror->second,
                    "must set spec.nodeName if mirror pod annotation is set");
  // One that was wrong already does not stand in the way of other changes.
  if (BadDeletionCost(annotations) && (old == nullptr || !BadDeletionCost(old->metadata().annotations())))
    errors->Invalid(path.Key(kDeletionCost), annotations.at(kDeletionCost), "must be a 32bit integer");
  const std::vector<std::string> keys = SortedKeys(annotations);
  for (const std::string& key : keys)
    if (key == kSeccompPod || key.starts_with(kSeccompPrefix))
      ValidateSeccomp(annotations.at(key), path.Child(key), errors);
  for (const std::string& key : keys)
    if (key.starts_with(kAppArmorPrefix))
      ValidateAppArmor(pod.spec(), std::string_view(key).substr(sizeof(kAppArmorPrefix) - 1), annotations.at(key),
                       path.Key(key), errors);
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
  ValidatePodAnnotations(pod, &old, errors);
}

}  // namespace skiff::api::internal
