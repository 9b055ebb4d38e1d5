// Limit ranges: defaults for requests and limits of containers; bounds on containers, whole pods and claims.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "api/quantity.h"
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/admission/pod_resources.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

// Names that were set, sorted.
std::vector<std::string> MergeMissing(const ResourceMap& from, ResourceMap* to) {
  std::vector<std::string> set;
  for (const auto& [name, quantity] : from)
    if (!to->contains(name)) {
      (*to)[name] = quantity;
      set.push_back(name);
    }
  std::sort(set.begin(), set.end());
  return set;
}

void AddNote(const char* what, const char* container_kind, const std::string& container,
             const std::vector<std::string>& names, std::vector<std::string>* notes) {
  if (!names.empty())
    notes->push_back(absl::StrCat(absl::StrJoin(names, ", "), " ", what, " for ", container_kind, " ", container));
}

void ApplyDefaults(const core::LimitRange& range, core::Pod* pod) {
  ResourceMap default_limits, default_requests;
  for (const core::LimitRangeItem& item : range.spec().limits()) {
    if (item.type() != "Container") continue;
    for (const auto& [name, quantity] : item.default_()) default_limits[name] = quantity;
    for (const auto& [name, quantity] : item.defaultrequest()) default_requests[name] = quantity;
  }
  std::vector<std::string> notes;
  const auto apply = [&](core::Container& container, const char* kind) {
    if (default_limits.empty() && default_requests.empty()) return;
    auto* resources = container.mutable_resources();
    const std::vector<std::string> limits = MergeMissing(default_limits, resources->mutable_limits());
    const std::vector<std::string> requests = MergeMissing(default_requests, resources->mutable_requests());
    AddNote("request", kind, container.name(), requests, &notes);
    AddNote("limit", kind, container.name(), limits, &notes);
  };
  for (core::Container& container : *pod->mutable_spec()->mutable_containers()) apply(container, "container");
  for (core::Container& container : *pod->mutable_spec()->mutable_initcontainers()) apply(container, "init container");
  if (!notes.empty())
    (*pod->mutable_metadata()->mutable_annotations())["kubernetes.io/limit-ranger"] =
        "LimitRanger plugin set: " + absl::StrJoin(notes, "; ");
}

// The bounds of one item on one container, pod or claim, and what it breaks of them.
class Bounds {
 public:
  Bounds(const core::LimitRangeItem& item, ResourceSums requests, ResourceSums limits, std::vector<std::string>* broken)
      : item_(item), requests_(std::move(requests)), limits_(std::move(limits)), broken_(*broken) {}

  void Minimum() {
    for (const auto& [name, bound] : SumsOf(item_.min())) {
      const api::Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      const std::string start = Start("minimum", name, bound);
      if (!request)
        broken_.push_back(start + ".  No request is specified");
      else if (*request < bound)
        broken_.push_back(start + ", but request is " + request->ToString());
      else if (limit && *limit < bound)
        broken_.push_back(start + ", but limit is " + limit->ToString());
    }
  }
  void Maximum() {
    for (const auto& [name, bound] : SumsOf(item_.max())) {
      const api::Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      const std::string start = Start("maximum", name, bound);
      if (!limit)
        broken_.push_back(start + ".  No limit is specified");
      else if (*limit > bound)
        broken_.push_back(start + ", but limit is " + limit->ToString());
      else if (request && *request > bound)
        broken_.push_back(start + ", but request is " + request->ToString());
    }
  }
  // For what has no limits: claims.
  void MaximumOfRequests() {
    for (const auto& [name, bound] : SumsOf(item_.max())) {
      const api::Quantity* request = Find(requests_, name);
      const std::string start = Start("maximum", name, bound);
      if (!request)
        broken_.push_back(start + ".  No request is specified");
      else if (*request > bound)
        broken_.push_back(start + ", but request is " + request->ToString());
    }
  }
  void Ratio() {
    for (const auto& [name, bound] : SumsOf(item_.maxlimitrequestratio())) {
      const api::Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      const std::string start =
          absl::StrCat(name, " max limit to request ratio per ", item_.type(), " is ", bound.ToString());
      if (!request || request->IsZero()) {
        broken_.push_back(start + ", but no request is specified or request is 0");
      } else if (!limit || limit->IsZero()) {
        broken_.push_back(start + ", but no limit is specified or limit is 0");
      } else if (const double ratio = limit->AsDouble() / request->AsDouble(); ratio > bound.AsDouble()) {
        broken_.push_back(absl::StrFormat("%s, but provided ratio is %f", start, ratio));
      }
    }
  }

 private:
  static const api::Quantity* Find(const ResourceSums& sums, const std::string& name) {
    const auto found = sums.find(name);
    return found == sums.end() ? nullptr : &found->second;
  }
  std::string Start(const char* which, const std::string& name, const api::Quantity& bound) const {
    return absl::StrCat(which, " ", name, " usage per ", item_.type(), " is ", bound.ToString());
  }

  const core::LimitRangeItem& item_;
  const ResourceSums requests_, limits_;
  std::vector<std::string>& broken_;
};

std::vector<std::string> BrokenBy(const core::Pod& pod, const core::LimitRange& range) {
  std::vector<std::string> broken;
  for (const core::LimitRangeItem& item : range.spec().limits()) {
    const auto check = [&](ResourceSums requests, ResourceSums limits) {
      Bounds bounds(item, std::move(requests), std::move(limits), &broken);
      bounds.Minimum();
      bounds.Maximum();
      bounds.Ratio();
    };
    if (item.type() == "Container") {
      for (const core::Container& container : pod.spec().containers())
        check(SumsOf(container.resources().requests()), SumsOf(container.resources().limits()));
      for (const core::Container& container : pod.spec().initcontainers())
        check(SumsOf(container.resources().requests()), SumsOf(container.resources().limits()));
    } else if (item.type() == "Pod") {
      check(PodRequests(pod.spec()), PodLimits(pod.spec()));
    }
  }
  return broken;
}

std::vector<std::string> BrokenBy(const core::PersistentVolumeClaim& claim, const core::LimitRange& range) {
  std::vector<std::string> broken;
  for (const core::LimitRangeItem& item : range.spec().limits()) {
    if (item.type() != "PersistentVolumeClaim") continue;
    Bounds bounds(item, SumsOf(claim.spec().resources().requests()), {}, &broken);
    bounds.Minimum();
    bounds.MaximumOfRequests();
  }
  return broken;
}

// Pods when they are made and resized, claims whenever they are written; nothing that is on its way out.
bool Bounded(const Attributes& attributes) {
  if (!attributes.object || (attributes.old && attributes.old->meta().has_deletiontimestamp())) return false;
  const bool create = attributes.operation == Operation::kCreate;
  if (attributes.object->As<core::Pod>())
    return create ? attributes.subresource.empty() : attributes.subresource == "resize";
  return attributes.object->As<core::PersistentVolumeClaim>() && attributes.subresource.empty();
}

std::vector<core::LimitRange> RangesOf(const Admission& admission, std::string_view ns) {
  std::vector<core::LimitRange> out;
  const Kind& kind = admission.kinds().Core("limitranges");
  admission.store().PeekPrefix(kind.Prefix(ns), [&](const std::string& key, const ValuePtr& value) {
    auto object = kind.Decode(key, *value);
    if (object.ok()) out.push_back(*object->As<core::LimitRange>());
    return true;
  });
  return out;
}

// As upstream joins errors: each once.
std::string Joined(const std::vector<std::string>& all) {
  std::vector<std::string> once;
  for (const std::string& one : all)
    if (std::find(once.begin(), once.end(), one) == once.end()) once.push_back(one);
  return once.size() == 1 ? once[0] : absl::StrCat("[", absl::StrJoin(once, ", "), "]");
}

}  // namespace

Status LimitRangerDefaults(const Admission& admission, const Attributes& attributes) {
  if (!Bounded(attributes)) return absl::OkStatus();
  if (core::Pod* pod = attributes.object->As<core::Pod>())
    for (const core::LimitRange& range : RangesOf(admission, attributes.ns)) ApplyDefaults(range, pod);
  return absl::OkStatus();
}

Status LimitRanger(const Admission& admission, const Attributes& attributes) {
  if (!Bounded(attributes)) return absl::OkStatus();
  const core::Pod* pod = attributes.object->As<core::Pod>();
  for (const core::LimitRange& range : RangesOf(admission, attributes.ns)) {
    const std::vector<std::string> broken =
        pod ? BrokenBy(*pod, range) : BrokenBy(*attributes.object->As<core::PersistentVolumeClaim>(), range);
    if (!broken.empty()) return api::ForbiddenError(attributes.kind.About(attributes.name), Joined(broken));
  }
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
