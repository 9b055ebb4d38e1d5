#include <map>

#include "api/codec.h"
#include "api/quantity.h"
#include "api/time.h"
#include "controlplane/apiserver/pod_warnings.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

// https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
std::string QosClass(const core::Pod& pod) {
  bool any = false, guaranteed = true;
  auto add = [&](const core::Container& container) {
    for (const char* name : {"cpu", "memory"}) {
      const auto limit = container.resources().limits().find(name);
      const auto request = container.resources().requests().find(name);
      const bool has_limit =
          limit != container.resources().limits().end() && !api::Quantity::Of(limit->second).IsZero();
      const bool has_request =
          request != container.resources().requests().end() && !api::Quantity::Of(request->second).IsZero();
      any = any || has_limit || has_request;
      if (!has_limit || (request != container.resources().requests().end() &&
                         api::Quantity::Of(limit->second) != api::Quantity::Of(request->second)))
        guaranteed = false;
    }
  };
  for (const core::Container& container : pod.spec().initcontainers()) add(container);
  for (const core::Container& container : pod.spec().containers()) add(container);
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

// podIP and podIPs, hostIP and hostIPs say the same; old clients write only the first.
void SyncAddresses(core::PodStatus* status) {
  if (status->podips_size() == 0 && !status->podip().empty()) status->add_podips()->set_ip(status->podip());
  if (status->podip().empty() && status->podips_size() > 0) status->set_podip(status->podips(0).ip());
  if (status->hostips_size() == 0 && !status->hostip().empty()) status->add_hostips()->set_ip(status->hostip());
}

class PodStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    core::Pod& pod = *object->As<core::Pod>();
    pod.mutable_status()->set_phase("Pending");
    pod.mutable_status()->set_qosclass(QosClass(pod));
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
    SyncAddresses(pod.mutable_status());
  }

  void PrepareForSubresource(Context& context, std::string_view subresource, api::Object* updated,
                             const api::Object& old) const override {
    const bool ephemeral = subresource == "ephemeralcontainers", resize = subresource == "resize";
    if (!ephemeral && !resize) return Strategy::PrepareForSubresource(context, subresource, updated, old);
    const core::PodSpec wanted = updated->As<core::Pod>()->spec();
    core::PodSpec& spec = *updated->As<core::Pod>()->mutable_spec();
    spec = old.As<core::Pod>()->spec();
    if (ephemeral) {
      *spec.mutable_ephemeralcontainers() = wanted.ephemeralcontainers();
    } else {
      auto take = [](const auto& from, auto* to) {
        for (auto& container : *to)
          for (const auto& other : from) {
            if (other.name() != container.name()) continue;
            *container.mutable_resources() = other.resources();
            *container.mutable_resizepolicy() = other.resizepolicy();
          }
      };
      take(wanted.containers(), spec.mutable_containers());
      take(wanted.initcontainers(), spec.mutable_initcontainers());
      if (wanted.has_resources()) *spec.mutable_resources() = wanted.resources();
    }
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
