// Removes images that nobody uses: old ones, and when the image file system fills up, the longest unused first until it
// is at the low threshold. Images in use, pinned ones and the sandboxes' stay. Loop only. Upstream:
// kubernetes.io/docs/concepts/architecture/garbage-collection.
#ifndef SKIFF_KUBELET_RUNTIME_IMAGE_GC_H_
#define SKIFF_KUBELET_RUNTIME_IMAGE_GC_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cri/runtime.h"

namespace skiff::kubelet {

struct ImageGcOptions {
  int64_t high_percent = 85, low_percent = 80;                 // of the image file system in use
  std::chrono::nanoseconds min_age = std::chrono::minutes(2);  // since first seen
  std::chrono::nanoseconds max_age{0};                         // since last used; 0: any
  std::chrono::nanoseconds period = std::chrono::minutes(5);
};

struct ImageGcHooks {
  struct Disk {
    int64_t capacity = 0, available = 0;  // bytes
  };
  std::function<Task<StatusOr<Disk>>()> image_fs;
  std::function<void(std::string_view type, std::string_view reason, std::string message)> node_event;
  std::function<void(std::string_view reason)> count;  // a removed image: "age" or "space"
  std::function<void(const std::string& id, WallTime began)> removed;
  // After a pass that frees space: the names (ids, tags, digests) of all images that were there when it began.
  std::function<void(const std::set<std::string>& names, WallTime began)> freed;
};

class ImageGc {
 public:
  ImageGc(cri::Runtime& runtime, Clock& clock, ImageGcOptions options, ImageGcHooks hooks)
      : runtime_(runtime), clock_(clock), options_(std::move(options)), hooks_(std::move(hooks)) {}

  // One pass every period until cancelled. With a high threshold of 100 and no maximum age it only keeps the record of
  // when images were used, which RemoveUnused goes by.
  Task<void> Run();
  // Errors in upstream's words.
  Task<Status> Collect();
  // Everything that is unused and old enough, whatever the disk's state.
  Task<Status> RemoveUnused();

 private:
  struct Record {
    SteadyTime first_seen{};
    std::optional<SteadyTime> last_used;
    int64_t size = 0;
    bool pinned = false;
  };
  struct Candidate {
    std::string id;
    Record record;
  };
  struct Freed {
    Status status;
    int64_t bytes = 0;
  };
  Task<StatusOr<std::set<std::string>>> Detect();  // ids in use
  Task<StatusOr<std::vector<Candidate>>> Candidates();
  Task<std::string> SandboxImage();
  Task<Status> Remove(const Candidate& image, std::string_view reason);
  void TellNames() const;
  Task<Freed> FreeSpace(std::vector<Candidate> images, int64_t bytes);

  cri::Runtime& runtime_;
  Clock& clock_;
  ImageGcOptions options_;
  ImageGcHooks hooks_;
  std::map<std::string, Record> records_;  // by image id
  SteadyTime began_{};
  std::set<std::string> names_;  // of all images, as last listed
  WallTime listed_{};
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_IMAGE_GC_H_
