#include "controlplane/apiserver/request_info.h"

#include <algorithm>

#include "api/selector.h"

namespace skiff::controlplane {
namespace {

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  while (!path.empty()) {
    const size_t slash = path.find('/');
    parts.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

std::string LowerMethod(std::string text) {
  for (char& c : text) c = static_cast<char>(tolower(c));
  return text;
}

bool IsTrue(std::string_view text) {
  return text == "true" || text == "1" || text == "t" || text == "T" || text == "TRUE" || text == "True";
}

}  // namespace

RequestInfo RequestInfo::Parse(const std::string& method, const std::string& path, const http::Query& query) {
  RequestInfo info;
  info.path = path;
  info.verb = LowerMethod(method);
  std::vector<std::string> parts = SplitPath(path);
  if (parts.size() < 3 || (parts[0] != "api" && parts[0] != "apis")) return info;
  info.prefix = parts[0];
  size_t at = 1;
  if (info.prefix == "apis") {
    if (parts.size() < 4) return info;
    info.group = parts[at++];
  }
  info.version = parts[at++];
  info.is_resource = true;
  info.verb = method == "POST"     ? "create"
              : method == "GET"    ? "get"
              : method == "HEAD"   ? "get"
              : method == "PUT"    ? "update"
              : method == "PATCH"  ? "patch"
              : method == "DELETE" ? "delete"
                                   : "";
  bool old_watch = false;
  if (parts[at] == "watch" || parts[at] == "proxy") {
    if (at + 1 >= parts.size()) {
      info.is_resource = false;
      return info;
    }
    old_watch = parts[at] == "watch";
    info.verb = parts[at];
    ++at;
  }
  if (parts[at] == "namespaces") {
    if (at + 1 < parts.size()) {
      info.ns = parts[at + 1];
      // A namespace's own subresources stay with it; all else below it is a resource in it.
      if (at + 2 < parts.size() && parts[at + 2] != "status" && parts[at + 2] != "finalize") at += 2;
    }
  }
  info.parts.assign(parts.begin() + at, parts.end());
  info.resource = info.parts[0];
  if (info.parts.size() >= 2) info.name = info.parts[1];
  if (info.parts.size() >= 3) info.subresource = info.parts[2];
  if (info.name.empty() && info.verb == "get") info.verb = "list";
  if (info.name.empty() && info.verb == "delete") info.verb = "deletecollection";
  if (old_watch || ((info.verb == "list" || info.verb == "get") && info.subresource.empty() && query.Has("watch") &&
                    (IsTrue(query.Get("watch")) || query.Get("watch").empty()))) {
    if (info.verb == "list" || old_watch) info.verb = "watch";
  }
  // A list or watch of one object, by field selector, counts as naming it.
  if (info.name.empty() && (info.verb == "list" || info.verb == "watch" || info.verb == "deletecollection")) {
    auto selector = api::FieldSelector::Parse(query.Get("fieldSelector"));
    if (selector.ok())
      if (const std::string* name = selector->RequiresExactMatch("metadata.name")) info.name = *name;
  }
  return info;
}

}  // namespace skiff::controlplane
