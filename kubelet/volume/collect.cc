#include "kubelet/volume/collect.h"

#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

Task<Status> AddConfigMapNamed(ObjectSource& objects, std::string ns, std::string name, const ItemList& items,
                               mode_t mode, bool optional, Payload* out) {
  auto object = co_await objects.GetConfigMap(ns, name);
  if (object.ok()) co_return AddConfigMap(**object, items, mode, optional, out);
  if (optional && absl::IsNotFound(object.status())) co_return absl::OkStatus();
  co_return object.status();
}

Task<Status> AddSecretNamed(ObjectSource& objects, std::string ns, std::string name, const ItemList& items, mode_t mode,
                            bool optional, Payload* out) {
  auto object = co_await objects.GetSecret(ns, name);
  if (object.ok()) co_return AddSecret(**object, items, mode, optional, out);
  if (optional && absl::IsNotFound(object.status())) co_return absl::OkStatus();
  co_return object.status();
}

// One source of a projected volume.
Task<void> CollectSource(ObjectSource& objects, std::shared_ptr<const Pod> pod,
                         const core::VolumeProjection& projection, mode_t mode, Allocatable allocatable, Payload* out,
                         Status* status) {
  const std::string& ns = pod->metadata().namespace_();
  const auto user = VolumeUserOf(*pod);
  if (projection.has_configmap()) {
    const auto& from = projection.configmap();
    *status = co_await AddConfigMapNamed(objects, ns, from.localobjectreference().name(), from.items(), mode,
                                         from.optional(), out);
  } else if (projection.has_secret()) {
    const auto& from = projection.secret();
    *status = co_await AddSecretNamed(objects, ns, from.localobjectreference().name(), from.items(), mode,
                                      from.optional(), out);
  } else if (projection.has_downwardapi()) {
    *status = AddDownwardApi(*pod, projection.downwardapi().items(), mode, allocatable, out);
  } else if (projection.has_serviceaccounttoken()) {
    const auto& from = projection.serviceaccounttoken();
    TokenRequest request;
    request.ns = ns;
    request.service_account = pod->spec().serviceaccountname();
    request.audience = from.audience();
    if (from.has_expirationseconds()) request.expiration_seconds = from.expirationseconds();
    request.pod_name = pod->metadata().name();
    request.pod_uid = pod->metadata().uid();
    auto token = co_await objects.GetToken(std::move(request));
    *status = token.status();
    if (token.ok()) {
      FileProjection& file = (*out)[from.path()];
      file.data = std::move(token->token);
      file.mode = user || pod->spec().securitycontext().has_fsgroup() ? 0600 : mode;
      if (user) file.user = *user;
    }
  } else if (projection.has_clustertrustbundle()) {
    *status = absl::UnimplementedError("projected source clusterTrustBundle is not supported by this kubelet");
  } else if (projection.has_podcertificate()) {
    *status = absl::UnimplementedError("projected source podCertificate is not supported by this kubelet");
  } else {
    *status = absl::OkStatus();  // a source of nothing is allowed, and brings nothing
  }
}

// All are asked for at once, since a new pod waits for them; a later source's file takes the place of an earlier one's.
Task<Status> CollectProjected(ObjectSource& objects, std::shared_ptr<const Pod> pod,
                              const core::ProjectedVolumeSource& source, Allocatable allocatable, Payload* out) {
  const mode_t mode = source.has_defaultmode() ? source.defaultmode() : 0644;
  const auto count = static_cast<size_t>(source.sources_size());
  std::vector<Payload> payloads(count);
  std::vector<Status> statuses(count, Internal("a projected source ended by an exception"));
  TaskGroup group(co_await asio::this_coro::executor);
  for (size_t i = 0; i < count; ++i) {
    group.Spawn("projected source", CollectSource(objects, pod, source.sources(static_cast<int>(i)), mode, allocatable,
                                                  &payloads[i], &statuses[i]));
  }
  co_await group.Join();
  std::vector<std::string> errors;
  Status first;
  for (size_t i = 0; i < count; ++i) {
    for (auto& [path, file] : payloads[i]) (*out)[path] = std::move(file);
    if (absl::IsCancelled(statuses[i])) co_return statuses[i];
    if (!statuses[i].ok()) {
      errors.emplace_back(statuses[i].message());
      first.Update(statuses[i]);
    }
  }
  if (errors.empty()) co_return absl::OkStatus();
  co_return Status(first.code(), Aggregate(errors).message());
}

}  // namespace

Task<StatusOr<Payload>> CollectPayload(ObjectSource& objects, std::shared_ptr<const Pod> pod, core::Volume volume,
                                       VolumeKind kind, Allocatable allocatable) {
  const auto& source = volume.volumesource();
  const std::string& ns = pod->metadata().namespace_();
  Payload out;
  Status status;
  if (kind == VolumeKind::kConfigMap) {
    const auto& from = source.configmap();
    status = co_await AddConfigMapNamed(objects, ns, from.localobjectreference().name(), from.items(),
                                        from.has_defaultmode() ? from.defaultmode() : 0644, from.optional(), &out);
  } else if (kind == VolumeKind::kSecret) {
    const auto& from = source.secret();
    status = co_await AddSecretNamed(objects, ns, from.secretname(), from.items(),
                                     from.has_defaultmode() ? from.defaultmode() : 0644, from.optional(), &out);
  } else if (kind == VolumeKind::kDownwardApi) {
    const auto& from = source.downwardapi();
    status = AddDownwardApi(*pod, from.items(), from.has_defaultmode() ? from.defaultmode() : 0644, allocatable, &out);
  } else {
    status = co_await CollectProjected(objects, pod, source.projected(), allocatable, &out);
  }
  if (!status.ok()) co_return status;
  co_return out;
}

}  // namespace skiff::kubelet
