#include "kubelet/pod/pod_config.h"

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/log.h"

namespace skiff::kubelet {

bool PodConfig::SeenAll() const {
  for (const std::string& source : expected_) {
    if (!static_.contains(source)) return false;
  }
  return true;
}

void PodConfig::Set(const std::string& source, std::vector<Pod> pods) {
  std::map<std::string, PodPtr> now;
  std::map<std::string, PodPtr>& before = static_[source];
  std::set<std::string> names;
  std::vector<PodPtr> changed;
  for (Pod& pod : pods) {
    if (!names.insert(PodKey(pod)).second) {
      LOG_WARNING("Pod failed validation due to duplicate pod name, ignoring", {"pod", PodKey(pod)},
                  {"source", source});
      events_.Record(pod, client::kWarning, "FailedValidation",
                     absl::StrCat("Error validating pod ", FormatPod(pod), " from ", source,
                                  " due to duplicate pod name \"", pod.metadata().name(), "\", ignoring"));
      continue;
    }
    const std::string uid = pod.metadata().uid();
    auto& annotations = *pod.mutable_metadata()->mutable_annotations();
    annotations[kSourceAnnotation] = source;
    auto known = before.find(uid);
    annotations[kSeenAnnotation] =
        known != before.end() ? Annotation(*known->second, kSeenAnnotation) : api::FormatTimeNano(clock_.Now());
    if (known != before.end() && api::Equal(*known->second, pod)) {
      now[uid] = known->second;
      continue;
    }
    now[uid] = std::make_shared<const Pod>(std::move(pod));
    changed.push_back(now[uid]);
  }
  std::map<std::string, PodPtr> old = std::exchange(before, std::move(now));
  for (const auto& [uid, pod] : old) {
    if (!before.contains(uid)) hooks_.remove(uid);
  }
  for (const PodPtr& pod : changed) hooks_.update(pod);
  if (hooks_.changed) hooks_.changed();
}

std::vector<PodPtr> PodConfig::StaticPods() const {
  std::vector<PodPtr> out;
  for (const auto& [source, pods] : static_) {
    for (const auto& [uid, pod] : pods) out.push_back(pod);
  }
  return out;
}

PodPtr PodConfig::StaticByName(const std::string& ns, const std::string& name) const {
  for (const auto& [source, pods] : static_) {
    for (const auto& [uid, pod] : pods) {
      if (pod->metadata().name() == name && pod->metadata().namespace_() == ns) return pod;
    }
  }
  return nullptr;
}

void PodConfig::MarkApi(Pod* pod) {
  if (IsMirror(*pod)) return;
  auto& annotations = *pod->mutable_metadata()->mutable_annotations();
  ApiMarks& marks = api_[pod->metadata().uid()];
  marks.own.clear();
  for (const char* name : {kSourceAnnotation, kSeenAnnotation}) {
    if (auto it = annotations.find(name); it != annotations.end()) marks.own[name] = it->second;
  }
  if (marks.seen.empty()) marks.seen = api::FormatTimeNano(clock_.Now());
  annotations[kSourceAnnotation] = "api";
  annotations[kSeenAnnotation] = marks.seen;
}

void PodConfig::Unmark(Pod* pod) const {
  if (IsMirror(*pod)) return;
  auto it = api_.find(pod->metadata().uid());
  if (it == api_.end()) return;
  auto& annotations = *pod->mutable_metadata()->mutable_annotations();
  for (const char* name : {kSourceAnnotation, kSeenAnnotation}) {
    auto own = it->second.own.find(name);
    if (own != it->second.own.end()) {
      annotations[name] = own->second;
    } else {
      annotations.erase(name);
    }
  }
}

void PodConfig::ForgetApi(const std::string& uid) { api_.erase(uid); }

}  // namespace skiff::kubelet
