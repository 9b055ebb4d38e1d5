// The endpoint slice controller: writes what endpoint_slices.h computes.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/controller.h"
#include "controlplane/controllers/endpoint_slices.h"
#include "controlplane/controllers/services_of_pods.h"

namespace skiff::controlplane {
namespace {

constexpr size_t kWorkers = 5;

class EndpointSliceController final : public Controller {
 public:
  explicit EndpointSliceController(const ControllerContext& context)
      : context_(context),
        events_(context.rest, "endpoint-slice-controller", ""),
        queue_(context.executor(), context.clock(), "endpointslice-controller", kWorkers,
               [this](std::string key) { return Sync(std::move(key)); }) {
    WatchServices(*context.informers, [this](const std::string& key) { queue_.Add(key); });
    context.informers->endpoint_slices->OnChange([this](const discovery::EndpointSlice& slice) { SliceSeen(slice); });
    // Endpoints of a pod that came before its node.
    context.informers->nodes->AddHandler({.added = [this](const NodePtr& node) {
      for (const PodPtr& pod : context_.informers->pods->ByIndex("node", node->metadata().name())) {
        for (const auto& service : context_.informers->services->InNamespace(pod->metadata().namespace_())) {
          queue_.Add(client::KeyOf(*service));
        }
      }
    }});
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    group.Spawn("endpoint slice events", events_.Run());
    group.Spawn("endpoint slices", queue_.Run());
    co_await group.Join();
  }

 private:
  // Own writes that the cache has not shown yet, by slice name: the version it must reach. Without this a slow cache
  // would make us create slices twice.
  struct Written {
    std::map<std::string, uint64_t> versions;
    SteadyTime since;
  };

  static uint64_t VersionOf(const meta::ObjectMeta& metadata) {
    uint64_t version = 0;
    return absl::SimpleAtoi(metadata.resourceversion(), &version) ? version : 0;
  }

  void SliceSeen(const discovery::EndpointSlice& slice) {
    const auto name = slice.metadata().labels().find(kServiceName);
    if (name == slice.metadata().labels().end()) return;
    const std::string key = client::MakeKey(slice.metadata().namespace_(), name->second);
    if (const auto found = written_.find(key); found != written_.end()) {
      auto& versions = found->second.versions;
      const auto mine = versions.find(slice.metadata().name());
      const bool gone = context_.informers->endpoint_slices->Get(client::KeyOf(slice)) == nullptr;
      const bool own = mine != versions.end() && VersionOf(slice.metadata()) == mine->second;
      if (mine != versions.end() && (gone || VersionOf(slice.metadata()) >= mine->second)) versions.erase(mine);
      if (versions.empty()) written_.erase(found);
      if (own) return;  // our own write comes back: nothing to do
    }
    const auto manager = slice.metadata().labels().find(kSliceManagedBy);
    if (manager == slice.metadata().labels().end() || manager->second == kSliceController) queue_.Add(key);
  }

  Task<Status> Sync(std::string key) {
    const auto service = context_.informers->services->Get(key);
    if (service == nullptr) {
      times_.Forget(key);
      written_.erase(key);
      co_return absl::OkStatus();  // the garbage collector takes the slices
    }
    if (service->spec().type() == "ExternalName" || service->spec().selector().empty() ||
        service->metadata().has_deletiontimestamp()) {
      co_return absl::OkStatus();
    }
    if (const auto found = written_.find(key); found != written_.end()) {
      if (context_.clock().Steady() - found->second.since < std::chrono::seconds(10)) {
        queue_.AddAfter(key, std::chrono::milliseconds(50));
        co_return absl::OkStatus();
      }
      written_.erase(found);
    }
    std::vector<SlicePtr> existing;
    for (const SlicePtr& slice : context_.informers->endpoint_slices->ByIndex("service", key)) {
      const auto manager = slice->metadata().labels().find(kSliceManagedBy);
      if (manager != slice->metadata().labels().end() && manager->second == kSliceController) existing.push_back(slice);
    }
    const std::vector<PodPtr> pods = PodsOfService(*context_.informers, *service);
    const WallTime trigger = times_.Compute(*service, pods);
    Status problem;
    const auto nodes = context_.informers->nodes;
    const auto node_of = [nodes](const std::string& name) { return nodes->Get(name); };
    SliceChanges changes = ComputeSlices(*service, pods, existing, node_of, &problem);
    Written& written = written_[key];
    written.since = context_.clock().Steady();
    Status failed = co_await Apply(key, service, std::move(changes), trigger);
    if (const auto found = written_.find(key); found != written_.end() && found->second.versions.empty()) {
      written_.erase(found);
    }
    if (!failed.ok() && !absl::IsCancelled(failed) && !client::IsNamespaceTerminating(failed)) {
      events_.Record(*service, client::kWarning, "FailedToUpdateEndpointSlices",
                     absl::StrCat("Error updating Endpoint Slices for Service ", key, ": ", failed.message()));
    }
    co_return failed.ok() ? problem : failed;
  }

  void Remember(const std::string& key, const discovery::EndpointSlice& slice) {
    const auto cached = context_.informers->endpoint_slices->Get(client::KeyOf(slice));
    if (cached != nullptr && VersionOf(cached->metadata()) >= VersionOf(slice.metadata())) return;
    Written& written = written_[key];
    written.since = context_.clock().Steady();
    written.versions[slice.metadata().name()] = VersionOf(slice.metadata());
  }

  Task<Status> Apply(std::string key, std::shared_ptr<const core::Service> service, SliceChanges changes,
                     WallTime trigger) {
    const bool dated = trigger > WallTime();
    const auto date = [&](discovery::EndpointSlice& slice) {
      auto* annotations = slice.mutable_metadata()->mutable_annotations();
      if (dated) {
        (*annotations)[kTriggerTime] = api::FormatTimeNano(trigger);
      } else {
        annotations->erase(kTriggerTime);
      }
    };
    for (discovery::EndpointSlice& slice : changes.create) {
      date(slice);
      auto created = co_await context_.rest->Create(std::move(slice));
      if (!created.ok()) {
        co_return Annotate(created.status(), absl::StrCat("failed to create EndpointSlice for Service ", key));
      }
      Remember(key, *created);
    }
    for (discovery::EndpointSlice& slice : changes.update) {
      date(slice);
      const std::string name = slice.metadata().name();
      auto updated = co_await context_.rest->Update(std::move(slice));
      if (!updated.ok()) {
        co_return Annotate(updated.status(),
                           absl::StrCat("failed to update ", name, " EndpointSlice for Service ", key));
      }
      Remember(key, *updated);
    }
    for (const SlicePtr& slice : changes.remove) {
      const Status status = co_await context_.rest->Delete<discovery::EndpointSlice>(slice->metadata().namespace_(),
                                                                                     slice->metadata().name());
      if (!status.ok() && !absl::IsNotFound(status)) {
        co_return Annotate(
            status, absl::StrCat("failed to delete ", slice->metadata().name(), " EndpointSlice for Service ", key));
      }
    }
    co_return absl::OkStatus();
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  WorkQueue queue_;
  TriggerTimes times_;
  std::map<std::string, Written> written_;
};

}  // namespace

std::unique_ptr<Controller> MakeEndpointSliceController(const ControllerContext& context) {
  return std::make_unique<EndpointSliceController>(context);
}

}  // namespace skiff::controlplane
