// Limit ranges: defaults for requests and limits of containers, and bounds on them.
#include <map>

#include "api/quantity.h"
#include "controlplane/apiserver/admission.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
using Resources = google::protobuf::Map<std::string, k8s::io::apimachinery::pkg::api::resource::Quantity>;

// Names that were set, sorted.
std::vector<std::string> MergeMissing(const Resources& from, Resources* to) {
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
  if (names.empty()) return;
  std::string joined;
  for (const std::string& name : names) absl::StrAppend(&joined, joined.empty() ? "" : ", ", name);
  notes->push_back(absl::StrCat(joined, " ", what, " for ", container_kind, " ", container));
}

void ApplyDefaults(const core::LimitRangeItem& item, core::PodSpec* spec, std::vector<std::string>* notes) {
  auto apply = [&](core::Container& container, const char* kind) {
    auto* resources = container.mutable_resources();
    std::vector<std::string> limits = MergeMissing(item.default_(), resources->mutable_limits());
    std::vector<std::string> requests = MergeMissing(item.defaultrequest(), resources->mutable_requests());
    AddNote("request", kind, container.name(), requests, notes);
    AddNote("limit", kind, container.name(), limits, notes);
  };
  for (core::Container& container : *spec->mutable_containers()) apply(container, "container");
  for (core::Container& container : *spec->mutable_initcontainers()) apply(container, "init container");
}

std::string CheckBounds(const std::string& type, const core::LimitRangeItem& item, const Resources& requests,
                        const Resources& limits) {
  auto find = [](const Resources& map, const std::string& name) -> std::optional<api::Quantity> {
    auto it = map.find(name);
    if (it == map.end()) return std::nullopt;
    return api::Quantity::Of(it->second);
  };
  const std::map<std::string, k8s::io::apimachinery::pkg::api::resource::Quantity> minima(item.min().begin(),
                                                                                          item.min().end()),
      maxima(item.max().begin(), item.max().end());
  for (const auto& [name, proto] : minima) {
    const api::Quantity bound = api::Quantity::Of(proto);
    const auto request = find(requests, name), limit = find(limits, name);
    if (!request)
      return absl::StrCat("minimum ", name, " usage per ", type, " is ", bound.ToString(),
                          ".  No request is specified");
    if (*request < bound)
      return absl::StrCat("minimum ", name, " usage per ", type, " is ", bound.ToString(), ", but request is ",
                          request->ToString());
    if (limit && *limit < bound)
      return absl::StrCat("minimum ", name, " usage per ", type, " is ", bound.ToString(), ", but limit is ",
                          limit->ToString());
  }
  for (const auto& [name, proto] : maxima) {
    const api::Quantity bound = api::Quantity::Of(proto);
    const auto request = find(requests, name), limit = find(limits, name);
    if (!limit)
      return absl::StrCat("maximum ", name, " usage per ", type, " is ", bound.ToString(), ".  No limit is specified");
    if (*limit > bound)
      return absl::StrCat("maximum ", name, " usage per ", type, " is ", bound.ToString(), ", but limit is ",
                          limit->ToString());
    if (request && *request > bound)
      return absl::StrCat("maximum ", name, " usage per ", type, " is ", bound.ToString(), ", but request is ",
                          request->ToString());
  }
  return "";
}

}  // namespace

Status LimitRanger(const Admission& admission, const Attributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.object || !attributes.subresource.empty())
    return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (!pod) return absl::OkStatus();
  const Kind& kind = admission.kinds().Core("limitranges");
  std::vector<std::string> notes, refusals;
  std::vector<core::LimitRangeItem> items;
  admission.store().PeekPrefix(kind.Prefix(attributes.ns), [&](const std::string& key, const ValuePtr& value) {
    auto object = kind.Decode(key, *value);
    if (object.ok())
      for (const core::LimitRangeItem& item : object->As<core::LimitRange>()->spec().limits()) items.push_back(item);
    return true;
  });
  for (const core::LimitRangeItem& item : items)
    if (item.type() == "Container") ApplyDefaults(item, pod->mutable_spec(), &notes);
  if (!notes.empty()) {
    std::string joined;
    for (const std::string& note : notes) absl::StrAppend(&joined, joined.empty() ? "" : "; ", note);
    (*pod->mutable_metadata()->mutable_annotations())["kubernetes.io/limit-ranger"] =
        "LimitRanger plugin set: " + joined;
  }
  for (const core::LimitRangeItem& item : items) {
    if (item.type() != "Container") continue;
    for (const core::Container& container : pod->spec().containers()) {
      const std::string refusal =
          CheckBounds("Container", item, container.resources().requests(), container.resources().limits());
      if (!refusal.empty()) refusals.push_back(refusal);
    }
  }
  if (refusals.empty()) return absl::OkStatus();
  std::string joined;
  for (const std::string& refusal : refusals) absl::StrAppend(&joined, joined.empty() ? "" : ", ", refusal);
  if (refusals.size() > 1) joined = "[" + joined + "]";
  return api::ForbiddenError(attributes.kind.About(attributes.name), joined);
}

}  // namespace skiff::controlplane
