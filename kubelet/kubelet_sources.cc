// Where the kubelet's pods come from beside the watch of the API server, and what stands for them there.
#include "kubelet/kubelet_parts.h"

namespace skiff::kubelet {

// Manifests are read before the API server is asked, which may itself be one of them.
void Kubelet::MakeSources() {
  PodConfig::Hooks hooks;
  hooks.update = [this](PodPtr pod) { workers_->Update(std::move(pod)); };
  hooks.remove = [this](const std::string& uid) { workers_->Remove(uid); };
  hooks.changed = [this] {
    if (mirrors_ != nullptr) mirrors_->Notify();
  };
  pod_config_ = std::make_unique<PodConfig>(clock_, *events_, std::move(hooks));
  if (!config_.static_pod_path.empty()) {
    pod_config_->Expect("file");
    manifests_ = std::make_unique<ManifestDirectory>(
        config_.static_pod_path, node_name_, config_.file_check_frequency, clock_,
        [this](std::vector<Pod> pods) { pod_config_->Set("file", std::move(pods)); });
  }
  if (!config_.static_pod_url.empty()) {
    pod_config_->Expect("http");
    ManifestUrlOptions options{config_.static_pod_url, node_name_, config_.static_pod_url_headers,
                               config_.http_check_frequency};
    manifest_url_ = std::make_unique<ManifestUrl>(executor_, std::move(options), clock_, [this](std::vector<Pod> pods) {
      pod_config_->Set("http", std::move(pods));
    });
  }
  if (rest_ == nullptr) return;
  MirrorHooks mirrors;
  auto synced = [this] { return pods_ != nullptr && pods_->HasSynced(); };
  mirrors.static_pods = [this, synced] { return synced() ? pod_config_->StaticPods() : std::vector<PodPtr>(); };
  mirrors.mirrors = [this] {
    std::vector<PodPtr> out;
    pods_->ForEach([&](const PodPtr& pod) {
      if (IsMirror(*pod)) out.push_back(pod);
    });
    return out;
  };
  mirrors.in_api = [this](const std::string& ns, const std::string& name) {
    PodPtr pod = pods_->Get(ns, name);
    return pod != nullptr && IsMirror(*pod) ? pod : nullptr;
  };
  mirrors.node_uid = [this] {
    const auto& node = agent_->node().metadata();
    return node.has_deletiontimestamp() ? std::string() : node.uid();
  };
  mirrors.waits = [this](const Pod& pod) { return workers_->MustWait(pod); };
  mirrors.ending = [this](const std::string& ns, const std::string& name) { return workers_->StaticEnding(ns, name); };
  mirrors.complete = [this] { return sources_ready_ && pod_config_->SeenAll(); };
  mirrors_ = std::make_unique<MirrorPods>(executor_, node_name_, *sink_, clock_, std::move(mirrors));
}

PodPtr Kubelet::MirrorFor(const Pod& static_pod) const {
  PodPtr pod =
      pods_ == nullptr ? nullptr : pods_->Get(static_pod.metadata().namespace_(), static_pod.metadata().name());
  return pod != nullptr && IsMirrorOf(*pod, static_pod) ? pod : nullptr;
}

void Kubelet::SeenMirror(const Pod& mirror) {
  PodPtr pod = workers_->Find(Annotation(mirror, kMirrorAnnotation));
  if (pod != nullptr && IsStatic(*pod) && IsMirrorOf(mirror, *pod)) statuses_->Seen(pod->metadata().uid(), mirror);
  mirrors_->Notify();
}

}  // namespace skiff::kubelet
