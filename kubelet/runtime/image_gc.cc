#include "kubelet/runtime/image_gc.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/flags.h"
#include "base/log.h"
#include "kubelet/volume/payload.h"

namespace skiff::kubelet {
namespace {

std::string FormatSize(int64_t bytes) {
  const double size = static_cast<double>(bytes);
  constexpr double kKi = 1024;
  if (size < kKi) return absl::StrCat(bytes, " B");
  if (size < kKi * kKi) return absl::StrFormat("%.1f KiB", size / kKi);
  if (size < kKi * kKi * kKi) return absl::StrFormat("%.1f MiB", size / kKi / kKi);
  if (size < kKi * kKi * kKi * kKi) return absl::StrFormat("%.1f GiB", size / kKi / kKi / kKi);
  return absl::StrFormat("%.1f TiB", size / kKi / kKi / kKi / kKi);
}

}  // namespace

Task<void> ImageGc::Run() {
  began_ = clock_.Steady();
  const bool disabled = options_.high_percent == 100 && options_.max_age.count() == 0;
  if (disabled) VLOG(2, "ImageGCHighThresholdPercent is set 100 and ImageMaximumGCAge is 0, Disable image GC");
  bool failed = false;
  while (!co_await IsCancelled()) {
    if (disabled) {
      if (auto used = co_await Detect(); !used.ok()) LOG_WARNING("Failed to monitor images", {"err", used.status()});
    } else if (Status s = co_await Collect(); absl::IsCancelled(s)) {
      break;
    } else if (!s.ok()) {
      // Reported when it happens twice in a row.
      if (failed) {
        LOG_ERROR(s, "Image garbage collection failed multiple times in a row");
        hooks_.node_event("Warning", "ImageGCFailed", std::string(s.message()));
      } else {
        LOG_ERROR(s, "Image garbage collection failed once. Stats initialization may not have completed yet");
      }
      failed = true;
    } else {
      failed = false;
    }
    if (absl::IsCancelled(co_await clock_.Sleep(options_.period))) break;
  }
}

// The image that sandboxes are made of. Runtimes pin it; those that do not (containerd before 1.7) would need to pull
// it again for the next pod.
Task<std::string> ImageGc::SandboxImage() {
  cri::v1::StatusRequest verbose;
  verbose.set_verbose(true);
  auto answer = co_await runtime_.Status(std::move(verbose), {.timeout = std::chrono::seconds(10)});
  if (!answer.ok()) co_return "";
  auto config = answer->info().find("config");
  if (config == answer->info().end()) co_return "";
  const auto document = nlohmann::json::parse(config->second, nullptr, false);
  if (!document.is_object()) co_return "";
  auto name = document.find("sandboxImage");
  if (name == document.end() || !name->is_string()) co_return "";
  cri::v1::ImageStatusRequest request;
  request.mutable_image()->set_image(name->get<std::string>());
  auto image = co_await runtime_.ImageStatus(std::move(request));
  co_return image.ok() ? image->image().id() : "";
}

Task<StatusOr<std::set<std::string>>> ImageGc::Detect() {
  listed_ = clock_.Now();
  CO_ASSIGN_OR_RETURN(const auto images, co_await runtime_.ListImages({}));
  CO_ASSIGN_OR_RETURN(const auto containers, co_await runtime_.ListContainers({}));
  std::set<std::string> used;
  for (const auto& c : containers.containers()) {
    used.insert(c.image_id().empty() ? c.image_ref() : c.image_id());
    cri::v1::ContainerStatusRequest request;
    request.set_container_id(c.id());
    const auto answer = co_await runtime_.ContainerStatus(std::move(request));
    if (absl::IsNotFound(answer.status())) continue;  // removed since the list was made
    CO_RETURN_IF_ERROR(answer.status(), "get container status");
    for (const auto& mount : answer->status().mounts()) {
      if (mount.has_image()) used.insert(mount.image().image());
    }
  }
  const std::string sandbox_image = co_await SandboxImage();
  const SteadyTime now = clock_.Steady();
  std::set<std::string> present;
  names_.clear();
  for (const auto& image : images.images()) {
    present.insert(image.id());
    names_.insert(image.id());
    names_.insert(image.repo_tags().begin(), image.repo_tags().end());
    names_.insert(image.repo_digests().begin(), image.repo_digests().end());
    auto [it, added] = records_.try_emplace(image.id());
    if (added) it->second.first_seen = now;
    if (used.contains(image.id())) it->second.last_used = now;
    it->second.size = static_cast<int64_t>(image.size());
    it->second.pinned = image.pinned() || image.id() == sandbox_image;
  }
  std::erase_if(records_, [&](const auto& entry) { return !present.contains(entry.first); });
  co_return used;
}

Task<StatusOr<std::vector<ImageGc::Candidate>>> ImageGc::Candidates() {
  CO_ASSIGN_OR_RETURN(const auto used, co_await Detect());
  std::vector<Candidate> out;
  for (const auto& [id, record] : records_) {
    if (!used.contains(id) && !record.pinned) out.push_back({id, record});
  }
  std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    if (a.record.last_used != b.record.last_used) return a.record.last_used < b.record.last_used;
    return a.record.first_seen < b.record.first_seen;
  });
  co_return out;
}

Task<Status> ImageGc::Remove(const Candidate& image, std::string_view reason) {
  LOG_INFO("Removing image to free bytes", {"imageID", image.id}, {"size", image.record.size});
  const WallTime began = clock_.Now();
  cri::v1::RemoveImageRequest request;
  request.mutable_image()->set_image(image.id);
  auto removed = co_await runtime_.RemoveImage(std::move(request));
  if (!removed.ok()) co_return removed.status();
  records_.erase(image.id);
  if (hooks_.count) hooks_.count(reason);
  if (hooks_.removed) hooks_.removed(image.id, began);
  co_return absl::OkStatus();
}

// Of a runtime that names no image at all nothing is believed: an image without a record is free for every pod.
void ImageGc::TellNames() const {
  if (hooks_.freed && !names_.empty()) hooks_.freed(names_, listed_);
}

Task<ImageGc::Freed> ImageGc::FreeSpace(std::vector<Candidate> images, int64_t bytes) {
  Freed freed;
  std::vector<std::string> errors;
  const SteadyTime now = clock_.Steady();
  for (const Candidate& image : images) {
    // An image that was just pulled is about to be used.
    if (now - image.record.first_seen < options_.min_age) continue;
    if (Status s = co_await Remove(image, "space"); !s.ok()) {
      if (absl::IsCancelled(s)) {
        freed.status = s;
        co_return freed;
      }
      errors.emplace_back(s.message());
      continue;
    }
    freed.bytes += image.record.size;
    if (freed.bytes >= bytes) break;
  }
  if (!errors.empty()) {
    freed.status = Internal("wanted to free ", bytes, " bytes, but freed ", freed.bytes,
                            " bytes space with errors in image deletion: ", Aggregate(errors).message());
  }
  co_return freed;
}

Task<Status> ImageGc::Collect() {
  CO_ASSIGN_OR_RETURN(std::vector<Candidate> images, co_await Candidates());
  const SteadyTime now = clock_.Steady();
  // Not before a whole maximum age has passed since the start: what was used before is not known.
  if (options_.max_age.count() > 0 && now - began_ > options_.max_age) {
    std::vector<Candidate> left;
    std::vector<std::string> errors;
    for (Candidate& image : images) {
      if (image.record.last_used && now - *image.record.last_used <= options_.max_age) {
        left.push_back(std::move(image));
        continue;
      }
      if (Status s = co_await Remove(image, "age"); !s.ok()) {
        if (absl::IsCancelled(s)) co_return s;
        errors.emplace_back(s.message());
      }
    }
    if (!errors.empty()) {
      co_return Internal("wanted to free images older than ", FormatDuration(options_.max_age),
                         ", encountered errors in image deletion: ", Aggregate(errors).message());
    }
    images = std::move(left);
  }
  CO_ASSIGN_OR_RETURN(const ImageGcHooks::Disk disk, co_await hooks_.image_fs());
  if (disk.capacity <= 0) {
    constexpr char kNoCapacity[] = "invalid capacity 0 on image filesystem";
    hooks_.node_event("Warning", "InvalidDiskCapacity", kNoCapacity);
    co_return Internal(kNoCapacity);
  }
  const int64_t available = std::min(disk.available, disk.capacity);
  const int64_t used = 100 - static_cast<int64_t>(static_cast<__int128>(available) * 100 / disk.capacity);
  if (used < options_.high_percent) co_return absl::OkStatus();
  const auto wanted = static_cast<int64_t>(static_cast<__int128>(disk.capacity) * (100 - options_.low_percent) / 100);
  const int64_t missing = wanted - available;
  LOG_INFO("Disk usage on image filesystem is over the high threshold, trying to free bytes down to the low threshold",
           {"usage", used}, {"highThreshold", options_.high_percent}, {"amountToFree", missing},
           {"lowThreshold", options_.low_percent});
  const Freed freed = co_await FreeSpace(std::move(images), missing);
  if (!freed.status.ok()) co_return freed.status;
  TellNames();
  if (freed.bytes >= missing) co_return absl::OkStatus();
  std::string message = absl::StrCat(
      "Insufficient free disk space on the node's image filesystem (", used, "% of ", FormatSize(disk.capacity),
      " used). Failed to free sufficient space by deleting unused images (freed ", freed.bytes,
      " bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or other data.");
  hooks_.node_event("Warning", "FreeDiskSpaceFailed", message);
  co_return absl::ResourceExhaustedError(message);
}

Task<Status> ImageGc::RemoveUnused() {
  LOG_INFO("Attempting to delete unused images");
  CO_ASSIGN_OR_RETURN(std::vector<Candidate> images, co_await Candidates());
  const Freed freed = co_await FreeSpace(std::move(images), INT64_MAX);
  if (freed.status.ok()) TellNames();
  co_return freed.status;
}

}  // namespace skiff::kubelet
