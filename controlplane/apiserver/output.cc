#include "controlplane/apiserver/output.h"

#include "api/codec.h"
#include "api/errors.h"
#include "base/tls.h"
#include "controlplane/apiserver/table.h"

namespace skiff::controlplane {
namespace {

std::string GoTypeOf(const Kind& kind, bool list) {
  if (kind.custom) return list ? "*unstructured.UnstructuredList" : "*unstructured.Unstructured";
  // As Go prints the internal type: "*core.ConfigMap".
  std::string group(kind.resource->group);
  group = group.empty() ? "core" : group.substr(0, group.find('.'));
  return absl::StrCat("*", group, ".", std::string(kind.resource->kind), list ? "List" : "");
}

std::string QuoteWarning(std::string_view text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    // A header line holds no control characters.
    out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  return out + "\"";
}

}  // namespace

std::string EncodeJson(std::string compact, const Output& output) {
  if (output.format == Format::kYaml) {
    auto value = api::ParseJson(compact);
    if (value.ok()) return api::JsonToYaml(*value);
  }
  if (output.pretty) compact = api::IndentJson(compact);
  if (!output.pretty || compact.empty() || compact.back() != '\n') compact.push_back('\n');
  // Indented answers end without a newline, compact ones with one, as upstream's serializers do.
  if (output.pretty) compact.pop_back();
  return compact;
}

std::string EncodeMessage(const google::protobuf::Message& message, const api::GroupVersionKind& gvk,
                          const Output& output) {
  if (output.format == Format::kProtobuf) return api::ToProtobuf(message, gvk);
  if (output.format == Format::kYaml) return api::ToYaml(message, &gvk);
  return EncodeJson(api::ToJson(message, &gvk), output);
}

void AppendPartialJson(const api::Object& object, const Output& output, bool with_kind, std::string* out) {
  out->append("{");
  if (with_kind)
    absl::StrAppend(out, "\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/", output.meta_version,
                    "\",");
  out->append("\"metadata\":");
  api::AppendJson(object.meta(), nullptr, out);
  out->append("}");
}

StatusOr<std::string> EncodeObject(const api::Object& object, const Kind& kind, const Output& output, WallTime now,
                                   std::string_view include_object) {
  switch (output.as) {
    case As::kObject:
      if (output.format == Format::kProtobuf) return object.ToProtobuf();
      if (output.format == Format::kYaml) return object.ToYaml();
      return EncodeJson(object.ToJson(), output);
    case As::kPartial: {
      if (output.format == Format::kProtobuf) {
        metav1::PartialObjectMetadata partial;
        *partial.mutable_metadata() = object.meta();
        return api::ToProtobuf(partial, {"meta.k8s.io", output.meta_version, "PartialObjectMetadata"});
      }
      std::string text;
      AppendPartialJson(object, output, true, &text);
      return EncodeJson(std::move(text), output);
    }
    case As::kPartialList:
      return api::NotAcceptableError(
          absl::StrCat("you requested PartialObjectMetadataList, but the requested object is not a list (",
                       GoTypeOf(kind, false), ")"));
    case As::kTable: {
      TableWriter table(kind, output, include_object, now);
      std::string text;
      table.Begin(object.meta().resourceversion(), "", std::nullopt, &text);
      table.Row(object, &text);
      table.End(&text);
      return EncodeJson(std::move(text), output);
    }
  }
  return api::InternalError("unknown form");
}

http::Headers AnswerHeaders(std::string_view content_type, const Context* context) {
  http::Headers headers;
  headers.Set("Audit-Id", RandomUuid());
  headers.Set("Cache-Control", "no-cache, private");
  headers.Set("Content-Type", content_type);
  if (context)
    for (const std::string& warning : context->warnings) headers.Add("Warning", QuoteWarning(warning));
  return headers;
}

Task<Status> Answer(http::Exchange& exchange, int code, const Output& output, const Context* context,
                    std::string body) {
  co_return co_await exchange.Respond(code, AnswerHeaders(output.media_type(), context), std::move(body));
}

Task<Status> AnswerError(http::Exchange& exchange, const Status& error, const Context* context) {
  const auto& request = exchange.request();
  Output output;
  auto negotiated = Negotiate(request.headers, request.query, false);
  if (negotiated.ok()) output = *negotiated;
  if (!negotiated.ok() && error.message().find("Not Acceptable") == absl::string_view::npos) {
    // Streams that only accept what this is not still get JSON.
    output = Output();
  }
  output.as = As::kObject;
  api::StatusMessage status = api::ToStatusMessage(error);
  if (status.status().empty()) status.set_status("Failure");
  const int code = status.code() > 0 ? status.code() : 500;
  http::Headers headers = AnswerHeaders(output.media_type(), context);
  if (status.details().retryafterseconds() > 0)
    headers.Set("Retry-After", absl::StrCat(status.details().retryafterseconds()));
  if (code == 403) headers.Set("X-Content-Type-Options", "nosniff");
  if (output.format == Format::kProtobuf) {
    // Upstream writes these even where they are empty.
    status.mutable_metadata()->set_selflink("");
    status.mutable_metadata()->set_resourceversion("");
    status.mutable_metadata()->set_continue_("");
  }
  co_return co_await exchange.Respond(code, std::move(headers), EncodeMessage(status, {"", "v1", "Status"}, output));
}

}  // namespace skiff::controlplane
