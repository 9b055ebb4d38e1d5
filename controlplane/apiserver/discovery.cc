#include "controlplane/apiserver/discovery.h"

#include <algorithm>
#include <tuple>

#include "api/codec.h"
#include "api/errors.h"
#include "api/scheme.h"
#include "base/tls.h"
#include "controlplane/apiserver/output.h"
#include "k8s/io/api/apidiscovery/v2/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace apidiscovery = ::k8s::io::api::apidiscovery::v2;

// Upstream's order: by priority of the group.
constexpr std::string_view kGroupOrder[] = {"apiregistration.k8s.io",
                                            "apps",
                                            "events.k8s.io",
                                            "authentication.k8s.io",
                                            "authorization.k8s.io",
                                            "autoscaling",
                                            "batch",
                                            "certificates.k8s.io",
                                            "networking.k8s.io",
                                            "policy",
                                            "rbac.authorization.k8s.io",
                                            "storage.k8s.io",
                                            "admissionregistration.k8s.io",
                                            "apiextensions.k8s.io",
                                            "scheduling.k8s.io",
                                            "coordination.k8s.io",
                                            "node.k8s.io",
                                            "discovery.k8s.io",
                                            "resource.k8s.io",
                                            "flowcontrol.apiserver.k8s.io"};

void AppendStrings(std::string_view comma_separated, std::string* out) {
  out->push_back('[');
  bool first = true;
  for (std::string_view word : api::SplitList(comma_separated)) {
    if (!first) out->push_back(',');
    first = false;
    api::AppendJsonString(word, out);
  }
  out->push_back(']');
}

// As upstream computes it: eight bytes of the hash of group/version/kind.
std::string StorageVersionHash(const api::Resource& resource) {
  const std::string stored(resource.storage_version);
  const size_t slash = stored.find('/');
  const std::string group = slash == std::string::npos ? "" : stored.substr(0, slash);
  const std::string version = slash == std::string::npos ? stored : stored.substr(slash + 1);
  return Base64Encode(Sha256(absl::StrCat(group, "/", version, "/", std::string(resource.kind))).substr(0, 8));
}

std::vector<std::string> PathParts(const std::string& path) {
  std::vector<std::string> parts;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    if (slash != 0) parts.emplace_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  return parts;
}

// v2 before v1, v1 before v1beta1, those before v1alpha1, and all before what is no such version.
bool NewerVersion(const std::string& a, const std::string& b) {
  auto rank = [](const std::string& text) {
    int major = 0, minor = 0, used = 0;
    const int size = static_cast<int>(text.size());
    if (sscanf(text.c_str(), "v%d%n", &major, &used) == 1 && used == size) return std::tuple(3, major, 0);
    if (sscanf(text.c_str(), "v%dbeta%d%n", &major, &minor, &used) == 2 && used == size)
      return std::tuple(2, major, minor);
    if (sscanf(text.c_str(), "v%dalpha%d%n", &major, &minor, &used) == 2 && used == size)
      return std::tuple(1, major, minor);
    return std::tuple(0, 0, 0);
  };
  const auto left = rank(a), right = rank(b);
  return left == right ? a < b : left > right;
}

bool WantsAggregated(const http::Headers& headers, Format* format) {
  std::string accept;
  for (std::string_view value : headers.All("Accept"))
    absl::StrAppend(&accept, accept.empty() ? "" : ",", std::string(value));
  for (const AcceptClause& clause : ParseAccept(accept)) {
    const bool plain = clause.Get("as").empty();
    if (clause.type == "application/json" || clause.type == "*/*")
      *format = Format::kJson;
    else if (clause.type == "application/vnd.kubernetes.protobuf")
      *format = Format::kProtobuf;
    else if (clause.type == "application/yaml" && plain)
      return false;
    else
      continue;
    if (plain) return false;
    if (clause.Get("as") == "APIGroupDiscoveryList" && clause.Get("g") == "apidiscovery.k8s.io" &&
        clause.Get("v") == "v2")
      return true;
  }
  return false;
}

}  // namespace

std::vector<Discovery::Group> Discovery::Groups() const {
  std::vector<Group> groups;
  for (std::string_view name : kGroupOrder) {
    Group group{std::string(name), {}};
    for (const auto& kind : kinds_.all()) {
      const std::string version(kind->resource->version);
      if (kind->resource->group == name &&
          std::find(group.versions.begin(), group.versions.end(), version) == group.versions.end())
        group.versions.push_back(version);
    }
    // v2 before v1.
    std::sort(group.versions.begin(), group.versions.end(), std::greater<>());
    if (!group.versions.empty()) groups.push_back(std::move(group));
  }
  // Groups of custom resources come after, by name.
  for (const auto& kind : kinds_.custom()) {
    const std::string name(kind->resource->group), version(kind->resource->version);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& one) { return one.name == name; });
    if (group == groups.end()) group = groups.insert(groups.end(), {name, {}});
    if (std::find(group->versions.begin(), group->versions.end(), version) == group->versions.end())
      group->versions.push_back(version);
    std::sort(group->versions.begin(), group->versions.end(), NewerVersion);
  }
  return groups;
}

std::vector<std::string> Discovery::GroupVersions() const {
  std::vector<std::string> out = {"v1"};
  for (const Group& group : Groups())
    for (const std::string& version : group.versions) out.push_back(absl::StrCat(group.name, "/", version));
  return out;
}

bool Discovery::HasGroup(std::string_view name) const {
  for (const Group& group : Groups())
    if (group.name == name) return true;
  return false;
}

bool Discovery::Owns(const std::string& path) const {
  const auto parts = PathParts(path);
  if (parts.empty()) return false;
  if (parts[0] == "api") return parts.size() == 1 || (parts.size() == 2 && parts[1] == "v1");
  if (parts[0] != "apis" || parts.size() > 3) return false;
  if (parts.size() == 1) return true;
  for (const Group& group : Groups()) {
    if (group.name != parts[1]) continue;
    return parts.size() == 2 ||
           std::find(group.versions.begin(), group.versions.end(), parts[2]) != group.versions.end();
  }
  return false;
}

std::string Discovery::GroupJson(const Group& group, bool standalone) const {
  std::string out = "{";
  if (standalone) out += "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",";
  auto version = [&](const std::string& v) {
    return absl::StrCat("{\"groupVersion\":\"", group.name, "/", v, "\",\"version\":\"", v, "\"}");
  };
  absl::StrAppend(&out, "\"name\":\"", group.name, "\",\"versions\":[");
  for (size_t i = 0; i < group.versions.size(); ++i)
    absl::StrAppend(&out, i > 0 ? "," : "", version(group.versions[i]));
  absl::StrAppend(&out, "],\"preferredVersion\":", version(group.versions[0]), "}");
  return out;
}

std::string Discovery::ResourcesJson(const std::string& group, const std::string& version) const {
  std::string out = "{\"kind\":\"APIResourceList\",";
  if (!group.empty()) out += "\"apiVersion\":\"v1\",";
  absl::StrAppend(&out, "\"groupVersion\":\"", group, group.empty() ? "" : "/", version, "\",\"resources\":[");
  std::vector<std::pair<std::string, std::string>> entries;
  bool sorted = true;
  kinds_.ForEach([&](const Kind& kind) {
    const api::Resource& r = *kind.resource;
    if (r.group != group || r.version != version) return;
    // Those of custom resources stand in the order of their definitions.
    sorted = sorted && !kind.custom;
    std::string entry = absl::StrCat("{\"name\":\"", std::string(r.plural), "\",\"singularName\":\"",
                                     std::string(r.singular), "\",\"namespaced\":", r.namespaced ? "true" : "false",
                                     ",\"kind\":\"", std::string(r.kind), "\",\"verbs\":");
    AppendStrings(r.verbs, &entry);
    if (!r.short_names.empty()) {
      entry += ",\"shortNames\":";
      AppendStrings(r.short_names, &entry);
    }
    if (!r.categories.empty()) {
      entry += ",\"categories\":";
      AppendStrings(r.categories, &entry);
    }
    if (kind.stored()) absl::StrAppend(&entry, ",\"storageVersionHash\":\"", StorageVersionHash(r), "\"");
    entry += "}";
    entries.emplace_back(std::string(r.plural), std::move(entry));
    for (const api::Subresource& sub : kind.subresources) {
      std::string text = absl::StrCat("{\"name\":\"", std::string(r.plural), "/", std::string(sub.name),
                                      "\",\"singularName\":\"\",\"namespaced\":", r.namespaced ? "true" : "false");
      if (sub.group != r.group || sub.version != r.version)
        absl::StrAppend(&text, ",\"group\":\"", std::string(sub.group), "\",\"version\":\"", std::string(sub.version),
                        "\"");
      absl::StrAppend(&text, ",\"kind\":\"", std::string(sub.kind), "\",\"verbs\":");
      AppendStrings(sub.verbs, &text);
      text += "}";
      entries.emplace_back(absl::StrCat(std::string(r.plural), "/", std::string(sub.name)), std::move(text));
    }
  });
  if (sorted) std::sort(entries.begin(), entries.end());
  for (size_t i = 0; i < entries.size(); ++i) absl::StrAppend(&out, i > 0 ? "," : "", entries[i].second);
  out += "]}";
  return out;
}

std::string Discovery::AggregatedJson(bool core) const {
  std::string out =
      "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[";
  std::vector<Group> groups = core ? std::vector<Group>{{"", {"v1"}}} : Groups();
  bool first_group = true;
  for (const Group& group : groups) {
    if (!first_group) out.push_back(',');
    first_group = false;
    out += group.name.empty() ? "{\"metadata\":{}," : absl::StrCat("{\"metadata\":{\"name\":\"", group.name, "\"},");
    out += "\"versions\":[";
    for (size_t v = 0; v < group.versions.size(); ++v) {
      absl::StrAppend(&out, v > 0 ? "," : "", "{\"version\":\"", group.versions[v], "\",\"resources\":[");
      bool first = true;
      kinds_.ForEach([&](const Kind& kind) {
        const api::Resource& r = *kind.resource;
        if (r.group != group.name || r.version != group.versions[v]) return;
        // Where built-in kinds leave out the group and version that are their own, custom resources say them.
        const std::string own_group(kind.custom ? r.group : ""), own_version(kind.custom ? r.version : "");
        absl::StrAppend(&out, first ? "" : ",", "{\"resource\":\"", std::string(r.plural),
                        "\",\"responseKind\":{\"group\":\"", own_group, "\",\"version\":\"", own_version,
                        "\",\"kind\":\"", std::string(r.kind), "\"},\"scope\":\"",
                        r.namespaced ? "Namespaced" : "Cluster", "\",\"singularResource\":\"", std::string(r.singular),
                        "\",\"verbs\":");
        first = false;
        AppendStrings(r.verbs, &out);
        if (!r.short_names.empty()) {
          out += ",\"shortNames\":";
          AppendStrings(r.short_names, &out);
        }
        if (!r.categories.empty()) {
          out += ",\"categories\":";
          AppendStrings(r.categories, &out);
        }
        if (!kind.subresources.empty()) {
          out += ",\"subresources\":[";
          for (size_t s = 0; s < kind.subresources.size(); ++s) {
            const api::Subresource& sub = kind.subresources[s];
            const bool other = sub.group != r.group || sub.version != r.version;
            absl::StrAppend(&out, s > 0 ? "," : "", "{\"subresource\":\"", std::string(sub.name),
                            "\",\"responseKind\":{\"group\":\"", other ? std::string(sub.group) : own_group,
                            "\",\"version\":\"", other ? std::string(sub.version) : own_version, "\",\"kind\":\"",
                            std::string(sub.kind), "\"},\"verbs\":");
            AppendStrings(sub.verbs, &out);
            out += "}";
          }
          out += "]";
        }
        out += "}";
      });
      out += "],\"freshness\":\"Current\"}";
    }
    out += "]}";
  }
  out += "]}";
  return out;
}

std::string Discovery::AggregatedProtobuf(bool core) const {
  apidiscovery::APIGroupDiscoveryList list;
  Status parsed = api::FromJson(std::string_view(AggregatedJson(core)), &list);
  if (!parsed.ok()) return "";
  return api::ToProtobuf(list, {"apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"});
}

Task<Status> Discovery::Serve(http::Exchange& exchange, Context& context) const {
  const http::Request& request = exchange.request();
  const auto parts = PathParts(request.path);
  const bool core = parts[0] == "api";
  if (parts.size() == 1) {
    Format format = Format::kJson;
    if (WantsAggregated(request.headers, &format)) {
      std::string body = format == Format::kProtobuf ? AggregatedProtobuf(core) : AggregatedJson(core) + "\n";
      const std::string hash = HexEncode(Sha256(AggregatedJson(core)));
      std::string tag = "\"";
      for (char c : hash) tag.push_back(static_cast<char>(toupper(c)));
      tag += "\"";
      const std::string type = format == Format::kProtobuf ? "application/vnd.kubernetes.protobuf" : "application/json";
      http::Headers headers = AnswerHeaders(type + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", nullptr);
      headers.Set("Cache-Control", "public");
      headers.Set("Etag", tag);
      headers.Set("Vary", "Accept");
      if (request.headers.Get("If-None-Match") == tag) {
        headers.Remove("Content-Type");
        co_return co_await exchange.Respond(304, std::move(headers), "");
      }
      co_return co_await exchange.Respond(200, std::move(headers), std::move(body));
    }
  }
  auto output = Negotiate(request.headers, request.query, false, false);
  if (!output.ok()) co_return output.status();
  std::string text;
  const api::TypeOps* type = nullptr;
  if (core && parts.size() == 1) {
    text = absl::StrCat(
        "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
        "\"serverAddress\":\"",
        address_, "\"}]}");
    type = api::TypeOf({"", "v1", "APIVersions"});
  } else if (core) {
    text = ResourcesJson("", "v1");
    type = api::TypeOf({"", "v1", "APIResourceList"});
  } else if (parts.size() == 1) {
    text = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[";
    bool first = true;
    for (const Group& group : Groups()) {
      absl::StrAppend(&text, first ? "" : ",", GroupJson(group, false));
      first = false;
    }
    text += "]}";
    type = api::TypeOf({"", "v1", "APIGroupList"});
  } else if (parts.size() == 2) {
    for (const Group& group : Groups())
      if (group.name == parts[1]) text = GroupJson(group, true);
    type = api::TypeOf({"", "v1", "APIGroup"});
  } else {
    text = ResourcesJson(parts[1], parts[2]);
    type = api::TypeOf({"", "v1", "APIResourceList"});
  }
  if (output->format == Format::kProtobuf && type) {
    auto message = type->New();
    if (Status status = api::FromJson(std::string_view(text), message.get()); !status.ok())
      co_return api::InternalError(std::string(status.message()));
    // The list of core's resources names no version of its own.
    api::GroupVersionKind gvk = type->gvk();
    if (core && parts.size() == 2) gvk.version.clear();
    co_return co_await Answer(exchange, 200, *output, &context, api::ToProtobuf(*message, gvk));
  }
  co_return co_await Answer(exchange, 200, *output, &context, EncodeJson(std::move(text), *output));
}

}  // namespace skiff::controlplane
