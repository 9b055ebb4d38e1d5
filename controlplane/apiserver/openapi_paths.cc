// The paths of the OpenAPI documents: which operations a kind has and which options they take.
#include "api/codec.h"
#include "api/scheme.h"
#include "controlplane/apiserver/openapi_schema.h"

namespace skiff::controlplane {
namespace {

using nlohmann::json;

std::string CamelGroup(const api::Resource& resource) {
  std::string group(resource.group);
  group = group.empty() ? "core" : group.substr(0, group.find('.'));
  group[0] = static_cast<char>(toupper(group[0]));
  std::string version(resource.version);
  version[0] = static_cast<char>(toupper(version[0]));
  return group + version;
}

json Parameter(const char* name, const char* type, bool v3, const char* in = "query") {
  json out = {{"name", name}, {"in", in}};
  if (v3)
    out["schema"] = {{"type", type}, {"uniqueItems", true}};
  else
    out["type"] = type;
  if (!v3) out["uniqueItems"] = true;
  if (std::string_view(in) == "path") out["required"] = true;
  return out;
}

json Parameters(std::string_view action, bool v3) {
  json out = json::array();
  auto add = [&](std::initializer_list<std::pair<const char*, const char*>> all) {
    for (const auto& [name, type] : all) out.push_back(Parameter(name, type, v3));
  };
  if (action == "list" || action == "deletecollection")
    add({{"allowWatchBookmarks", "boolean"},
         {"continue", "string"},
         {"fieldSelector", "string"},
         {"labelSelector", "string"},
         {"limit", "integer"},
         {"resourceVersion", "string"},
         {"resourceVersionMatch", "string"},
         {"sendInitialEvents", "boolean"},
         {"timeoutSeconds", "integer"},
         {"watch", "boolean"}});
  if (action == "post" || action == "put" || action == "patch")
    add({{"dryRun", "string"}, {"fieldManager", "string"}, {"fieldValidation", "string"}});
  if (action == "patch") add({{"force", "boolean"}});
  if (action == "delete" || action == "deletecollection")
    add({{"dryRun", "string"},
         {"gracePeriodSeconds", "integer"},
         {"orphanDependents", "boolean"},
         {"propagationPolicy", "string"}});
  return out;
}

json Operation(const Kind& kind, std::string_view action, const char* id, bool v3, const SchemaWriter& schemas) {
  const api::Resource& r = *kind.resource;
  const std::string tag = absl::StrCat(r.group.empty() ? "core" : std::string(r.group.substr(0, r.group.find('.'))),
                                       "_", std::string(r.version));
  const bool list = action == "list";
  auto reference = [&] {
    if (kind.custom) return CustomReference(kind, list);
    return schemas.Reference(list && kind.type->list ? kind.type->list->prototype().GetDescriptor()
                                                     : kind.type->prototype().GetDescriptor());
  };
  const json schema = {{"$ref", reference()}};
  json out = {{"tags", {tag}},
              {"operationId", absl::StrCat(id, CamelGroup(r), r.namespaced ? "Namespaced" : "", std::string(r.kind))},
              {"x-kubernetes-action", std::string(action)},
              {"x-kubernetes-group-version-kind",
               {{"group", std::string(r.group)}, {"version", std::string(r.version)}, {"kind", std::string(r.kind)}}}};
  json parameters = Parameters(action, v3);
  const bool body = action == "post" || action == "put" || action == "patch";
  if (v3) {
    out["responses"]["200"] = {{"description", "OK"}, {"content", {{"application/json", {{"schema", schema}}}}}};
    if (body) {
      const char* type = action == "patch" ? "application/apply-patch+yaml" : "*/*";
      out["requestBody"] = {{"content", {{type, {{"schema", action == "patch" ? json::object() : schema}}}}},
                            {"required", true}};
    }
  } else {
    out["responses"]["200"] = {{"description", "OK"}, {"schema", schema}};
    if (body)
      parameters.push_back({{"name", "body"},
                            {"in", "body"},
                            {"required", true},
                            {"schema", action == "patch" ? json{{"type", "object"}} : schema}});
  }
  if (!parameters.empty()) out["parameters"] = std::move(parameters);
  return out;
}

void AppendPath(const std::string& path, const json& item, std::string* out) {
  if (!out->empty()) out->push_back(',');
  api::AppendJsonString(path, out);
  out->push_back(':');
  api::AppendJson(item, out);
}

}  // namespace

std::string CustomReference(const Kind& kind, bool list) {
  std::string reversed;
  std::string_view group = kind.resource->group;
  while (!group.empty()) {
    const size_t dot = group.rfind('.');
    absl::StrAppend(&reversed, std::string(group.substr(dot == std::string_view::npos ? 0 : dot + 1)), ".");
    group = dot == std::string_view::npos ? std::string_view() : group.substr(0, dot);
  }
  return absl::StrCat("#/components/schemas/", reversed, std::string(kind.resource->version), ".",
                      list ? kind.ListKind() : std::string(kind.resource->kind));
}

void AppendPaths(const Kind& kind, bool v3, SchemaWriter* schemas, std::string* out) {
  const api::Resource& r = *kind.resource;
  std::string base = r.group.empty() ? absl::StrCat("/api/", std::string(r.version))
                                     : absl::StrCat("/apis/", std::string(r.group), "/", std::string(r.version));
  if (r.namespaced) base += "/namespaces/{namespace}";
  absl::StrAppend(&base, "/", std::string(r.plural));
  json path_parameters = json::array();
  if (r.namespaced) path_parameters.push_back(Parameter("namespace", "string", v3, "path"));
  json collection = json::object(), item = json::object();
  if (r.HasVerb("list")) collection["get"] = Operation(kind, "list", "list", v3, *schemas);
  if (r.HasVerb("create")) collection["post"] = Operation(kind, "post", "create", v3, *schemas);
  if (r.HasVerb("deletecollection"))
    collection["delete"] = Operation(kind, "deletecollection", "deleteCollection", v3, *schemas);
  if (r.HasVerb("get")) item["get"] = Operation(kind, "get", "read", v3, *schemas);
  if (r.HasVerb("update")) item["put"] = Operation(kind, "put", "replace", v3, *schemas);
  if (r.HasVerb("patch")) item["patch"] = Operation(kind, "patch", "patch", v3, *schemas);
  if (r.HasVerb("delete")) item["delete"] = Operation(kind, "delete", "delete", v3, *schemas);
  if (!collection.empty()) {
    if (!path_parameters.empty()) collection["parameters"] = path_parameters;
    AppendPath(base, collection, out);
  }
  if (!item.empty()) {
    path_parameters.push_back(Parameter("name", "string", v3, "path"));
    item["parameters"] = path_parameters;
    AppendPath(base + "/{name}", item, out);
  }
}

}  // namespace skiff::controlplane
