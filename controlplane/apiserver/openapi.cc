#include "controlplane/apiserver/openapi.h"

#include "api/codec.h"
#include "api/errors.h"
#include "base/tls.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/openapi_schema.h"
#include "controlplane/apiserver/output.h"

namespace skiff::controlplane {
namespace {

std::string PathOf(const api::Resource& resource) {
  return resource.group.empty()
             ? absl::StrCat("api/", std::string(resource.version))
             : absl::StrCat("apis/", std::string(resource.group), "/", std::string(resource.version));
}

// A custom resource's paths and schemas. References go by the reversed group: com.example.v1.Widget.
void AppendCustom(const Kind& kind, SchemaWriter* schemas, std::string* paths, std::string* out) {
  const auto* meta = metav1::ObjectMeta::descriptor();
  const auto* list_meta = metav1::ListMeta::descriptor();
  schemas->Need(meta);
  schemas->Need(list_meta);
  AppendPaths(kind, /*v3=*/true, schemas, paths);
  const api::json gvk = {{{"group", kind.gvk().group}, {"version", kind.gvk().version}, {"kind", kind.gvk().kind}}};
  api::json schema = kind.custom->schema;
  const api::json text = {{"type", "string"}};
  schema["properties"]["apiVersion"] = text;
  schema["properties"]["kind"] = text;
  schema["properties"]["metadata"] = {{"allOf", {{{"$ref", schemas->Reference(meta)}}}},
                                      {"default", api::json::object()}};
  schema["x-kubernetes-group-version-kind"] = gvk;
  api::json list = {{"type", "object"}, {"required", {"items"}}, {"x-kubernetes-group-version-kind", gvk}};
  list["x-kubernetes-group-version-kind"][0]["kind"] = kind.ListKind();
  list["properties"] = {{"apiVersion", text},
                        {"kind", text},
                        {"metadata", {{"$ref", schemas->Reference(list_meta)}}},
                        {"items", {{"type", "array"}, {"items", {{"$ref", CustomReference(kind, false)}}}}}};
  for (const bool is_list : {false, true}) {
    out->push_back(',');
    api::AppendJsonString(CustomReference(kind, is_list).substr(std::string_view("#/components/schemas/").size()), out);
    out->push_back(':');
    api::AppendJson(is_list ? list : schema, out);
  }
}

std::string UpperHash(const std::string& text) {
  std::string hash = HexEncode(Sha256(text));
  for (char& c : hash) c = static_cast<char>(toupper(c));
  return hash;
}

}  // namespace

std::string OpenApi::V3Json(const std::string& path) const {
  SchemaWriter schemas("#/components/schemas/");
  std::string paths;
  for (const auto& kind : kinds_.all()) {
    if (PathOf(*kind->resource) != path) continue;
    AppendPaths(*kind, /*v3=*/true, &schemas, &paths);
    schemas.Need(kind->type->prototype().GetDescriptor());
    if (kind->type->list) schemas.Need(kind->type->list->prototype().GetDescriptor());
  }
  std::string custom;
  for (const auto& kind : kinds_.custom())
    if (PathOf(*kind->resource) == path) AppendCustom(*kind, &schemas, &paths, &custom);
  if (paths.empty()) return "";
  for (const auto& kind : kinds_.all()) schemas.Mark(kind->type);
  return absl::StrCat("{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{",
                      paths, "},\"components\":{\"schemas\":{", schemas.Take(/*v3=*/true), custom,
                      "},\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token "
                      "authentication\",\"name\":\"authorization\",\"in\":\"header\"}}}}");
}

std::string OpenApi::IndexJson() const {
  std::string out = "{\"paths\":{";
  std::vector<std::string> done;
  for (const auto& kind : kinds_.all()) {
    const std::string path = PathOf(*kind->resource);
    if (std::find(done.begin(), done.end(), path) != done.end()) continue;
    done.push_back(path);
  }
  std::map<std::string, std::string> custom;  // path -> what its document follows from
  for (const auto& kind : kinds_.custom()) {
    const std::string path = PathOf(*kind->resource);
    absl::StrAppend(&custom[path], kind->ListKind(), kind->custom->schema.dump());
    if (std::find(done.begin(), done.end(), path) == done.end()) done.push_back(path);
  }
  std::sort(done.begin(), done.end());
  for (size_t i = 0; i < done.size(); ++i) {
    // The document follows from the program alone, so its version stands for its hash.
    std::string& hash = hashes_[done[i]];
    if (const auto it = custom.find(done[i]); it != custom.end()) hash = UpperHash(it->second);
    if (hash.empty()) hash = UpperHash(absl::StrCat("skiff openapi 1 ", done[i]));
    absl::StrAppend(&out, i > 0 ? "," : "", "\"", done[i], "\":{\"serverRelativeURL\":\"/openapi/v3/", done[i],
                    "?hash=", hash, "\"}");
  }
  return out + "}}";
}

Task<Status> OpenApi::Serve(http::Exchange& exchange, Context&) const {
  const http::Request& request = exchange.request();
  const std::string& path = request.path;
  if (request.method != "GET" && request.method != "HEAD") co_return api::MethodNotSupportedError({}, request.method);
  if (path == "/openapi/v3" || path == "/openapi/v3/")
    co_return co_await exchange.Respond(200, AnswerHeaders("text/plain; charset=utf-8", nullptr), IndexJson());
  if (path.starts_with("/openapi/v3/")) {
    std::string text = V3Json(path.substr(12));
    if (text.empty())
      co_return co_await exchange.Respond(404, AnswerHeaders("text/plain; charset=utf-8", nullptr),
                                          "404 page not found\n");
    std::string type = "application/json";
    // Clients that ask for protobuf get JSON if that will do, as the header says what it is.
    co_return co_await exchange.Respond(200, AnswerHeaders(type, nullptr), std::move(text));
  }
  if (path == "/openapi/v2") {
    bool json = false, protobuf = false;
    std::string accept;
    for (std::string_view value : request.headers.All("Accept"))
      absl::StrAppend(&accept, accept.empty() ? "" : ",", std::string(value));
    if (accept.empty()) accept = "*/*";
    for (const AcceptClause& clause : ParseAccept(accept)) {
      if (clause.type == "application/json" || clause.type == "*/*" || clause.type == "application/*") json = true;
      if (clause.type.starts_with("application/com.github.proto-openapi.spec.v2")) protobuf = true;
      if (json || protobuf) break;
    }
    if (!json && !protobuf) {
      http::Headers headers = AnswerHeaders("application/json", nullptr);
      headers.Remove("Content-Type");
      co_return co_await exchange.Respond(406, std::move(headers), "");
    }
    SchemaWriter schemas("#/definitions/");
    for (const auto& kind : kinds_.all()) {
      schemas.Need(kind->type->prototype().GetDescriptor());
      if (kind->type->list) schemas.Need(kind->type->list->prototype().GetDescriptor());
      schemas.Mark(kind->type);
    }
    if (protobuf) {
      co_return co_await exchange.Respond(
          200, AnswerHeaders("application/com.github.proto-openapi.spec.v2.v1.0+protobuf", nullptr),
          OpenApiV2Protobuf(kinds_, &schemas));
    }
    std::string paths;
    for (const auto& kind : kinds_.all()) AppendPaths(*kind, /*v3=*/false, &schemas, &paths);
    co_return co_await exchange.Respond(
        200, AnswerHeaders("application/json", nullptr),
        absl::StrCat("{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{",
                     paths, "},\"definitions\":{", schemas.Take(/*v3=*/false), "}}"));
  }
  co_return co_await exchange.Respond(404, AnswerHeaders("text/plain; charset=utf-8", nullptr), "404 page not found\n");
}

}  // namespace skiff::controlplane
