#include "proxy/service_watch.h"

#include <netinet/in.h>

#include <algorithm>

#include "base/log.h"
#include "base/vital.h"
#include "client/informer.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"

namespace skiff::proxy {

namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
using client::Informer;

constexpr char kTriggerAnnotation[] = "endpoints.kubernetes.io/last-change-trigger-time";

std::optional<WallTime> ParseTrigger(const std::string& text) {
  // RFC 3339 with optional fraction, always UTC here.
  tm parts = {};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  int64_t ns = 0;
  if (*rest == '.') {
    int64_t scale = 100000000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ns += (*rest - '0') * scale;
  }
  if (*rest != 'Z') return std::nullopt;
  auto at = std::chrono::seconds(timegm(&parts)) + std::chrono::nanoseconds(ns);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(at));
}

template <typename T>
void Hollow(T& object) {
  auto* meta = object.mutable_metadata();
  T hollow;
  auto* kept = hollow.mutable_metadata();
  kept->set_name(meta->name());
  kept->set_namespace_(meta->namespace_());
  kept->set_resourceversion(meta->resourceversion());
  kept->set_uid(meta->uid());
  object = std::move(hollow);
}

bool HasSctp(const ServiceDigest& service) {
  return std::any_of(service.ports.begin(), service.ports.end(),
                     [](const ServicePortDigest& port) { return port.protocol == IPPROTO_SCTP; });
}

}  // namespace

struct ServiceWatch::Informers {
  std::shared_ptr<Informer<core::Service>> services;
  std::shared_ptr<Informer<discovery::EndpointSlice>> slices;
};

ServiceWatch::ServiceWatch(std::shared_ptr<client::Rest> rest, std::string node_name, bool external_ips, Syncer& syncer,
                           std::function<void()> changed)
    : node_name_(std::move(node_name)),
      syncer_(syncer),
      changed_(std::move(changed)),
      informers_(std::make_unique<Informers>()) {
  informers_->services = std::make_shared<Informer<core::Service>>(
      rest, client::InformerOptions{.label_selector = "!service.kubernetes.io/service-proxy-name",
                                    .field_selector = "spec.clusterIP!=None"});
  informers_->slices = std::make_shared<Informer<discovery::EndpointSlice>>(
      rest, client::InformerOptions{.label_selector = "!service.kubernetes.io/headless"});
  WatchServices(external_ips);
  WatchSlices();
}

ServiceWatch::~ServiceWatch() = default;

void ServiceWatch::WatchServices(bool external_ips) {
  informers_->services->SetTransform([this, external_ips](core::Service& service) {
    pending_services_[client::KeyOf(service)] = Digest(service, external_ips);
    Hollow(service);
  });
  informers_->services->AddHandler({.added = [this](const auto& s) { OnService(client::KeyOf(*s)); },
                                    .updated = [this](const auto&, const auto& s) { OnService(client::KeyOf(*s)); },
                                    .deleted =
                                        [this](const auto& s) {
                                          if (syncer_.SetService(client::KeyOf(*s), std::nullopt)) changed_();
                                        }});
}

void ServiceWatch::WatchSlices() {
  informers_->slices->SetTransform([this](discovery::EndpointSlice& slice) {
    std::string key = client::KeyOf(slice);
    int refused = 0;
    PendingSlice pending;
    pending.digest = Digest(slice, node_name_, &refused);
    if (refused > 0)
      LOG_WARNING("Ignoring endpoints with invalid addresses", {"endpointSlice", key}, {"count", refused});
    auto trigger = slice.metadata().annotations().find(kTriggerAnnotation);
    if (trigger != slice.metadata().annotations().end()) pending.trigger = ParseTrigger(trigger->second);
    pending_slices_[key] = std::move(pending);
    Hollow(slice);
  });
  informers_->slices->AddHandler({.added = [this](const auto& s) { OnSlice(client::KeyOf(*s)); },
                                  .updated = [this](const auto&, const auto& s) { OnSlice(client::KeyOf(*s)); },
                                  .deleted =
                                      [this](const auto& s) {
                                        if (syncer_.SetSlice(client::KeyOf(*s), std::nullopt)) changed_();
                                      }});
}

void ServiceWatch::OnService(const std::string& key) {
  auto pending = pending_services_.extract(key);
  if (!pending.empty() && !(pending.mapped() && HasSctp(*pending.mapped()))) {
    sctp_named_.erase(key);
  } else if (!pending.empty() && sctp_named_.insert(key).second) {
    LOG_WARNING(
        "SCTP ports of a service are served to pods and from outside, by packets; not to the node's own processes",
        {"service", key});
  }
  if (!pending.empty() && syncer_.SetService(key, std::move(pending.mapped()))) changed_();
}

void ServiceWatch::OnSlice(const std::string& key) {
  auto pending = pending_slices_.extract(key);
  if (pending.empty()) return;
  if (syncer_.SetSlice(key, std::move(pending.mapped().digest), pending.mapped().trigger)) changed_();
}

void ServiceWatch::Start(TaskGroup& group) {
  SpawnVital(group, "watch services", informers_->services->Run());
  SpawnVital(group, "watch endpoint slices", informers_->slices->Run());
}

Task<Status> ServiceWatch::WaitForSync() {
  CO_RETURN_IF_ERROR(co_await informers_->services->WaitForSync());
  co_return co_await informers_->slices->WaitForSync();
}

}  // namespace skiff::proxy
