// Where static pods come from: a directory or file, looked at when it changes and at an interval, and a URL, asked at
// an interval. Both hand over all their pods each time. Loop only.
#ifndef SKIFF_KUBELET_POD_MANIFEST_SOURCES_H_
#define SKIFF_KUBELET_POD_MANIFEST_SOURCES_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/clock.h"
#include "kubelet/pod/static_pods.h"

namespace skiff::kubelet {

// The complete set that a source has now.
using ManifestUpdate = std::function<void(std::vector<Pod> pods)>;

// A file, or all regular files of a directory but those whose names start with a dot. Bad files of a directory are
// logged and left out; one that becomes bad keeps its pod until the next look at the interval, as a file that is being
// written may be read half. A single file that is bad changes nothing. Of two files of one pod's name the last counts.
// A path that is not there has no pods.
class ManifestDirectory {
 public:
  ManifestDirectory(std::string path, std::string node_name, std::chrono::nanoseconds interval, Clock& clock,
                    ManifestUpdate update);
  // Looks once; `all` also drops the pods of files that are bad.
  void Read(bool all);
  Task<void> Run();  // until cancelled

 private:
  void Removed(const std::string& file);
  void HandOver();
  bool ReadOne(const std::string& file, bool all, std::map<std::string, Pod>* found);

  std::string path_, node_name_;
  std::chrono::nanoseconds interval_;
  Clock& clock_;
  ManifestUpdate update_;
  std::map<std::string, Pod> pods_;  // by file, as last read
};

struct ManifestUrlOptions {
  std::string url, node_name;  // http or https, the latter verified by the system's certificates
  std::vector<std::pair<std::string, std::string>> headers;
  std::chrono::nanoseconds interval = std::chrono::seconds(20);
};

// A Pod or a PodList. An answer that is no 200, or that cannot be used, changes nothing; an empty one ends all pods of
// this source. Redirects are not followed.
class ManifestUrl {
 public:
  ManifestUrl(asio::any_io_executor executor, ManifestUrlOptions options, Clock& clock, ManifestUpdate update);
  Task<Status> Read();
  Task<void> Run();

 private:
  asio::any_io_executor executor_;
  ManifestUrlOptions options_;
  Clock& clock_;
  ManifestUpdate update_;
  std::string last_;
  bool told_ = false;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_POD_MANIFEST_SOURCES_H_
