#include "controlplane/apiserver/reviews.h"

#include "api/errors.h"
#include "api/field_errors.h"
#include "api/managed_fields.h"
#include "api/time.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/output.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/authorization/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace authn = ::k8s::io::api::authentication::v1;
namespace authz = ::k8s::io::api::authorization::v1;

void FillUser(const User& user, authn::UserInfo* out) {
  out->set_username(user.name);
  out->set_uid(user.uid);
  for (const std::string& group : user.groups) out->add_groups(group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) (*out->mutable_extra())[key].add_items(value);
}

// What a review asks about.
template <typename Spec>
Access AccessOf(const Spec& spec) {
  Access access;
  if (spec.has_nonresourceattributes()) {
    access.is_resource = false;
    access.verb = spec.nonresourceattributes().verb();
    access.path = spec.nonresourceattributes().path();
    return access;
  }
  const auto& attributes = spec.resourceattributes();
  access.verb = attributes.verb();
  access.group = attributes.group();
  access.version = attributes.version();
  access.resource = attributes.resource();
  access.subresource = attributes.subresource();
  access.ns = attributes.namespace_();
  access.name = attributes.name();
  if (attributes.has_fieldselector()) {
    for (const auto& requirement : attributes.fieldselector().requirements())
      if (requirement.operator_() == "In" && requirement.values_size() == 1)
        absl::StrAppend(&access.field_selector, access.field_selector.empty() ? "" : ",", requirement.key(), "=",
                        requirement.values(0));
    if (access.field_selector.empty()) access.field_selector = attributes.fieldselector().rawselector();
  }
  return access;
}

template <typename Spec>
void CheckAttributes(const Spec& spec, api::FieldErrors* errors) {
  const api::Path path("spec");
  if (spec.has_resourceattributes() && spec.has_nonresourceattributes())
    errors->InvalidRaw(
        path.Child("nonResourceAttributes"),
        api::json({{"Path", spec.nonresourceattributes().path()}, {"Verb", spec.nonresourceattributes().verb()}})
            .dump(),
        "cannot be specified in combination with resourceAttributes");
  if (!spec.has_resourceattributes() && !spec.has_nonresourceattributes())
    errors->InvalidRaw(path.Child("resourceAttributes"), "null",
                       "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

template <typename T>
void Decide(const ServerParts& parts, const User& user, T* review) {
  const Decision decision = parts.authorizer.Authorize(user, AccessOf(review->spec()));
  review->mutable_status()->set_allowed(decision.allowed);
  if (!decision.reason.empty()) review->mutable_status()->set_reason(decision.reason);
}

User SubjectOf(const authz::SubjectAccessReviewSpec& spec) {
  User user{spec.user(), spec.uid(), {}, {}};
  for (const std::string& group : spec.groups()) user.groups.push_back(group);
  for (const auto& [key, values] : spec.extra())
    for (const std::string& value : values.items()) user.extra[key].push_back(value);
  return user;
}

void CheckSubject(const authz::SubjectAccessReviewSpec& spec, api::FieldErrors* errors) {
  CheckAttributes(spec, errors);
  if (spec.user().empty() && spec.groups_size() == 0)
    errors->InvalidRaw(api::Path("spec").Child("user"), "\"\"", "at least one of user or group must be specified");
}

void AnswerRules(const ServerParts& parts, const User& user, authz::SelfSubjectRulesReview* review) {
  auto* status = review->mutable_status();
  if (user.InGroup(kMasters)) {
    auto* all = status->add_resourcerules();
    all->add_verbs("*");
    all->add_apigroups("*");
    all->add_resources("*");
    auto* paths = status->add_nonresourcerules();
    paths->add_verbs("*");
    paths->add_nonresourceurls("*");
  }
  parts.authorizer.VisitRules(user, review->spec().namespace_(), [&](const auto& rule, const std::string&) {
    if (rule.resources_size() > 0) {
      auto* out = status->add_resourcerules();
      *out->mutable_verbs() = rule.verbs();
      *out->mutable_apigroups() = rule.apigroups();
      *out->mutable_resources() = rule.resources();
      *out->mutable_resourcenames() = rule.resourcenames();
    }
    if (rule.nonresourceurls_size() > 0) {
      auto* out = status->add_nonresourcerules();
      *out->mutable_verbs() = rule.verbs();
      *out->mutable_nonresourceurls() = rule.nonresourceurls();
    }
    return true;
  });
  status->set_incomplete(false);
  if (user.InGroup(kNodesGroup)) {
    // The node authorizer cannot list what it grants.
    status->set_incomplete(true);
    status->set_evaluationerror("node authorizer does not support user rule resolution");
  }
}

}  // namespace

Task<Status> ServeReview(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "CreateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object = DecodeBody(call.request(), *body, *call.kind.type, query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  object->mutable_meta()->clear_namespace_();
  if (!call.info().ns.empty()) object->mutable_meta()->set_namespace_(call.info().ns);
  api::TrackUpdate(nullptr, &*object, {call.context.field_manager, "", call.context.now});
  api::FieldErrors errors;

  if (auto* review = object->As<authn::TokenReview>()) {
    if (review->spec().token().empty())
      co_return api::BadRequestError("token is required for TokenReview in authentication");
    std::vector<std::string> audiences(review->spec().audiences().begin(), review->spec().audiences().end());
    auto verified = parts.authenticator.AuthenticateToken(review->spec().token(), audiences, call.context.now);
    auto* status = review->mutable_status();
    status->mutable_user();
    if (verified.ok()) {
      status->set_authenticated(true);
      FillUser(verified->user, status->mutable_user());
      for (const std::string& audience : verified->audiences) status->add_audiences(audience);
    } else {
      status->set_error(std::string(verified.status().message()));
    }
  } else if (auto* self = object->As<authn::SelfSubjectReview>()) {
    *self->mutable_metadata() = metav1::ObjectMeta();
    *self->mutable_metadata()->mutable_creationtimestamp() = api::ToTime(call.context.now);
    FillUser(call.context.user, self->mutable_status()->mutable_userinfo());
  } else if (auto* access = object->As<authz::SelfSubjectAccessReview>()) {
    CheckAttributes(access->spec(), &errors);
    if (errors.ok()) Decide(parts, call.context.user, access);
  } else if (auto* subject = object->As<authz::SubjectAccessReview>()) {
    CheckSubject(subject->spec(), &errors);
    if (errors.ok()) Decide(parts, SubjectOf(subject->spec()), subject);
  } else if (auto* local = object->As<authz::LocalSubjectAccessReview>()) {
    CheckSubject(local->spec(), &errors);
    if (errors.ok() && local->spec().has_resourceattributes() &&
        local->spec().resourceattributes().namespace_() != call.info().ns)
      errors.Invalid(api::Path("spec").Child("resourceAttributes").Child("namespace"),
                     std::string_view(local->spec().resourceattributes().namespace_()),
                     "must match metadata.namespace");
    if (errors.ok()) Decide(parts, SubjectOf(local->spec()), local);
  } else if (auto* rules = object->As<authz::SelfSubjectRulesReview>()) {
    if (rules->spec().namespace_().empty()) co_return api::BadRequestError("no namespace on request");
    AnswerRules(parts, call.context.user, rules);
    // The answer holds the rules alone.
    *rules->mutable_metadata() = metav1::ObjectMeta();
    rules->mutable_spec()->clear_namespace_();
  } else {
    co_return api::InternalError("unknown review");
  }
  // Upstream leaves the kind out of these errors.
  if (Status status = errors.ToStatus(call.kind.resource->group, "", ""); !status.ok()) co_return status;
  co_return co_await Answer(call.exchange, 201, call.output, &call.context,
                            EncodeMessage(*object->message(), call.kind.type->gvk(), call.output));
}

}  // namespace skiff::controlplane
