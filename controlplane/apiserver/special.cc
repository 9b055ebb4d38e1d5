// Subresources whose body is not the object itself: binding and token here; scale and eviction in their own files.
#include "api/codec.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/managed_fields.h"
#include "api/patch.h"
#include "api/time.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/reviews.h"
#include "controlplane/apiserver/scale.h"
#include "controlplane/apiserver/server_parts.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/scheduling.pb.h"

namespace skiff::controlplane {
namespace {

namespace authn = ::k8s::io::api::authentication::v1;
namespace core = ::k8s::io::api::core::v1;

constexpr int64_t kMinTokenSeconds = 10 * 60;
constexpr int64_t kMaxTokenSeconds = int64_t{1} << 32;
// The kubelet asks for 3607 seconds when it means "an hour, or longer if clients do not refresh": such tokens live a
// year and carry the time after which their use is reported.
constexpr int64_t kWarnOnlySeconds = 3607;
constexpr int64_t kExtendedSeconds = 365 * 24 * 3600;

// ---- binding ----

Task<Status> ServeBinding(ServerParts& parts, Call& call, std::string name) {
  auto query = ParseWriteQuery(call.request(), "CreateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object =
      DecodeBody(call.request(), *body, api::TypeOpsOf<core::Binding>(), query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  const core::Binding& binding = *object->As<core::Binding>();
  if (name.empty()) name = binding.metadata().name();
  api::FieldErrors errors;
  const api::Path target("target");
  if (!binding.target().kind().empty() && binding.target().kind() != "Node")
    errors.NotSupported(target.Child("kind"), binding.target().kind(), {"Node", "<empty>"});
  if (binding.target().name().empty()) errors.Required(target.Child("name"));
  if (!errors.ok()) {
    // Upstream answers these as plain errors.
    std::string all;
    for (const api::Cause& cause : errors.causes())
      absl::StrAppend(&all, all.empty() ? "" : ", ", cause.field, ": ", cause.message);
    co_return PlainError(errors.causes().size() > 1 ? "[" + all + "]" : all);
  }
  const Kind& pods = parts.kinds.Core("pods");
  UpdateRequest request;
  request.ns = call.info().ns;
  request.name = name;
  request.subresource = "binding";
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated = existing->Clone();
    core::Pod& pod = *updated.As<core::Pod>();
    const api::About about{"", "pods/binding", name};
    if (!binding.metadata().uid().empty() && binding.metadata().uid() != pod.metadata().uid())
      return api::ConflictError({"", "Pod", name},
                                absl::StrCat("Precondition failed: UID in precondition: ", binding.metadata().uid(),
                                             ", UID in object meta: ", pod.metadata().uid()));
    if (pod.metadata().has_deletiontimestamp())
      return api::ConflictError(about, absl::StrCat("pod ", name, " is being deleted, cannot be assigned to a host"));
    if (!pod.spec().nodename().empty())
      return api::ConflictError(
          about, absl::StrCat("pod ", name, " is already assigned to node \"", pod.spec().nodename(), "\""));
    if (pod.spec().schedulinggates_size() > 0)
      return api::ConflictError(about, absl::StrCat("pod ", name, " has non-empty .spec.schedulingGates"));
    pod.mutable_spec()->set_nodename(binding.target().name());
    pod.mutable_status()->clear_nominatednodename();  // where it was to go no longer says anything
    for (const auto& [key, value] : binding.metadata().annotations())
      (*pod.mutable_metadata()->mutable_annotations())[key] = value;
    for (const auto& [key, value] : binding.metadata().labels())
      (*pod.mutable_metadata()->mutable_labels())[key] = value;
    if (binding.target().kind() == "Node") AddTopologyLabels(parts.admission, binding.target().name(), &pod);
    core::PodCondition* scheduled = nullptr;
    for (core::PodCondition& condition : *pod.mutable_status()->mutable_conditions())
      if (condition.type() == "PodScheduled") scheduled = &condition;
    if (!scheduled) scheduled = pod.mutable_status()->add_conditions();
    if (scheduled->status() != "True") *scheduled->mutable_lasttransitiontime() = api::ToTime(call.context.now);
    scheduled->set_type("PodScheduled");
    scheduled->set_status("True");
    scheduled->clear_reason();
    scheduled->clear_message();
    return updated;
  };
  auto result = co_await parts.registry.Update(call.context, pods, std::move(request));
  if (!result.ok()) co_return result.status();
  co_return co_await AnswerSuccess(call, 201);
}

// ---- tokens ----

Task<Status> ServeToken(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "CreateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object =
      DecodeBody(call.request(), *body, api::TypeOpsOf<authn::TokenRequest>(), query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  authn::TokenRequest& request = *object->As<authn::TokenRequest>();
  const std::string ns = call.info().ns, name = call.info().name;
  if (!request.metadata().name().empty() && request.metadata().name() != name)
    co_return api::BadRequestError(
        absl::StrCat("name in URL (", name, ") does not match name in object (", request.metadata().name(), ")"));
  if (!request.metadata().namespace_().empty() && request.metadata().namespace_() != ns)
    co_return api::BadRequestError(
        "the namespace of the provided object does not match the namespace sent on the request");
  auto account = parts.admission.Find<core::ServiceAccount>("serviceaccounts", ns, name);
  if (!account) co_return api::NotFoundError(call.kind.About(name));
  const Attributes attributes{call.kind, Operation::kCreate, "token", ns, name, &*object, nullptr};
  if (Status status = parts.admission.Validate(call.context, attributes); !status.ok()) co_return status;

  auto& spec = *request.mutable_spec();
  if (!spec.has_expirationseconds()) spec.set_expirationseconds(3600);
  api::TrackUpdate(nullptr, &*object, {call.context.field_manager, "token", call.context.now});
  if (spec.audiences_size() == 0)
    for (const std::string& audience : parts.tokens.api_audiences()) spec.add_audiences(audience);
  api::FieldErrors errors;
  const api::Path spec_path("spec");
  const api::Path expiration = spec_path.Child("expirationSeconds");
  if (spec.expirationseconds() < kMinTokenSeconds)
    errors.Invalid(expiration, spec.expirationseconds(), "may not specify a duration less than 10 minutes");
  if (spec.expirationseconds() > kMaxTokenSeconds)
    errors.Invalid(expiration, spec.expirationseconds(), "may not specify a duration larger than 2^32 seconds");
  if (Status status = errors.ToStatus("authentication.k8s.io", "TokenRequest", ""); !status.ok()) co_return status;

  TokenClaims claims;
  claims.ns = ns;
  claims.account = name;
  claims.account_uid = account->metadata().uid();
  for (const std::string& audience : spec.audiences()) claims.audiences.push_back(audience);
  if (spec.has_boundobjectref()) {
    const auto& ref = spec.boundobjectref();
    auto check = [&](const metav1::ObjectMeta& meta) -> Status {
      if (!ref.uid().empty() && ref.uid() != meta.uid())
        return api::ConflictError(
            {"", ref.kind(), ref.name()},
            absl::StrCat("the UID in the bound object reference (", ref.uid(),
                         ") does not match the UID in record. The object might have been deleted and then recreated"));
      return absl::OkStatus();
    };
    if (ref.kind() == "Pod" && ref.apiversion() == "v1") {
      auto pod = parts.admission.Find<core::Pod>("pods", ns, ref.name());
      if (!pod) co_return api::NotFoundError({"", "pods", ref.name()});
      if (pod->spec().serviceaccountname() != name)
        co_return api::BadRequestError(absl::StrCat("cannot bind token for serviceaccount \"", name,
                                                    "\" to pod running with different serviceaccount name."));
      if (Status status = check(pod->metadata()); !status.ok()) co_return status;
      claims.pod = ref.name();
      claims.pod_uid = pod->metadata().uid();
      if (!pod->spec().nodename().empty()) {
        claims.node = pod->spec().nodename();
        if (auto node = parts.admission.Find<core::Node>("nodes", "", claims.node))
          claims.node_uid = node->metadata().uid();
      }
    } else if (ref.kind() == "Node" && ref.apiversion() == "v1") {
      auto node = parts.admission.Find<core::Node>("nodes", "", ref.name());
      if (!node) co_return api::NotFoundError({"", "nodes", ref.name()});
      if (Status status = check(node->metadata()); !status.ok()) co_return status;
      claims.node = ref.name();
      claims.node_uid = node->metadata().uid();
    } else if (ref.kind() == "Secret" && ref.apiversion() == "v1") {
      auto secret = parts.admission.Find<core::Secret>("secrets", ns, ref.name());
      if (!secret) co_return api::NotFoundError({"", "secrets", ref.name()});
      if (Status status = check(secret->metadata()); !status.ok()) co_return status;
      claims.secret = ref.name();
      claims.secret_uid = secret->metadata().uid();
    } else {
      const size_t slash = ref.apiversion().find('/');
      const std::string group = slash == std::string::npos ? "" : ref.apiversion().substr(0, slash);
      const std::string version = slash == std::string::npos ? ref.apiversion() : ref.apiversion().substr(slash + 1);
      co_return api::BadRequestError(
          absl::StrCat("cannot bind token to object of type ", group, "/", version, ", Kind=", ref.kind()));
    }
  }
  claims.issued = std::chrono::duration_cast<std::chrono::seconds>(call.context.now.time_since_epoch()).count();
  claims.expires = claims.issued + spec.expirationseconds();
  const int64_t shown = claims.expires;
  const bool for_api = spec.audiences_size() == 1 && spec.audiences(0) == parts.tokens.api_audiences()[0];
  if (spec.expirationseconds() == kWarnOnlySeconds && !claims.pod.empty() && for_api) {
    claims.warn_after = claims.expires;
    claims.expires = claims.issued + kExtendedSeconds;
  }
  auto token = parts.tokens.Sign(claims);
  if (!token.ok()) co_return api::InternalError("failed to create token");
  metav1::ObjectMeta& meta = *object->mutable_meta();
  meta.set_name(name);
  meta.set_namespace_(ns);
  meta.set_uid(account->metadata().uid());
  *meta.mutable_creationtimestamp() = api::ToTime(call.context.now);
  request.mutable_status()->set_token(*token);
  request.mutable_status()->mutable_expirationtimestamp()->set_seconds(shown);
  co_return co_await Answer(call.exchange, 201, call.output, &call.context,
                            EncodeMessage(request, {"authentication.k8s.io", "v1", "TokenRequest"}, call.output));
}

}  // namespace

Task<Status> AnswerSuccess(Call& call, int code) {
  api::StatusMessage status;
  status.set_status("Success");
  status.set_code(code);
  co_return co_await Answer(call.exchange, code, call.output, &call.context,
                            EncodeMessage(status, {"", "v1", "Status"}, call.output));
}

Task<std::optional<Status>> ServeSpecial(ServerParts& parts, Call& call) {
  const std::string_view group = call.kind.resource->group, plural = call.kind.resource->plural;
  const std::string& sub = call.info().subresource;
  if (group == "authentication.k8s.io" || group == "authorization.k8s.io") co_return co_await ServeReview(parts, call);
  if (plural == "componentstatuses" && group.empty()) co_return co_await ServeComponentStatuses(parts, call);
  if (plural == "bindings" && group.empty()) co_return co_await ServeBinding(parts, call, "");
  if (sub.empty()) co_return std::nullopt;
  if (sub == "scale") co_return co_await ServeScale(parts, call);
  if (plural == "pods" && sub == "binding") co_return co_await ServeBinding(parts, call, call.info().name);
  if (plural == "pods" && sub == "eviction") co_return co_await ServeEviction(parts, call);
  if (plural == "serviceaccounts" && sub == "token") co_return co_await ServeToken(parts, call);
  co_return std::nullopt;
}

}  // namespace skiff::controlplane
