#include "controlplane/apiserver/body.h"

#include <algorithm>

#include "api/codec.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/managed_fields.h"
#include "controlplane/apiserver/custom/custom_type.h"

namespace skiff::controlplane {
namespace {

// application/json from "application/json; charset=utf-8".
std::string MediaType(const http::Request& request) {
  std::string_view type = request.headers.Get("Content-Type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  return std::string(type);
}

std::string Shown(const std::string& body) {
  if (body.empty()) return "<empty>";
  return body.size() > 1024 ? body.substr(0, 1024) + "... [truncated]" : body;
}

Status CannotHandle(const std::string& kind, const std::string& version, std::string_view as, std::string_view why) {
  return api::BadRequestError(absl::StrCat(kind, " in version \"", version, "\" cannot be handled as a ",
                                           std::string(as), ": ", std::string(why)));
}

// "v1.Secret" and "core.Secret", as Go names the versioned and the internal type.
std::string InternalName(std::string_view group, std::string_view kind) {
  std::string name(group);
  name = name.empty() ? "core" : name.substr(0, name.find('.'));
  return absl::StrCat(name, ".", std::string(kind));
}

Status UnsupportedMedia() {
  return api::UnsupportedMediaTypeError(
      "the body of the request was in an unknown format - accepted media types include: application/json, "
      "application/yaml, application/vnd.kubernetes.protobuf");
}

// Whether the body's own kind may be read as the path's.
Status CheckKind(api::GroupVersionKind* gvk, const api::TypeOps& type) {
  if (gvk->kind.empty()) gvk->kind = std::string(type.kind);
  if (gvk->version.empty()) {
    gvk->group = std::string(type.group);
    gvk->version = std::string(type.version);
  }
  if (*gvk == type.gvk()) return absl::OkStatus();
  const api::TypeOps* found = api::TypeOf(*gvk);
  const std::string version = gvk->group_version().ToString();
  if (!found)
    return CannotHandle(gvk->kind, gvk->version, type.kind,
                        absl::StrCat("no kind \"", gvk->kind, "\" is registered for version \"", version,
                                     "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""));
  if (gvk->kind == type.kind && gvk->group == type.group)
    return api::BadRequestError(absl::StrCat("the API version in the data (", version,
                                             ") does not match the expected API version (",
                                             type.gvk().group_version().ToString(), ")"));
  return CannotHandle(gvk->kind, gvk->version, type.kind,
                      absl::StrCat("converting (", gvk->version, ".", gvk->kind, ") to (",
                                   InternalName(type.group, type.kind), "): unknown conversion"));
}

}  // namespace

Task<StatusOr<std::string>> ReadWhole(http::Exchange& exchange) {
  auto body = co_await exchange.ReadBody(kMaxBody);
  if (absl::IsResourceExhausted(body.status()))
    co_return api::RequestTooLargeError(absl::StrCat("limit is ", kMaxBody));
  co_return std::move(body);
}

void ValidateDryRun(const std::vector<std::string>& asked, api::FieldErrors* errors) {
  if (std::all_of(asked.begin(), asked.end(), [](const std::string& value) { return value == "All"; })) return;
  std::string printed;
  api::AppendJson(api::json(asked), &printed);
  errors->NotSupportedRaw(api::Path("dryRun"), printed, {"All"});
}

StatusOr<WriteQuery> ParseWriteQuery(const http::Request& request, const std::string& options, Context* context) {
  WriteQuery out;
  api::FieldErrors errors;
  std::vector<std::string> dry_run;
  for (const std::string& value : request.query.All("dryRun"))
    if (!value.empty()) dry_run.push_back(value);
  ValidateDryRun(dry_run, &errors);
  if (!dry_run.empty()) context->dry_run = true;
  const std::string_view validation = request.query.Get("fieldValidation");
  if (validation == "Strict")
    out.field_validation = FieldValidation::kStrict;
  else if (validation == "Ignore")
    out.field_validation = FieldValidation::kIgnore;
  else if (!validation.empty() && validation != "Warn")
    errors.NotSupported(api::Path("fieldValidation"), validation, {"", "Ignore", "Strict", "Warn"});
  const std::string_view manager = request.query.Get("fieldManager");
  if (manager.size() > 128) errors.TooLong(api::Path("fieldManager"), 128);
  context->field_manager = std::string(manager);
  if (context->field_manager.empty())
    context->field_manager = api::ManagerFromUserAgent(request.headers.Get("User-Agent"));
  const std::string_view force = request.query.Get("force");
  out.force = force == "true" || force == "1";
  RETURN_IF_ERROR(errors.ToStatus("meta.k8s.io", options, ""));
  return out;
}

Status Report(const api::FieldProblems& problems, FieldValidation validation, const api::GroupVersionKind& gvk,
              Context* context) {
  if (problems.empty() || validation == FieldValidation::kIgnore) return absl::OkStatus();
  if (validation == FieldValidation::kWarn) {
    for (const std::string& problem : problems) context->warnings.push_back(problem);
    return absl::OkStatus();
  }
  return CannotHandle(gvk.kind, gvk.version, gvk.kind, std::string(api::StrictDecodingError(problems).message()));
}

StatusOr<api::Object> DecodeBody(const http::Request& request, const std::string& body, const api::TypeOps& type,
                                 FieldValidation validation, Context* context) {
  const std::string media = MediaType(request);
  std::unique_ptr<google::protobuf::Message> message = type.New();
  api::GroupVersionKind gvk;
  if (media == api::kProtobufType) {
    auto envelope = api::ParseEnvelope(body);
    if (!envelope.ok())
      return api::BadRequestError(absl::StrCat("the object provided is unrecognized (must be of type ",
                                               std::string(type.kind),
                                               "): ", std::string(envelope.status().message())));
    gvk = envelope->gvk;
    RETURN_IF_ERROR(CheckKind(&gvk, type));
    Status status = api::FromProtobuf(body, message.get());
    if (!status.ok()) return CannotHandle(gvk.kind, gvk.version, type.kind, std::string(status.message()));
    api::Normalize(message.get());
  } else if (media.empty() || media == api::kJsonType || media == api::kYamlType) {
    std::string text = body;
    api::FieldProblems problems;
    if (media == api::kYamlType) {
      auto converted = api::YamlToJson(body, &problems);
      if (!converted.ok())
        return api::BadRequestError(absl::StrCat(
            "the object provided is unrecognized (must be of type ", std::string(type.kind),
            "): couldn't get version/kind; json parse error: ", std::string(converted.status().message())));
      text = *std::move(converted);
    }
    auto peeked = api::PeekJson(text);
    if (!peeked.ok())
      return api::BadRequestError(absl::StrCat("the object provided is unrecognized (must be of type ",
                                               std::string(type.kind), "): ", std::string(peeked.status().message()),
                                               " (", Shown(body), ")"));
    gvk = *std::move(peeked);
    RETURN_IF_ERROR(CheckKind(&gvk, type));
    Status status = api::FromJson(std::string_view(text), message.get(), nullptr, &problems);
    if (!status.ok()) return CannotHandle(gvk.kind, gvk.version, type.kind, std::string(status.message()));
    RETURN_IF_ERROR(Report(problems, validation, type.gvk(), context));
  } else {
    return UnsupportedMedia();
  }
  api::SetDefaults(message.get());
  return api::Object(type, std::move(message));
}

StatusOr<api::Object> DecodeBody(const http::Request& request, const std::string& body, const Kind& kind,
                                 FieldValidation validation, Context* context) {
  if (!kind.custom) return DecodeBody(request, body, *kind.type, validation, context);
  const std::string media = MediaType(request);
  if (!media.empty() && media != api::kJsonType && media != api::kYamlType)
    return api::UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml");
  std::string text = body;
  api::FieldProblems problems;
  auto unreadable = [&](std::string_view why) {
    return api::BadRequestError(absl::StrCat("the object provided is unrecognized (must be of type ", kind.gvk().kind,
                                             "): ", std::string(why), " (", Shown(body), ")"));
  };
  if (media == api::kYamlType) {
    auto converted = api::YamlToJson(body, &problems);
    if (!converted.ok()) return unreadable(std::string(converted.status().message()));
    text = *std::move(converted);
  }
  auto document = api::ParseJson(text, &problems);
  if (!document.ok())
    return unreadable(
        absl::StrCat("couldn't get version/kind; json parse error: ", std::string(document.status().message())));
  if (!document->is_object() || !document->contains("kind") || !(*document)["kind"].is_string() ||
      (*document)["kind"] == "")
    return unreadable(absl::StrCat("Object 'Kind' is missing in '", Shown(body), "'"));
  const auto version = document->find("apiVersion");
  const std::string given = version != document->end() && version->is_string() ? version->get<std::string>() : "";
  const std::string expected = kind.gvk().group_version().ToString();
  if (given != expected)
    return api::BadRequestError(absl::StrCat("the API version in the data (", given.empty() ? "/" : given,
                                             ") does not match the expected API version (", expected, ")"));
  auto object = kind.custom->FromDocument(*std::move(document), &problems);
  if (!object.ok())
    return CannotHandle(kind.gvk().kind, kind.gvk().version, kind.gvk().kind, std::string(object.status().message()));
  RETURN_IF_ERROR(Report(problems, validation, kind.gvk(), context));
  return object;
}

Status DecodeOptions(const http::Request& request, const std::string& body, google::protobuf::Message* out,
                     std::string_view kind) {
  if (body.empty()) return absl::OkStatus();
  const std::string media = MediaType(request);
  Status status;
  if (media == api::kProtobufType) {
    status = api::FromProtobuf(body, out);
  } else if (media.empty() || media == api::kJsonType) {
    status = api::FromJson(std::string_view(body), out);
  } else if (media == api::kYamlType) {
    auto text = api::YamlToJson(body);
    status = text.ok() ? api::FromJson(std::string_view(*text), out) : text.status();
  } else {
    return UnsupportedMedia();
  }
  if (!status.ok())
    return api::BadRequestError(absl::StrCat(std::string(kind), " in version \"v1\" cannot be handled as a ",
                                             std::string(kind), ": ", std::string(status.message())));
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
