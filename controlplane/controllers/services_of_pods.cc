#include "controlplane/controllers/services_of_pods.h"

#include "api/codec.h"
#include "controlplane/controllers/pods.h"

namespace skiff::controlplane {
namespace {

using Labels = google::protobuf::Map<std::string, std::string>;

bool Selects(const core::Service& service, const Labels& labels) {
  if (service.spec().selector().empty()) return false;
  for (const auto& [key, value] : service.spec().selector()) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

bool SameLabels(const Labels& a, const Labels& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a) {
    const auto found = b.find(key);
    if (found == b.end() || found->second != value) return false;
  }
  return true;
}

// What endpoints show of a pod.
bool SameToEndpoints(const core::Pod& a, const core::Pod& b) {
  if (IsPodReady(a) != IsPodReady(b) || IsPodTerminal(a) != IsPodTerminal(b) ||
      IsBeingDeleted(a.metadata()) != IsBeingDeleted(b.metadata()) || a.spec().nodename() != b.spec().nodename() ||
      a.spec().hostname() != b.spec().hostname() || a.status().podip() != b.status().podip() ||
      a.status().podips_size() != b.status().podips_size()) {
    return false;
  }
  for (int i = 0; i < a.status().podips_size(); ++i) {
    if (a.status().podips(i).ip() != b.status().podips(i).ip()) return false;
  }
  return SameLabels(a.metadata().labels(), b.metadata().labels());
}

}  // namespace

void WatchServices(Informers& informers, std::function<void(const std::string& key)> enqueue) {
  const auto services = informers.services;
  const auto of_pod = [services, enqueue](const core::Pod& pod) {
    for (const auto& service : services->InNamespace(pod.metadata().namespace_())) {
      if (Selects(*service, pod.metadata().labels())) enqueue(client::KeyOf(*service));
    }
  };
  services->OnChange([enqueue](const core::Service& service) { enqueue(client::KeyOf(service)); });
  informers.pods->AddHandler({
      .added = [of_pod](const PodPtr& pod) { of_pod(*pod); },
      .updated =
          [of_pod](const PodPtr& before, const PodPtr& pod) {
            if (SameToEndpoints(*before, *pod)) return;
            of_pod(*pod);
            if (!SameLabels(before->metadata().labels(), pod->metadata().labels())) of_pod(*before);
          },
      .deleted = [of_pod](const PodPtr& pod) { of_pod(*pod); },
  });
}

std::vector<PodPtr> PodsOfService(const Informers& informers, const core::Service& service) {
  std::vector<PodPtr> out;
  for (const PodPtr& pod : informers.pods->InNamespace(service.metadata().namespace_())) {
    if (Selects(service, pod->metadata().labels())) out.push_back(pod);
  }
  return out;
}

}  // namespace skiff::controlplane
