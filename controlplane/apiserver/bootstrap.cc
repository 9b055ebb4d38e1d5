#include "controlplane/apiserver/bootstrap.h"

#include "api/codec.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/time.h"
#include "base/log.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"
#include "k8s/io/api/scheduling/v1/generated.pb.h"
#include "k8s/io/kube_aggregator/pkg/apis/apiregistration/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
namespace networking = ::k8s::io::api::networking::v1;
namespace registration = ::k8s::io::kube_aggregator::pkg::apis::apiregistration::v1;
namespace scheduling = ::k8s::io::api::scheduling::v1;

class Bootstrapper {
 public:
  Bootstrapper(Registry& registry, const BootstrapFacts& facts, WallTime now) : registry_(registry), facts_(facts) {
    context_.internal = true;
    context_.now = now;
    context_.user = {"system:apiserver", "", {std::string(kMasters), std::string(kAuthenticated)}, {}};
    context_.field_manager = "kube-apiserver";
  }

  Task<Status> Run() {
    for (const char* name : {"kube-system", "kube-public", "kube-node-lease", "default"}) {
      core::Namespace ns;
      ns.mutable_metadata()->set_name(name);
      if (Status status = co_await Ensure(api::Object::Of(std::move(ns))); !status.ok()) co_return status;
    }
    // All at once, so that the store puts them into few transactions.
    TaskGroup group(co_await asio::this_coro::executor);
    Status failed;
    for (size_t i = 0; i < kBootstrapPolicySize; ++i)
      group.Spawn("bootstrap policy", Into(EnsurePolicy(kBootstrapPolicy[i]), &failed));
    co_await group.Join();
    if (!failed.ok()) co_return failed;
    if (Status status = co_await EnsurePriorities(); !status.ok()) co_return status;
    if (Status status = co_await EnsureService(); !status.ok()) co_return status;
    if (Status status = co_await EnsureRegistrations(); !status.ok()) co_return status;
    co_return absl::OkStatus();
  }

 private:
  static Task<void> Into(Task<Status> task, Status* failed) {
    Status status = co_await std::move(task);
    if (!status.ok()) *failed = status;
  }

  const Kind* KindOf(const api::Object& object) const {
    const auto gvk = object.gvk();
    return registry_.kinds().FindByKind(gvk.group, gvk.kind);
  }

  // Creates the object unless it exists.
  Task<Status> Ensure(api::Object object) {
    const Kind* kind = KindOf(object);
    const std::string ns = object.meta().namespace_(), name = object.meta().name();
    if (registry_.store().Peek(kind->Key(ns, name))) co_return absl::OkStatus();
    api::SetDefaults(&object);
    auto created = co_await registry_.Create(context_, *kind, ns, std::move(object));
    if (!created.ok() && api::ReasonOf(created.status()) != "AlreadyExists")
      co_return Annotate(created.status(), absl::StrCat("bootstrap ", std::string(kind->resource->kind), " ", name));
    co_return absl::OkStatus();
  }

  // Creates it, or makes the live one's content what is wanted.
  Task<Status> EnsureExactly(api::Object object) {
    const Kind* kind = KindOf(object);
    const std::string ns = object.meta().namespace_(), name = object.meta().name();
    api::SetDefaults(&object);
    UpdateRequest request;
    request.ns = ns;
    request.name = name;
    request.allow_create = true;
    request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
      api::Object wanted = object.Clone();
      if (existing) *wanted.mutable_meta() = existing->meta();
      return wanted;
    };
    auto result = co_await registry_.Update(context_, *kind, std::move(request));
    if (!result.ok())
      co_return Annotate(result.status(), absl::StrCat("bootstrap ", std::string(kind->resource->kind), " ", name));
    co_return absl::OkStatus();
  }

  Task<Status> EnsurePolicy(std::string_view text) {
    auto gvk = api::PeekJson(text);
    if (!gvk.ok()) co_return gvk.status();
    const api::TypeOps* type = api::TypeOf({"rbac.authorization.k8s.io", "v1", gvk->kind});
    auto message = type->New();
    if (Status status = api::FromJson(text, message.get()); !status.ok())
      co_return Annotate(status, "bootstrap policy");
    api::Object object(*type, std::move(message));
    (*object.mutable_meta()->mutable_labels())["kubernetes.io/bootstrapping"] = "rbac-defaults";
    (*object.mutable_meta()->mutable_annotations())["rbac.authorization.kubernetes.io/autoupdate"] = "true";
    co_return co_await Ensure(std::move(object));
  }

  Task<Status> EnsurePriorities() {
    struct Level {
      const char* name;
      int32_t value;
      const char* description;
    };
    static constexpr Level kLevels[] = {
        {"system-node-critical", 2000001000,
         "Used for system critical pods that must not be moved from their current node."},
        {"system-cluster-critical", 2000000000,
         "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."}};
    for (const Level& level : kLevels) {
      scheduling::PriorityClass priority;
      priority.mutable_metadata()->set_name(level.name);
      priority.set_value(level.value);
      priority.set_description(level.description);
      priority.set_preemptionpolicy("PreemptLowerPriority");
      if (Status status = co_await Ensure(api::Object::Of(std::move(priority))); !status.ok()) co_return status;
    }
    co_return absl::OkStatus();
  }

  Task<Status> EnsureService() {
    networking::ServiceCIDR range;
    range.mutable_metadata()->set_name("kubernetes");
    range.mutable_spec()->add_cidrs(facts_.service_range);
    if (Status status = co_await Ensure(api::Object::Of(std::move(range))); !status.ok()) co_return status;

    core::Service service;
    service.mutable_metadata()->set_name("kubernetes");
    service.mutable_metadata()->set_namespace_("default");
    (*service.mutable_metadata()->mutable_labels())["component"] = "apiserver";
    (*service.mutable_metadata()->mutable_labels())["provider"] = "kubernetes";
    service.mutable_spec()->set_clusterip(facts_.service_address);
    core::ServicePort* port = service.mutable_spec()->add_ports();
    port->set_name("https");
    port->set_port(443);
    port->set_protocol("TCP");
    port->mutable_targetport()->set_type(0);
    port->mutable_targetport()->set_intval(facts_.port);
    if (Status status = co_await Ensure(api::Object::Of(std::move(service))); !status.ok()) co_return status;

    if (facts_.advertise_address.starts_with("127.") || facts_.advertise_address == "::1") {
      LOG_WARNING("The kubernetes service gets no endpoint: the server is reachable on this machine only",
                  {"address", facts_.advertise_address});
      co_return absl::OkStatus();
    }
    core::Endpoints endpoints;
    endpoints.mutable_metadata()->set_name("kubernetes");
    endpoints.mutable_metadata()->set_namespace_("default");
    (*endpoints.mutable_metadata()->mutable_labels())["endpointslice.kubernetes.io/skip-mirror"] = "true";
    auto* subset = endpoints.add_subsets();
    subset->add_addresses()->set_ip(facts_.advertise_address);
    auto* subset_port = subset->add_ports();
    subset_port->set_name("https");
    subset_port->set_port(facts_.port);
    subset_port->set_protocol("TCP");
    if (Status status = co_await EnsureExactly(api::Object::Of(std::move(endpoints))); !status.ok()) co_return status;

    discovery::EndpointSlice slice;
    slice.mutable_metadata()->set_name("kubernetes");
    slice.mutable_metadata()->set_namespace_("default");
    (*slice.mutable_metadata()->mutable_labels())["kubernetes.io/service-name"] = "kubernetes";
    slice.set_addresstype("IPv4");
    auto* endpoint = slice.add_endpoints();
    endpoint->add_addresses(facts_.advertise_address);
    endpoint->mutable_conditions()->set_ready(true);
    auto* slice_port = slice.add_ports();
    slice_port->set_name("https");
    slice_port->set_port(facts_.port);
    slice_port->set_protocol("TCP");
    co_return co_await EnsureExactly(api::Object::Of(std::move(slice)));
  }

  Task<Status> EnsureRegistrations() {
    core::ConfigMap authentication;
    authentication.mutable_metadata()->set_name("extension-apiserver-authentication");
    authentication.mutable_metadata()->set_namespace_("kube-system");
    (*authentication.mutable_data())["client-ca-file"] = facts_.client_ca_pem;
    if (Status status = co_await EnsureExactly(api::Object::Of(std::move(authentication))); !status.ok())
      co_return status;

    TaskGroup group(co_await asio::this_coro::executor);
    Status failed;
    for (const std::string& text : facts_.group_versions)
      group.Spawn("bootstrap registration", Into(EnsureRegistration(text), &failed));
    co_await group.Join();
    co_return failed;
  }

  Task<Status> EnsureRegistration(const std::string& text) {
    const size_t slash = text.find('/');
    const std::string group = slash == std::string::npos ? "" : text.substr(0, slash);
    const std::string version = slash == std::string::npos ? text : text.substr(slash + 1);
    registration::APIService service;
    service.mutable_metadata()->set_name(absl::StrCat(version, ".", group));
    (*service.mutable_metadata()->mutable_labels())["kube-aggregator.kubernetes.io/automanaged"] = "onstart";
    service.mutable_spec()->set_group(group);
    service.mutable_spec()->set_version(version);
    service.mutable_spec()->set_grouppriorityminimum(group.empty() ? 18000 : 17000);
    service.mutable_spec()->set_versionpriority(group.empty() ? 1 : 15);
    const Kind* kind = registry_.kinds().FindByKind("apiregistration.k8s.io", "APIService");
    const std::string name = service.metadata().name();
    if (!kind || registry_.store().Peek(kind->Key("", name))) co_return absl::OkStatus();
    if (Status status = co_await Ensure(api::Object::Of(std::move(service))); !status.ok()) co_return status;
    UpdateRequest request;
    request.name = name;
    request.subresource = "status";
    request.change = [this](const api::Object* existing) -> StatusOr<api::Object> {
      api::Object updated = existing->Clone();
      auto* condition = updated.As<registration::APIService>()->mutable_status()->add_conditions();
      condition->set_type("Available");
      condition->set_status("True");
      *condition->mutable_lasttransitiontime() = api::ToTime(context_.now);
      condition->set_reason("Local");
      condition->set_message("Local APIServices are always available");
      return updated;
    };
    auto result = co_await registry_.Update(context_, *kind, std::move(request));
    if (!result.ok()) co_return Annotate(result.status(), absl::StrCat("bootstrap APIService ", name));
    co_return absl::OkStatus();
  }

  Registry& registry_;
  const BootstrapFacts& facts_;
  Context context_;
};

}  // namespace

Task<Status> Bootstrap(Registry& registry, const BootstrapFacts& facts, WallTime now) {
  Bootstrapper bootstrapper(registry, facts, now);
  co_return co_await bootstrapper.Run();
}

}  // namespace skiff::controlplane
