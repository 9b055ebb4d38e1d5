#include "controlplane/controllers/controllers.h"

#include <algorithm>

#include "base/log.h"
#include "base/vital.h"
#include "controlplane/controllers/cidr_set.h"
#include "controlplane/controllers/controller.h"

namespace skiff::controlplane {
namespace {

using Make = std::unique_ptr<Controller> (*)(const ControllerContext&);

struct Entry {
  const char* name;
  Make make;
};

constexpr Entry kControllers[] = {
    {"namespace-controller", MakeNamespaceController},
    {"serviceaccount-controller", MakeServiceAccountController},
    {"root-ca-certificate-publisher-controller", MakeRootCaController},
    {"replicaset-controller", MakeReplicaSetController},
    {"deployment-controller", MakeDeploymentController},
    {"daemonset-controller", MakeDaemonSetController},
    {"job-controller", MakeJobController},
    {"endpointslice-controller", MakeEndpointSliceController},
    {"endpoints-controller", MakeEndpointsController},
    {"node-ipam-controller", MakeNodeIpamController},
    {"node-lifecycle-controller", MakeNodeLifecycleController},
    {"garbage-collector-controller", MakeGarbageCollector},
    {"pod-garbage-collector-controller", MakePodGcController},
    {"disruption-controller", MakeDisruptionController},
    {"persistentvolumeclaim-protection-controller", MakeClaimProtectionController},
    {"persistentvolume-protection-controller", MakeVolumeProtectionController},
    {"volumeattributesclass-protection-controller", MakeAttributesClassProtectionController},
};

bool Enabled(const ControllerOptions& options, std::string_view name) {
  bool all = false;
  for (const std::string& word : options.controllers) {
    if (word == name) return true;
    if (word.starts_with("-") && std::string_view(word).substr(1) == name) return false;
    if (word == "*") all = true;
  }
  if (!all) return false;
  if (name == "node-ipam-controller") return options.allocate_node_cidrs;
  if (name == "root-ca-certificate-publisher-controller") return !options.root_ca_pem.empty();
  return true;
}

Status Check(const ControllerOptions& options) {
  for (const std::string& word : options.controllers) {
    const std::string_view name = word.starts_with("-") ? std::string_view(word).substr(1) : std::string_view(word);
    const bool known = name == "*" || std::any_of(std::begin(kControllers), std::end(kControllers),
                                                  [&](const Entry& entry) { return name == entry.name; });
    if (!known) return InvalidArgument("\"", name, "\" is not in the list of known controllers");
  }
  if (Enabled(options, "node-ipam-controller")) {
    RETURN_IF_ERROR(CidrSet::Make(options.cluster_cidr, options.node_cidr_mask_size).status());
  }
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<Informers> MakeInformers(std::shared_ptr<client::Rest> rest) {
  return std::make_shared<Informers>(std::move(rest));
}

Task<void> RunInformers(std::shared_ptr<Informers> informers) {
  TaskGroup group(co_await asio::this_coro::executor);
  for (const auto& informer : informers->all()) SpawnVital(group, "informer", informer->Run());
  co_await group.Join();
}

Task<Status> RunControllers(std::shared_ptr<client::Rest> rest, ControllerOptions options,
                            std::shared_ptr<Informers> informers) {
  CO_RETURN_IF_ERROR(Check(options));
  const bool own = informers == nullptr;
  if (own) informers = MakeInformers(rest);
  const ControllerContext context{rest, informers, options};
  std::vector<std::pair<const char*, std::unique_ptr<Controller>>> controllers;
  for (const Entry& entry : kControllers) {
    if (!Enabled(options, entry.name)) continue;
    controllers.emplace_back(entry.name, entry.make(context));
  }
  // Declared after the controllers: what runs ends before they go.
  TaskGroup group(rest->executor());
  if (own) group.Spawn("informers", RunInformers(informers));
  const Status synced = co_await informers->WaitForSync();
  if (synced.ok()) {
    for (auto& [name, controller] : controllers) {
      VLOG(1, "Starting controller", {"controller", name});
      SpawnVital(group, name, controller->Run());
    }
  } else {
    group.Cancel();
  }
  co_await group.Join();
  co_return absl::OkStatus();
}

}  // namespace skiff::controlplane
