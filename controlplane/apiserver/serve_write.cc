// create, update, patch, delete and deletecollection.
#include "api/codec.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/managed_fields.h"
#include "api/patch.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/list_options.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"

namespace skiff::controlplane {
namespace {

Task<Status> AnswerObject(Call& call, int code, const api::Object& object) {
  auto body = EncodeObject(object, call.kind, call.output, call.context.now, call.request().query.Get("includeObject"));
  if (!body.ok()) co_return body.status();
  co_return co_await Answer(call.exchange, code, call.output, &call.context, *std::move(body));
}

// The object must live where the path says.
Status CheckNamespace(const Call& call, api::Object* object) {
  if (!call.kind.resource->namespaced) return absl::OkStatus();
  const std::string& ns = object->meta().namespace_();
  if (!ns.empty() && ns != call.info().ns)
    return api::BadRequestError(
        "the namespace of the provided object does not match the namespace sent on the request");
  object->mutable_meta()->set_namespace_(call.info().ns);
  return absl::OkStatus();
}

api::Manager ManagerOf(const Call& call, bool reset = false) {
  return {call.context.field_manager, call.info().subresource, call.context.now,
          call.kind.custom ? &call.kind.custom->schema : nullptr, reset};
}

// A custom resource's status is not written, and so not owned, by who writes the main resource.
void LeaveStatus(const Call& call, const api::Object* existing, api::Object* updated) {
  if (!call.kind.custom || !call.kind.custom->has_status || call.subresource) return;
  updated->mutable_content()->erase("status");
  if (existing && existing->content().contains("status"))
    (*updated->mutable_content())["status"] = existing->content()["status"];
}

// Whether a body asks to forget who owns the fields. Only a body that speaks of it is looked into.
bool AsksForReset(const std::string& body) {
  if (body.find("\"managedFields\"") == std::string::npos) return false;
  const auto document = api::ParseJson(body);
  return document.ok() && document->is_object() && api::ResetsManagedFields(*document);
}

std::string MediaType(const http::Request& request) {
  std::string_view type = request.headers.Get("Content-Type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  return std::string(type);
}

// A change must not move an object.
Status CheckIdentity(const Call& call, const api::Object& object) {
  if (object.meta().name() != call.info().name)
    return api::BadRequestError(absl::StrCat("the name of the object (", object.meta().name(),
                                             ") does not match the name on the URL (", call.info().name, ")"));
  return absl::OkStatus();
}

api::StatusMessage DeletedStatus(const Kind& kind, const api::Object& object) {
  api::StatusMessage status;
  status.set_status("Success");
  auto* details = status.mutable_details();
  details->set_name(object.meta().name());
  details->set_group(std::string(kind.resource->group));
  details->set_kind(std::string(kind.resource->plural));
  details->set_uid(object.meta().uid());
  return status;
}

}  // namespace

Task<Status> ServeCreate(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "CreateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object = DecodeBody(call.request(), *body, call.kind, query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  if (Status status = CheckNamespace(call, &*object); !status.ok()) co_return status;
  LeaveStatus(call, nullptr, &*object);
  api::TrackUpdate(nullptr, &*object, ManagerOf(call));
  auto created = co_await parts.registry.Create(call.context, call.kind, call.info().ns, *std::move(object));
  if (!created.ok()) co_return created.status();
  co_return co_await AnswerObject(call, 201, *created);
}

Task<Status> ServeUpdate(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "UpdateOptions", &call.context);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto object = DecodeBody(call.request(), *body, call.kind, query->field_validation, &call.context);
  if (!object.ok()) co_return object.status();
  if (Status status = CheckNamespace(call, &*object); !status.ok()) co_return status;
  if (object->meta().name().empty()) co_return api::BadRequestError("name is required");
  if (Status status = CheckIdentity(call, *object); !status.ok()) co_return status;
  UpdateRequest request;
  request.ns = call.info().ns;
  request.name = call.info().name;
  request.subresource = call.info().subresource;
  request.put = true;
  request.precondition_uid = object->meta().uid();
  const bool reset = AsksForReset(*body);
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated = object->Clone();
    LeaveStatus(call, existing, &updated);
    api::TrackUpdate(existing, &updated, ManagerOf(call, reset));
    return updated;
  };
  auto result = co_await parts.registry.Update(call.context, call.kind, std::move(request));
  if (!result.ok()) co_return result.status();
  co_return co_await AnswerObject(call, result->created ? 201 : 200, result->object);
}

Task<Status> ServePatch(ServerParts& parts, Call& call) {
  auto query = ParseWriteQuery(call.request(), "PatchOptions", &call.context);
  if (!query.ok()) co_return query.status();
  const std::string media = MediaType(call.request());
  const bool apply = media == api::kApplyPatchType;
  if (!apply && media != api::kJsonPatchType && media != api::kMergePatchType && media != api::kStrategicMergePatchType)
    co_return WithDetails(api::UnsupportedMediaTypeError("415: Unsupported Media Type"));
  if (call.kind.custom && media == api::kStrategicMergePatchType)
    co_return api::UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml");
  api::FieldErrors errors;
  if (apply && call.request().query.Get("fieldManager").empty())
    errors.Required(api::Path("fieldManager"), "is required for apply patch");
  if (!apply && call.request().query.Has("force"))
    errors.Forbidden(api::Path("force"), "may not be specified for non-apply patch");
  if (Status status = errors.ToStatus("meta.k8s.io", "PatchOptions", ""); !status.ok()) co_return status;
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();

  api::json applied;
  api::FieldProblems document_problems;
  if (apply) {
    auto text = api::YamlToJson(*body, &document_problems);
    if (!text.ok())
      co_return api::BadRequestError(absl::StrCat("error decoding YAML: ", std::string(text.status().message())));
    auto document = api::ParseJson(*text);
    if (!document.ok() || !document->is_object()) co_return api::BadRequestError("error decoding YAML: not an object");
    applied = *std::move(document);
    auto text_of = [&](const char* name) {
      const auto it = applied.find(name);
      return it != applied.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    const auto version = api::GroupVersion::Parse(text_of("apiVersion"));
    if (!version.ok() || *version != call.kind.gvk().group_version() || text_of("kind") != call.kind.gvk().kind)
      co_return api::BadRequestError(absl::StrCat("invalid object type: ", version.ok() ? version->group : "", "/",
                                                  version.ok() ? version->version : "", ", Kind=", text_of("kind")));
    if (const auto meta = applied.find("metadata"); meta != applied.end() && meta->is_object() &&
                                                    meta->contains("managedFields") &&
                                                    !(*meta)["managedFields"].is_null())
      co_return api::BadRequestError("metadata.managedFields must be nil");
  }
  bool reported = false;
  const bool reset = !apply && AsksForReset(*body);
  UpdateRequest request;
  request.ns = call.info().ns;
  request.name = call.info().name;
  request.subresource = call.info().subresource;
  request.allow_create = apply && call.subresource == nullptr;
  request.change = [&](const api::Object* existing) -> StatusOr<api::Object> {
    api::Object updated;
    api::FieldProblems problems = document_problems;
    if (apply) {
      ASSIGN_OR_RETURN(updated, api::ServerSideApply(existing, applied, call.kind.type, ManagerOf(call), query->force));
      if (updated.meta().name().empty()) updated.mutable_meta()->set_name(call.info().name);
      if (!existing) updated.mutable_meta()->set_namespace_(call.info().ns);
    } else {
      const bool strict = query->field_validation == FieldValidation::kStrict;
      ASSIGN_OR_RETURN(updated, api::PatchObject(*existing, media, *body, &problems, strict));
    }
    if (call.kind.custom) {
      if (updated.gvk().group_version() != call.kind.gvk().group_version())
        return api::BadRequestError("the API version in the data does not match the expected API version");
      call.kind.custom->Normalize(&updated, &problems);
    }
    if (!reported) {
      reported = true;
      RETURN_IF_ERROR(Report(problems, query->field_validation, call.kind.gvk(), &call.context));
    }
    api::SetDefaults(&updated);
    RETURN_IF_ERROR(CheckIdentity(call, updated));
    RETURN_IF_ERROR(CheckNamespace(call, &updated));
    if (!apply) api::TrackUpdate(existing, &updated, ManagerOf(call, reset));
    return updated;
  };
  auto result = co_await parts.registry.Update(call.context, call.kind, std::move(request));
  if (!result.ok()) co_return result.status();
  co_return co_await AnswerObject(call, result->created ? 201 : 200, result->object);
}

namespace {

// DeleteOptions from the body, else from the query.
StatusOr<metav1::DeleteOptions> DeleteOptionsOf(const Call& call, const std::string& body) {
  metav1::DeleteOptions options;
  const http::Query& query = call.request().query;
  if (body.empty()) {
    if (query.Has("gracePeriodSeconds"))
      options.set_graceperiodseconds(atoll(std::string(query.Get("gracePeriodSeconds")).c_str()));
    if (query.Has("propagationPolicy")) options.set_propagationpolicy(std::string(query.Get("propagationPolicy")));
    if (query.Has("orphanDependents")) options.set_orphandependents(query.Get("orphanDependents") == "true");
    for (const std::string& value : query.All("dryRun")) options.add_dryrun(value);
    return options;
  }
  RETURN_IF_ERROR(DecodeOptions(call.request(), body, &options, "DeleteOptions"));
  return options;
}

Status TakeDryRun(const metav1::DeleteOptions& options, Context* context) {
  RETURN_IF_ERROR(ValidateDeleteOptions(options));
  if (options.dryrun_size() > 0) context->dry_run = true;
  return absl::OkStatus();
}

}  // namespace

Task<Status> ServeDelete(ServerParts& parts, Call& call) {
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto options = DeleteOptionsOf(call, *body);
  if (!options.ok()) co_return options.status();
  if (Status status = TakeDryRun(*options, &call.context); !status.ok()) co_return status;
  auto result = co_await parts.registry.Delete(call.context, call.kind, call.info().ns, call.info().name, *options);
  if (!result.ok()) co_return result.status();
  if (result->deleted && !call.kind.strategy->traits().return_deleted) {
    Output output = call.output;
    output.as = As::kObject;
    co_return co_await Answer(call.exchange, 200, output, &call.context,
                              EncodeMessage(DeletedStatus(call.kind, result->object), {"", "v1", "Status"}, output));
  }
  co_return co_await AnswerObject(call, 200, result->object);
}

Task<Status> ServeDeleteCollection(ServerParts& parts, Call& call) {
  auto query = ListQuery::Parse(call.request().query, call.kind, false);
  if (!query.ok()) co_return query.status();
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  auto options = DeleteOptionsOf(call, *body);
  if (!options.ok()) co_return options.status();
  if (Status status = TakeDryRun(*options, &call.context); !status.ok()) co_return status;
  auto listed = co_await parts.store.List({.prefix = call.kind.Prefix(call.info().ns)});
  if (!listed.ok()) co_return api::InternalError(std::string(listed.status().message()));
  metav1::ListMeta meta;
  meta.set_resourceversion(absl::StrCat(listed->revision));
  std::vector<api::Object> objects;
  for (const StoredEntry& entry : listed->entries) {
    auto object = call.kind.Decode(entry);
    if (!object.ok()) co_return api::InternalError(std::string(object.status().message()));
    if (query->Matches(call.kind, *object)) objects.push_back(*std::move(object));
  }
  for (const api::Object& object : objects) {
    const std::string ns = object.meta().namespace_(), name = object.meta().name();
    auto result = co_await parts.registry.Delete(call.context, call.kind, ns, name, *options);
    if (!result.ok() && api::ReasonOf(result.status()) != "NotFound") co_return result.status();
  }
  Output output = call.output;
  output.as = As::kObject;
  const std::string version = call.kind.resource->gvk().group_version().ToString();
  if (output.format == Format::kProtobuf && call.kind.type && call.kind.type->list) {
    auto list = call.kind.type->list->New();
    *call.kind.type->list->mutable_list_meta(list.get()) = meta;
    for (const api::Object& object : objects) call.kind.type->list->add_item(list.get())->CopyFrom(*object.message());
    co_return co_await Answer(call.exchange, 200, output, &call.context,
                              EncodeMessage(*list, call.kind.type->list->gvk(), output));
  }
  std::string text =
      absl::StrCat("{\"kind\":\"", call.kind.ListKind(), "\",\"apiVersion\":\"", version, "\",\"metadata\":");
  api::AppendJson(meta, nullptr, &text);
  text.append(",\"items\":[");
  for (size_t i = 0; i < objects.size(); ++i) {
    if (i > 0) text.push_back(',');
    if (objects[i].is_custom())
      objects[i].AppendJson(&text);
    else
      api::AppendJson(*objects[i].message(), nullptr, &text);
  }
  text.append("]}");
  co_return co_await Answer(call.exchange, 200, output, &call.context, EncodeJson(std::move(text), output));
}

}  // namespace skiff::controlplane
