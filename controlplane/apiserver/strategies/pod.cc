#include <deque>
#include <map>

#include "api/codec.h"
#include "api/pod_resources.h"
#include "api/time.h"
#include "controlplane/apiserver/pod_warnings.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

// Pods may be stored with hostIPs that an earlier server made of a hostIP which came alone. Clients that write only
// hostIP do not know of that list: it follows.
void FollowHostIp(const core::PodStatus& old, core::PodStatus* status) {
  const auto made = [&](const core::PodStatus& s) {
    return s.hostips_size() == 1 && s.hostips(0).ip() == old.hostip();
  };
  if (status->hostip() == old.hostip() || !made(old) || !made(*status)) return;
  if (status->hostip().empty())
    status->clear_hostips();
  else
    status->mutable_hostips(0)->set_ip(status->hostip());
}

// A client that does not know of observedGeneration does not take it away. Conditions are matched by their type, and by
// their order where there are several of a type.
void KeepObservedGenerations(const core::PodStatus& old, core::PodStatus* status) {
  if (status->observedgeneration() == 0 && old.observedgeneration() != 0)
    status->set_observedgeneration(old.observedgeneration());
  std::map<std::string, std::deque<int64_t>> of_type;
  for (const core::PodCondition& condition : old.conditions())
    of_type[condition.type()].push_back(condition.observedgeneration());
  for (core::PodCondition& condition : *status->mutable_conditions()) {
    std::deque<int64_t>& known = of_type[condition.type()];
    if (known.empty()) continue;
    const int64_t generation = known.front();
    known.pop_front();
    if (condition.observedgeneration() == 0 && generation != 0) condition.set_observedgeneration(generation);
  }
}

using Containers = google::protobuf::RepeatedPtrField<core::Container>;

// The old containers with what a resize may change. Renamed or reordered ones stay as they are sent: validation refuses
// them.
Containers Resized(const Containers& wanted, const Containers& old) {
  Containers out = old;
  for (int i = 0; i < wanted.size(); ++i) {
    if (wanted[i].name() != old[i].name()) return wanted;
    *out[i].mutable_resources() = wanted[i].resources();
    *out[i].mutable_resizepolicy() = wanted[i].resizepolicy();
  }
  return out;
}

// Drops what is not for this subresource.
void KeepForResize(const core::PodSpec& old, core::PodSpec* spec) {
  // Validation refuses these too.
  if (spec->containers_size() != old.containers_size() || spec->initcontainers_size() != old.initcontainers_size())
    return;
  core::PodSpec kept = old;
  *kept.mutable_containers() = Resized(spec->containers(), old.containers());
  *kept.mutable_initcontainers() = Resized(spec->initcontainers(), old.initcontainers());
  if (spec->has_resources())
    *kept.mutable_resources() = spec->resources();
  else
    kept.clear_resources();
  *spec = std::move(kept);
}

void KeepMetadata(const metav1::ObjectMeta& old, metav1::ObjectMeta* meta) {
  *meta->mutable_labels() = old.labels();
  *meta->mutable_annotations() = old.annotations();
  *meta->mutable_finalizers() = old.finalizers();
  *meta->mutable_ownerreferences() = old.ownerreferences();
}

class PodStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    core::Pod& pod = *object->As<core::Pod>();
    pod.mutable_status()->set_phase("Pending");
    pod.mutable_status()->set_qosclass(std::string(api::QosClassOf(pod.spec())));
    if (pod.spec().schedulinggates_size() > 0) {
      core::PodCondition* condition = pod.mutable_status()->add_conditions();
      condition->set_type("PodScheduled");
      condition->set_status("False");
      condition->set_reason("SchedulingGated");
      condition->set_message("Scheduling is blocked due to non-empty scheduling gates");
      *condition->mutable_lasttransitiontime() = api::ToTime(context.now);
    }
  }

  void PrepareForStatusUpdate(Context& context, api::Object* updated, const api::Object& old) const override {
    Strategy::PrepareForStatusUpdate(context, updated, old);
    core::Pod& pod = *updated->As<core::Pod>();
    *pod.mutable_metadata()->mutable_ownerreferences() = old.meta().ownerreferences();
    if (pod.status().qosclass().empty()) pod.mutable_status()->set_qosclass(old.As<core::Pod>()->status().qosclass());
    KeepObservedGenerations(old.As<core::Pod>()->status(), pod.mutable_status());
    FollowHostIp(old.As<core::Pod>()->status(), pod.mutable_status());
  }

  void PrepareForSubresource(Context& context, std::string_view subresource, api::Object* updated,
                             const api::Object& old) const override {
    const bool ephemeral = subresource == "ephemeralcontainers", resize = subresource == "resize";
    if (!ephemeral && !resize) return Strategy::PrepareForSubresource(context, subresource, updated, old);
    core::PodSpec& spec = *updated->As<core::Pod>()->mutable_spec();
    const core::PodSpec& before = old.As<core::Pod>()->spec();
    if (ephemeral) {
      auto containers = std::move(*spec.mutable_ephemeralcontainers());
      spec = before;
      *spec.mutable_ephemeralcontainers() = std::move(containers);
    } else {
      KeepForResize(before, &spec);
    }
    KeepMetadata(old.meta(), updated->mutable_meta());
    Strategy::PrepareForUpdate(context, updated, old);
  }

  // People seldom update pods themselves: upstream says nothing then.
  void Warn(Context& context, const api::Object& object, const api::Object* old) const override {
    if (old) return;
    for (std::string& warning : PodWarnings(object.meta(), object.As<core::Pod>()->spec(), ""))
      context.warnings.push_back(std::move(warning));
  }

  std::optional<int64_t> GracePeriod(const api::Object& object, std::optional<int64_t> wanted) const override {
    const core::Pod& pod = *object.As<core::Pod>();
    int64_t period = wanted ? *wanted : pod.spec().terminationgraceperiodseconds();
    if (period < 0) period = 1;
    // Nobody runs it, or it has ended: nothing to wait for.
    if (pod.spec().nodename().empty()) period = 0;
    if (pod.status().phase() == "Failed" || pod.status().phase() == "Succeeded") period = 0;
    return period;
  }

  bool KnowsField(std::string_view field) const override {
    for (std::string_view known :
         {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
          "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"})
      if (field == known) return true;
    return false;
  }
  bool has_fields() const override { return true; }

  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    const core::Pod& pod = *object.As<core::Pod>();
    if (field == "spec.nodeName") return pod.spec().nodename();
    if (field == "status.phase") return pod.status().phase();
    if (field == "spec.restartPolicy") return pod.spec().restartpolicy();
    if (field == "spec.schedulerName") return pod.spec().schedulername();
    if (field == "spec.serviceAccountName") return pod.spec().serviceaccountname();
    if (field == "spec.hostNetwork") return pod.spec().hostnetwork() ? "true" : "false";
    if (field == "status.podIP") return pod.status().podip();
    if (field == "status.podIPs") return pod.status().podip();
    if (field == "status.nominatedNodeName") return pod.status().nominatednodename();
    return Strategy::FieldValue(object, field);
  }
};

}  // namespace

std::unique_ptr<Strategy> MakePodStrategy(KindTraits traits) { return std::make_unique<PodStrategy>(traits); }

}  // namespace skiff::controlplane
