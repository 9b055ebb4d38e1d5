#include <map>

#include "api/field_errors.h"
#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/service.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

bool NeedsAddress(const core::ServiceSpec& spec) { return spec.type() != "ExternalName"; }
bool NeedsPorts(const core::ServiceSpec& spec) {
  return spec.type() == "NodePort" || (spec.type() == "LoadBalancer" && (!spec.has_allocateloadbalancernodeports() ||
                                                                         spec.allocateloadbalancernodeports()));
}
bool NeedsHealthPort(const core::ServiceSpec& spec) {
  return spec.type() == "LoadBalancer" && spec.externaltrafficpolicy() == "Local";
}
bool IsRealAddress(const std::string& address) { return !address.empty() && address != "None"; }

// The addresses and ports that a stored service holds.
std::string AddressOf(const core::Service& service) {
  return NeedsAddress(service.spec()) && IsRealAddress(service.spec().clusterip()) ? service.spec().clusterip() : "";
}
std::set<int> PortsOf(const core::Service& service) {
  std::set<int> ports;
  for (const core::ServicePort& port : service.spec().ports())
    if (port.nodeport() > 0) ports.insert(port.nodeport());
  if (service.spec().healthchecknodeport() > 0) ports.insert(service.spec().healthchecknodeport());
  return ports;
}

class ServiceStrategy final : public Strategy {
 public:
  ServiceStrategy(KindTraits traits, Allocators* allocators) : Strategy(traits), allocators_(allocators) {}

  void PrepareForCreate(Context& context, api::Object* object) const override {
    Strategy::PrepareForCreate(context, object);
    core::ServiceSpec& spec = *object->As<core::Service>()->mutable_spec();
    SyncAddresses(&spec, nullptr);
    SetFamilies(&spec);
  }

  void Warn(Context& context, const api::Object& object, const api::Object*) const override {
    const core::Service& service = *object.As<core::Service>();
    const core::ServiceSpec& spec = service.spec();
    auto say = [&](std::string_view text) { context.warnings.emplace_back(text); };
    const bool headless = spec.type() == "ClusterIP" && spec.clusterip() == "None";
    if (service.metadata().annotations().contains("service.kubernetes.io/topology-aware-hints"))
      say("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
          "service.kubernetes.io/topology-mode instead");
    if (headless) {
      if (!spec.loadbalancerip().empty()) say("spec.loadBalancerIP is ignored for headless services");
      if (spec.externalips_size() > 0) say("spec.externalIPs is ignored for headless services");
      if (spec.sessionaffinity() != "None") say("spec.SessionAffinity is ignored for headless services");
    }
    if (spec.externalips_size() > 0 && !headless && spec.type() != "ExternalName")
      say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    if (spec.type() == "ExternalName" && spec.externalips_size() > 0)
      say("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (spec.type() != "ExternalName" && !spec.externalname().empty())
      say("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (spec.trafficdistribution() == "PreferClose")
      say("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
  }

  void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old_object) const override {
    Strategy::PrepareForUpdate(context, updated, old_object);
    core::ServiceSpec& spec = *updated->As<core::Service>()->mutable_spec();
    const core::ServiceSpec& old = old_object.As<core::Service>()->spec();
    SyncAddresses(&spec, &old);
    // What the server chose stays when the client leaves it out.
    if (NeedsAddress(spec) && NeedsAddress(old)) {
      if (spec.clusterip().empty()) spec.set_clusterip(old.clusterip());
      if (spec.clusterips_size() == 0 && spec.clusterip() == old.clusterip())
        *spec.mutable_clusterips() = old.clusterips();
    }
    if (NeedsPorts(spec) && NeedsPorts(old)) {
      std::map<std::pair<std::string, int>, int> before;
      std::set<int> used;
      for (const core::ServicePort& port : old.ports()) before[{port.protocol(), port.port()}] = port.nodeport();
      for (const core::ServicePort& port : spec.ports())
        if (port.nodeport() != 0) used.insert(port.nodeport());
      for (core::ServicePort& port : *spec.mutable_ports()) {
        auto it = before.find({port.protocol(), port.port()});
        if (port.nodeport() == 0 && it != before.end() && !used.contains(it->second)) port.set_nodeport(it->second);
      }
    }
    if (NeedsHealthPort(spec) && NeedsHealthPort(old) && spec.healthchecknodeport() == 0)
      spec.set_healthchecknodeport(old.healthchecknodeport());
    DropOnTypeChange(&spec, old);
    SetFamilies(&spec);
  }

  Status Allocate(Context& context, api::Object* object, const api::Object* old_object) const override {
    core::Service& service = *object->As<core::Service>();
    core::ServiceSpec& spec = *service.mutable_spec();
    const core::Service none;
    const core::Service& old = old_object ? *old_object->As<core::Service>() : none;
    const std::string old_address = AddressOf(old);
    const std::set<int> old_ports = PortsOf(old);
    std::string taken_address;
    std::set<int> taken_ports;
    api::FieldErrors errors;
    const api::Path path("spec");

    if (NeedsAddress(spec)) {
      if (spec.clusterip().empty()) {
        if (context.dry_run) {
          spec.set_clusterip(allocators_->addresses.Network());
        } else {
          auto address = allocators_->addresses.TakeAny();
          if (!address.ok()) return api::InternalError("failed to allocate a serviceIP: range is full");
          taken_address = *address;
          spec.set_clusterip(taken_address);
        }
      } else if (IsRealAddress(spec.clusterip()) && spec.clusterip() != old_address) {
        Status status = allocators_->addresses.Take(spec.clusterip());
        if (status.ok())
          taken_address = spec.clusterip();
        else
          errors.InvalidRaw(path.Child("clusterIPs"), absl::StrCat("[\"", spec.clusterip(), "\"]"),
                            absl::StrCat("failed to allocate IP ", spec.clusterip(), ": ", status.message()));
      }
      spec.clear_clusterips();
      spec.add_clusterips(spec.clusterip());
    }
    if (NeedsPorts(spec) && errors.ok()) AllocatePorts(context, &spec, old_ports, &taken_ports, &errors);
    if (NeedsHealthPort(spec) && errors.ok()) {
      if (spec.healthchecknodeport() == 0) {
        if (context.dry_run) {
          spec.set_healthchecknodeport(kDryRunPort);
        } else if (auto port = allocators_->ports.TakeAny(); port.ok()) {
          taken_ports.insert(*port);
          spec.set_healthchecknodeport(*port);
        }
      } else if (!old_ports.contains(spec.healthchecknodeport())) {
        Status status = allocators_->ports.Take(spec.healthchecknodeport());
        if (status.ok())
          taken_ports.insert(spec.healthchecknodeport());
        else
          errors.Invalid(path.Child("healthCheckNodePort"), int64_t{spec.healthchecknodeport()},
                         std::string(status.message()));
      }
    }
    if (!errors.ok() || context.dry_run) {
      if (!taken_address.empty()) allocators_->addresses.Release(taken_address);
      for (int port : taken_ports) allocators_->ports.Release(port);
    }
    return errors.ToStatus("", "Service", service.metadata().name());
  }

  void Settle(const api::Object& object, const api::Object* old_object, bool written) const override {
    const core::Service& updated = *object.As<core::Service>();
    const core::Service none;
    const core::Service& old = old_object ? *old_object->As<core::Service>() : none;
    // Written: what only the old one held is free. Not written: what only the new one holds is.
    const core::Service& keep = written ? updated : old;
    const core::Service& drop = written ? old : updated;
    if (const std::string address = AddressOf(drop); !address.empty() && address != AddressOf(keep))
      allocators_->addresses.Release(address);
    const std::set<int> kept = PortsOf(keep);
    for (int port : PortsOf(drop))
      if (!kept.contains(port)) allocators_->ports.Release(port);
  }

  void AfterDelete(const api::Object& object) const override {
    const core::Service& service = *object.As<core::Service>();
    if (const std::string address = AddressOf(service); !address.empty()) allocators_->addresses.Release(address);
    for (int port : PortsOf(service)) allocators_->ports.Release(port);
  }

  bool KnowsField(std::string_view field) const override { return field == "spec.clusterIP" || field == "spec.type"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    const core::ServiceSpec& spec = object.As<core::Service>()->spec();
    if (field == "spec.clusterIP") return spec.clusterip();
    if (field == "spec.type") return spec.type();
    return Strategy::FieldValue(object, field);
  }

 private:
  // What a dry run shows instead of a port of the range.
  static constexpr int kDryRunPort = 32769;

  void AllocatePorts(const Context& context, core::ServiceSpec* spec, const std::set<int>& held, std::set<int>* taken,
                     api::FieldErrors* errors) const {
    const api::Path path("spec");
    const api::Path ports_path = path.Child("ports");
    std::map<int, int> by_port;  // TCP and UDP of one port share its node port
    std::set<int> mine;
    int dry = kDryRunPort;
    for (int i = 0; i < spec->ports_size(); ++i) {
      core::ServicePort& port = *spec->mutable_ports(i);
      if (port.nodeport() == 0) continue;
      const api::Path entry = ports_path.Index(i);
      if (!held.contains(port.nodeport()) && !mine.contains(port.nodeport())) {
        Status status = allocators_->ports.Take(port.nodeport());
        if (!status.ok()) {
          errors->Invalid(entry.Child("nodePort"), int64_t{port.nodeport()}, std::string(status.message()));
          continue;
        }
        taken->insert(port.nodeport());
      }
      mine.insert(port.nodeport());
      by_port.emplace(port.port(), port.nodeport());
    }
    if (!errors->ok()) return;
    for (core::ServicePort& port : *spec->mutable_ports()) {
      if (port.nodeport() != 0) continue;
      auto same = by_port.find(port.port());
      if (same != by_port.end()) {
        port.set_nodeport(same->second);
        continue;
      }
      if (context.dry_run) {
        port.set_nodeport(dry++);
        continue;
      }
      auto any = allocators_->ports.TakeAny();
      if (!any.ok()) {
        errors->Internal(ports_path, "failed to allocate a nodePort: range is full");
        return;
      }
      taken->insert(*any);
      port.set_nodeport(*any);
      by_port.emplace(port.port(), *any);
    }
  }

  // clusterIP is clusterIPs[0]; a client may have written either.
  static void SyncAddresses(core::ServiceSpec* spec, const core::ServiceSpec* old) {
    if (!old) {
      if (spec->clusterips_size() == 0 && !spec->clusterip().empty()) spec->add_clusterips(spec->clusterip());
      return;
    }
    // Clearing the first clears the second, changing the first changes the second.
    if (spec->clusterip() != old->clusterip() && spec->clusterips_size() == old->clusterips_size() &&
        std::equal(spec->clusterips().begin(), spec->clusterips().end(), old->clusterips().begin())) {
      spec->clear_clusterips();
      if (!spec->clusterip().empty()) spec->add_clusterips(spec->clusterip());
    }
  }

  static void SetFamilies(core::ServiceSpec* spec) {
    if (!NeedsAddress(*spec)) return;
    const bool selectorless_headless = spec->clusterip() == "None" && spec->selector().empty();
    if (!spec->has_ipfamilypolicy())
      spec->set_ipfamilypolicy(selectorless_headless ? "RequireDualStack" : "SingleStack");
    if (spec->ipfamilies_size() == 0) {
      spec->add_ipfamilies("IPv4");
      if (selectorless_headless && spec->ipfamilypolicy() != "SingleStack") spec->add_ipfamilies("IPv6");
    }
  }

  // A client that only changes the type need not clean up what the old type had.
  static void DropOnTypeChange(core::ServiceSpec* spec, const core::ServiceSpec& old) {
    if (NeedsAddress(old) && !NeedsAddress(*spec) && spec->clusterip() == old.clusterip()) {
      spec->clear_clusterip();
      spec->clear_clusterips();
      spec->clear_ipfamilies();
      spec->clear_ipfamilypolicy();
    }
    if (NeedsPorts(old) && !NeedsPorts(*spec)) {
      std::set<int> before;
      for (const core::ServicePort& port : old.ports()) before.insert(port.nodeport());
      for (core::ServicePort& port : *spec->mutable_ports())
        if (before.contains(port.nodeport())) port.clear_nodeport();
    }
    if (NeedsHealthPort(old) && !NeedsHealthPort(*spec) && spec->healthchecknodeport() == old.healthchecknodeport())
      spec->clear_healthchecknodeport();
    if (old.type() == "LoadBalancer" && spec->type() != "LoadBalancer") spec->clear_allocateloadbalancernodeports();
    const bool external = spec->type() == "NodePort" || spec->type() == "LoadBalancer" || spec->externalips_size() > 0;
    if (!external && spec->externaltrafficpolicy() == old.externaltrafficpolicy()) spec->clear_externaltrafficpolicy();
  }

  Allocators* const allocators_;
};

}  // namespace

std::unique_ptr<Strategy> MakeServiceStrategy(KindTraits traits, Allocators* allocators) {
  return std::make_unique<ServiceStrategy>(traits, allocators);
}

}  // namespace skiff::controlplane
