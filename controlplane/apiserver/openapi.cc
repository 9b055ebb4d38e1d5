#include "controlplane/apiserver/openapi.h"

#include "api/codec.h"
#include "api/errors.h"
#include "base/tls.h"
#include "controlplane/apiserver/openapi_schema.h"
#include "controlplane/apiserver/output.h"

namespace skiff::controlplane {
namespace {

std::string PathOf(const api::Resource& resource) {
  return resource.group.empty()
             ? absl::StrCat("api/", std::string(resource.version))
             : absl::StrCat("apis/", std::string(resource.group), "/", std::string(resource.version));
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
  if (paths.empty()) return "";
  for (const auto& kind : kinds_.all()) schemas.Mark(kind->type);
  return absl::StrCat("{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{",
                      paths, "},\"components\":{\"schemas\":{", schemas.Take(/*v3=*/true),
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
  std::sort(done.begin(), done.end());
  for (size_t i = 0; i < done.size(); ++i) {
    // The document follows from the program alone, so its version stands for its hash.
    std::string& hash = hashes_[done[i]];
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
    if (!json && !protobuf) co_return co_await exchange.Respond(406, AnswerHeaders("application/json", nullptr), "");
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
