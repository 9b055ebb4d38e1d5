#include "controlplane/apiserver/scale.h"

#include "api/codec.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/json_number.h"
#include "api/managed_fields.h"
#include "api/patch.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v1/generated.pb.h"
#include "k8s/io/api/core/v1/replication_controller.pb.h"

namespace skiff::controlplane {
namespace {

namespace apps = ::k8s::io::api::apps::v1;
namespace autoscaling = ::k8s::io::api::autoscaling::v1;
namespace core = ::k8s::io::api::core::v1;

const api::GroupVersionKind kScale{"autoscaling", "v1", "Scale"};

StatusOr<autoscaling::Scale> ScaleOf(const Kind& kind, const api::Object& object) {
  autoscaling::Scale scale;
  metav1::ObjectMeta& meta = *scale.mutable_metadata();
  meta.set_name(object.meta().name());
  meta.set_namespace_(object.meta().namespace_());
  meta.set_uid(object.meta().uid());
  meta.set_resourceversion(object.meta().resourceversion());
  *meta.mutable_creationtimestamp() = object.meta().creationtimestamp();
  auto fill = [&](const auto& workload) {
    scale.mutable_spec()->set_replicas(workload.spec().replicas());
    scale.mutable_status()->set_replicas(workload.status().replicas());
    scale.mutable_status()->set_selector(
        SelectorText(workload.spec().has_selector() ? &workload.spec().selector() : nullptr));
  };
  if (kind.custom) {
    auto number = [&](const std::optional<CustomType::NamedPath>& at) -> int32_t {
      const auto found = at ? at->path.Find(object.content()) : std::vector<const api::json*>();
      return !found.empty() ? static_cast<int32_t>(std::clamp<int64_t>(api::IntegerOf(*found[0]), INT32_MIN, INT32_MAX))
                            : 0;
    };
    scale.mutable_spec()->set_replicas(number(kind.custom->spec_replicas));
    scale.mutable_status()->set_replicas(number(kind.custom->status_replicas));
    if (kind.custom->label_selector)
      if (const auto found = kind.custom->label_selector->path.Find(object.content());
          !found.empty() && found[0]->is_string())
        scale.mutable_status()->set_selector(found[0]->get<std::string>());
  } else if (const auto* deployment = object.As<apps::Deployment>()) {
    fill(*deployment);
  } else if (const auto* replica_set = object.As<apps::ReplicaSet>()) {
    fill(*replica_set);
  } else if (const auto* stateful_set = object.As<apps::StatefulSet>()) {
    fill(*stateful_set);
  } else if (const auto* controller = object.As<core::ReplicationController>()) {
    scale.mutable_spec()->set_replicas(controller->spec().replicas());
    scale.mutable_status()->set_replicas(controller->status().replicas());
    scale.mutable_status()->set_selector(LabelsText(controller->spec().selector()));
  } else {
    return api::InternalError("no scale for this kind");
  }
  return scale;
}

void SetReplicas(const Kind& kind, api::Object* object, int32_t replicas) {
  if (kind.custom) {
    kind.custom->spec_replicas->path.Set(object->mutable_content(), replicas);
    return;
  }
  if (auto* deployment = object->As<apps::Deployment>()) deployment->mutable_spec()->set_replicas(replicas);
  if (auto* replica_set = object->As<apps::ReplicaSet>()) replica_set->mutable_spec()->set_replicas(replicas);
  if (auto* stateful_set = object->As<apps::StatefulSet>()) stateful_set->mutable_spec()->set_replicas(replicas);
  if (auto* controller = object->As<core::ReplicationController>()) controller->mutable_spec()->set_replicas(replicas);
}

Task<Status> AnswerScale(Call& call, const api::Object& object) {
  auto scale = ScaleOf(call.kind, object);
  if (!scale.ok()) co_return scale.status();
  co_return co_await Answer(call.exchange, 200, call.output, &call.context, EncodeMessage(*scale, kScale, call.output));
}

}  // namespace

Task<Status> ServeScale(ServerParts& parts, Call& call) {
  const std::string ns = call.info().ns, name = call.info().name;
  if (call.info().verb == "get") {
    auto object = co_await parts.registry.Get(call.kind, ns, name);
    if (!object.ok()) co_return object.status();
    co_return co_await AnswerScale(call, *object);
  }
  const bool patch = call.info().verb == "patch";
  auto query = ParseWriteQuery(call.request(), patch ? "PatchOptions" : "UpdateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  std::string_view media = call.request().headers.Get("Content-Type");
  media = media.substr(0, media.find(';'));
  api::Object wanted;
  if (!patch) {
    auto decoded =
        DecodeBody(call.request(), *body, api::TypeOpsOf<autoscaling::Scale>(), query->field_validation, &call.context);
    if (!decoded.ok()) co_return decoded.status();
    wanted = *std::move(decoded);
  } else if (media == api::kApplyPatchType) {
    co_return WithDetails(api::UnsupportedMediaTypeError("415: Unsupported Media Type"));
  }
  UpdateRequest request;
  request.ns = ns;
  request.name = name;
  request.subresource = "scale";
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    ASSIGN_OR_RETURN(autoscaling::Scale current, ScaleOf(call.kind, *existing));
    api::Object patched;
    const autoscaling::Scale* scale = wanted.As<autoscaling::Scale>();
    if (patch) {
      ASSIGN_OR_RETURN(patched, api::PatchObject(api::Object::Of(current), media, *body));
      scale = patched.As<autoscaling::Scale>();
    }
    if (!scale->metadata().name().empty() && scale->metadata().name() != name)
      return api::BadRequestError(absl::StrCat("the name of the object (", scale->metadata().name(),
                                               ") does not match the name on the URL (", name, ")"));
    if (scale->spec().replicas() < 0) {
      api::FieldErrors errors;
      errors.Invalid(api::Path("spec").Child("replicas"), int64_t{scale->spec().replicas()},
                     "must be greater than or equal to 0");
      return errors.ToStatus("autoscaling", "Scale", name);
    }
    if (!scale->metadata().resourceversion().empty() &&
        scale->metadata().resourceversion() != existing->meta().resourceversion())
      return api::ConflictError(call.kind.About(name), kModifiedMessage);
    api::Object updated = existing->Clone();
    SetReplicas(call.kind, &updated, scale->spec().replicas());
    api::TrackUpdate(existing, &updated,
                     {call.context.field_manager, "scale", call.context.now,
                      call.kind.custom ? &call.kind.custom->schema : nullptr});
    return updated;
  };
  auto result = co_await parts.registry.Update(call.context, call.kind, std::move(request));
  if (!result.ok()) co_return result.status();
  co_return co_await AnswerScale(call, result->object);
}

}  // namespace skiff::controlplane
