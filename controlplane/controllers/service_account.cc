// Two small controllers that keep something in every namespace: the service account "default", and the config map
// "kube-root-ca.crt" with the cluster's CA for pods to trust.
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"

namespace skiff::controlplane {
namespace {

constexpr char kRootCa[] = "kube-root-ca.crt";
constexpr char kRootCaKey[] = "ca.crt";
constexpr char kDescriptionKey[] = "kubernetes.io/description";
constexpr char kDescription[] =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters.";

// Writing into a namespace that is going away, or gone, is nothing to try again.
Status Forgive(const Status& status) {
  if (absl::IsAlreadyExists(status) || absl::IsNotFound(status) || client::IsNamespaceTerminating(status)) {
    return absl::OkStatus();
  }
  return status;
}

class ServiceAccountController final : public Controller {
 public:
  explicit ServiceAccountController(const ControllerContext& context)
      : context_(context),
        queue_(context.executor(), context.clock(), "serviceaccount-controller", 5,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->namespaces->AddHandler({
        .added = [this](const auto& ns) { queue_.Add(ns->metadata().name()); },
        .updated = [this](const auto&, const auto& ns) { queue_.Add(ns->metadata().name()); },
    });
    context.informers->service_accounts->AddHandler(
        {.deleted = [this](const auto& account) { queue_.Add(account->metadata().namespace_()); }});
  }
  Task<void> Run() override { return queue_.Run(); }

 private:
  Task<Status> Sync(std::string key) {
    const auto ns = context_.informers->namespaces->Get(key);
    if (ns == nullptr || ns->status().phase() == "Terminating" || ns->metadata().has_deletiontimestamp()) {
      co_return absl::OkStatus();
    }
    if (context_.informers->service_accounts->Get(key, "default") != nullptr) co_return absl::OkStatus();
    core::ServiceAccount account;
    account.mutable_metadata()->set_name("default");
    account.mutable_metadata()->set_namespace_(key);
    co_return Forgive((co_await context_.rest->Create(std::move(account))).status());
  }

  const ControllerContext context_;
  WorkQueue queue_;
};

class RootCaController final : public Controller {
 public:
  explicit RootCaController(const ControllerContext& context)
      : context_(context),
        queue_(context.executor(), context.clock(), "root-ca-certificate-publisher-controller", 5,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->namespaces->AddHandler({
        .added = [this](const auto& ns) { queue_.Add(ns->metadata().name()); },
        .updated = [this](const auto&, const auto& ns) { queue_.Add(ns->metadata().name()); },
    });
    context.informers->root_cas->AddHandler({
        .updated = [this](const auto&, const auto& map) { queue_.Add(map->metadata().namespace_()); },
        .deleted = [this](const auto& map) { queue_.Add(map->metadata().namespace_()); },
    });
  }
  Task<void> Run() override { return queue_.Run(); }

 private:
  Task<Status> Sync(std::string key) {
    const auto ns = context_.informers->namespaces->Get(key);
    if (ns == nullptr || ns->status().phase() == "Terminating" || ns->metadata().has_deletiontimestamp()) {
      co_return absl::OkStatus();
    }
    const auto existing = context_.informers->root_cas->Get(key, kRootCa);
    if (existing == nullptr) {
      core::ConfigMap map;
      map.mutable_metadata()->set_name(kRootCa);
      map.mutable_metadata()->set_namespace_(key);
      (*map.mutable_metadata()->mutable_annotations())[kDescriptionKey] = kDescription;
      (*map.mutable_data())[kRootCaKey] = context_.options.root_ca_pem;
      co_return Forgive((co_await context_.rest->Create(std::move(map))).status());
    }
    const auto found = existing->data().find(kRootCaKey);
    const auto described = existing->metadata().annotations().find(kDescriptionKey);
    if (found != existing->data().end() && existing->data().size() == 1 &&
        found->second == context_.options.root_ca_pem && described != existing->metadata().annotations().end() &&
        !described->second.empty()) {
      co_return absl::OkStatus();
    }
    core::ConfigMap map = *existing;
    map.clear_data();
    (*map.mutable_data())[kRootCaKey] = context_.options.root_ca_pem;
    (*map.mutable_metadata()->mutable_annotations())[kDescriptionKey] = kDescription;
    co_return (co_await context_.rest->Update(std::move(map))).status();
  }

  const ControllerContext context_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeServiceAccountController(const ControllerContext& context) {
  return std::make_unique<ServiceAccountController>(context);
}
std::unique_ptr<Controller> MakeRootCaController(const ControllerContext& context) {
  return std::make_unique<RootCaController>(context);
}

}  // namespace skiff::controlplane
