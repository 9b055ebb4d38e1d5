#include "controlplane/controllers/pods.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/go_dump.h"
#include "api/time.h"
#include "client/object.h"

namespace skiff::controlplane {
namespace {

int PhaseOrder(const core::Pod& pod) {
  const std::string& phase = pod.status().phase();
  return phase == "Pending" ? 0 : phase == "Unknown" ? 1 : phase == "Running" ? 2 : 0;
}

int64_t DeletionCost(const core::Pod& pod) {
  const auto found = pod.metadata().annotations().find("controller.kubernetes.io/pod-deletion-cost");
  int64_t cost = 0;
  if (found == pod.metadata().annotations().end() || !absl::SimpleAtoi(found->second, &cost)) return 0;
  return cost;
}

int32_t MostRestarts(const core::Pod& pod) {
  int32_t most = 0;
  for (const auto& status : pod.status().containerstatuses()) most = std::max(most, status.restartcount());
  return most;
}

// Ages are compared by order of magnitude (base 2), so that scaling down does not always hit the youngest.
int LogAge(const meta::Time& since, WallTime now) {
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - api::FromTime(since)).count();
  return age <= 0 ? -1 : static_cast<int>(std::log2(static_cast<double>(age)));
}

}  // namespace

const core::PodCondition* FindPodCondition(const core::Pod& pod, std::string_view type) {
  for (const auto& condition : pod.status().conditions()) {
    if (condition.type() == type) return &condition;
  }
  return nullptr;
}

bool IsPodReady(const core::Pod& pod) {
  const auto* condition = FindPodCondition(pod, "Ready");
  return condition != nullptr && condition->status() == "True";
}

bool IsPodAvailable(const core::Pod& pod, int32_t min_ready_seconds, WallTime now) {
  if (!IsPodReady(pod)) return false;
  if (min_ready_seconds == 0) return true;
  const auto& since = FindPodCondition(pod, "Ready")->lasttransitiontime();
  return !api::IsZero(since) && api::FromTime(since) + std::chrono::seconds(min_ready_seconds) <= now;
}

bool IsPodTerminal(const core::Pod& pod) {
  return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
}

bool IsBeingDeleted(const meta::ObjectMeta& metadata) {
  return metadata.has_deletiontimestamp() && !api::IsZero(metadata.deletiontimestamp());
}

bool IsPodActive(const core::Pod& pod) { return !IsPodTerminal(pod) && !IsBeingDeleted(pod.metadata()); }

std::chrono::seconds NextAvailability(const std::vector<PodPtr>& pods, int32_t min_ready_seconds, WallTime now) {
  std::chrono::seconds next{0};
  for (const PodPtr& pod : pods) {
    if (!IsPodReady(*pod) || IsPodAvailable(*pod, min_ready_seconds, now)) continue;
    const WallTime at =
        api::FromTime(FindPodCondition(*pod, "Ready")->lasttransitiontime()) + std::chrono::seconds(min_ready_seconds);
    const auto wait = std::max(std::chrono::ceil<std::chrono::seconds>(at - now), std::chrono::seconds(1));
    if (next.count() == 0 || wait < next) next = wait;
  }
  return next;
}

void SortForDeletion(std::vector<PodPtr>* pods, const std::vector<PodPtr>& related, WallTime now) {
  std::map<std::string, int> on_node;
  for (const PodPtr& pod : related) {
    if (IsPodActive(*pod) && IsPodReady(*pod)) ++on_node[pod->spec().nodename()];
  }
  const auto rank = [&](const core::Pod& pod) {
    const auto found = on_node.find(pod.spec().nodename());
    return found == on_node.end() ? 0 : found->second;
  };
  std::stable_sort(pods->begin(), pods->end(), [&](const PodPtr& pa, const PodPtr& pb) {
    const core::Pod& a = *pa;
    const core::Pod& b = *pb;
    const bool a_assigned = !a.spec().nodename().empty(), b_assigned = !b.spec().nodename().empty();
    if (a_assigned != b_assigned) return !a_assigned;
    if (PhaseOrder(a) != PhaseOrder(b)) return PhaseOrder(a) < PhaseOrder(b);
    const bool a_ready = IsPodReady(a), b_ready = IsPodReady(b);
    if (a_ready != b_ready) return !a_ready;
    if (DeletionCost(a) != DeletionCost(b)) return DeletionCost(a) < DeletionCost(b);
    if (rank(a) != rank(b)) return rank(a) > rank(b);
    if (a_ready && b_ready) {
      const auto& at = FindPodCondition(a, "Ready")->lasttransitiontime();
      const auto& bt = FindPodCondition(b, "Ready")->lasttransitiontime();
      if (at.seconds() != bt.seconds()) {
        const int al = LogAge(at, now), bl = LogAge(bt, now);
        return al == bl ? a.metadata().uid() < b.metadata().uid() : al < bl;
      }
    }
    if (MostRestarts(a) != MostRestarts(b)) return MostRestarts(a) > MostRestarts(b);
    if (a.metadata().creationtimestamp().seconds() != b.metadata().creationtimestamp().seconds()) {
      const int al = LogAge(a.metadata().creationtimestamp(), now), bl = LogAge(b.metadata().creationtimestamp(), now);
      return al == bl ? a.metadata().uid() < b.metadata().uid() : al < bl;
    }
    return false;
  });
}

core::Pod PodFromTemplate(const core::PodTemplateSpec& template_spec, const google::protobuf::Message& owner) {
  const auto& owner_meta = client::MetadataOf(owner);
  core::Pod pod;
  auto* metadata = pod.mutable_metadata();
  metadata->set_namespace_(owner_meta.namespace_());
  metadata->set_generatename(absl::StrCat(owner_meta.name(), "-"));
  *metadata->mutable_labels() = template_spec.metadata().labels();
  *metadata->mutable_annotations() = template_spec.metadata().annotations();
  *metadata->mutable_finalizers() = template_spec.metadata().finalizers();
  *metadata->add_ownerreferences() = client::ControllerReference(owner);
  *pod.mutable_spec() = template_spec.spec();
  return pod;
}

std::string TemplateHash(const core::PodTemplateSpec& template_spec, int32_t collision_count, bool has_collisions) {
  std::string bytes = api::GoDump(template_spec);
  if (has_collisions) {
    // Eight bytes, of which upstream fills four.
    for (int i = 0; i < 8; ++i) {
      bytes.push_back(i < 4 ? static_cast<char>(static_cast<uint32_t>(collision_count) >> (8 * i)) : '\0');
    }
  }
  uint32_t hash = 2166136261u;
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  // Upstream's alphabet: no vowels, so that no words come out.
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (const char c : absl::StrCat(hash)) out.push_back(kAlphabet[static_cast<uint8_t>(c) % kAlphabet.size()]);
  return out;
}

Task<Status> CreatePod(std::shared_ptr<client::Rest> rest, client::EventSink* events, core::Pod pod,
                       client::ObjectReference owner) {
  if (pod.metadata().labels().empty()) co_return InvalidArgument("unable to create pods, no labels");
  auto created = co_await rest->Create(std::move(pod));
  if (created.ok()) {
    events->Record(owner, client::kNormal, "SuccessfulCreate",
                   absl::StrCat("Created pod: ", created->metadata().name()));
    co_return absl::OkStatus();
  }
  if (!client::IsNamespaceTerminating(created.status()) && !absl::IsCancelled(created.status())) {
    events->Record(owner, client::kWarning, "FailedCreate",
                   absl::StrCat("Error creating: ", created.status().message()));
  }
  co_return created.status();
}

Task<Status> DeletePod(std::shared_ptr<client::Rest> rest, client::EventSink* events, PodPtr pod,
                       client::ObjectReference owner) {
  const Status status = co_await rest->Delete<core::Pod>(pod->metadata().namespace_(), pod->metadata().name());
  if (status.ok()) {
    events->Record(owner, client::kNormal, "SuccessfulDelete", absl::StrCat("Deleted pod: ", pod->metadata().name()));
  } else if (!absl::IsNotFound(status) && !absl::IsCancelled(status)) {
    events->Record(owner, client::kWarning, "FailedDelete", absl::StrCat("Error deleting: ", status.message()));
    co_return Annotate(status, "unable to delete pods");
  }
  co_return status;
}

}  // namespace skiff::controlplane
