// What the sources of pods say, made uniform: annotations that tell a pod's source and when it was first seen, one pod
// a name, and, for manifests, the difference between one complete set and the next. Pods of the API server come through
// their informer and are only marked here. Loop only. Upstream: pkg/kubelet/config.
#ifndef SKIFF_KUBELET_POD_POD_CONFIG_H_
#define SKIFF_KUBELET_POD_POD_CONFIG_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/events.h"
#include "kubelet/pod/types.h"

namespace skiff::kubelet {

class PodConfig {
 public:
  struct Hooks {
    std::function<void(PodPtr pod)> update;  // new or changed
    std::function<void(const std::string& uid)> remove;
    std::function<void()> changed;  // after all updates of one set
  };
  PodConfig(Clock& clock, client::EventSink& events, Hooks hooks)
      : clock_(clock), events_(events), hooks_(std::move(hooks)) {}

  // ---- manifests: source "file" or "http" ----

  // Announces a source: until its first Set, nothing may be taken for left over.
  void Expect(const std::string& source) { expected_.insert(source); }
  bool SeenAll() const;
  // The complete set of a source.
  void Set(const std::string& source, std::vector<Pod> pods);
  std::vector<PodPtr> StaticPods() const;
  PodPtr StaticByName(const std::string& ns, const std::string& name) const;  // null: none

  // ---- the API server ----

  // Marks a pod as the API's, whatever it says of itself: only manifests make static pods. Mirror pods stay as they
  // are.
  void MarkApi(Pod* pod);
  // Takes the marks away again, before the pod is sent back.
  void Unmark(Pod* pod) const;
  void ForgetApi(const std::string& uid);

 private:
  struct ApiMarks {
    std::string seen;
    std::map<std::string, std::string> own;  // annotations of these names that the API has
  };
  Clock& clock_;
  client::EventSink& events_;
  Hooks hooks_;
  std::set<std::string> expected_;
  std::map<std::string, std::map<std::string, PodPtr>> static_;  // source -> uid -> pod
  std::map<std::string, ApiMarks> api_;                          // by uid
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_POD_CONFIG_H_
