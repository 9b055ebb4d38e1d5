#include "api/scheme.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/resources.h"

namespace skiff::api {

std::string Resource::api_version() const {
  return group.empty() ? std::string(version) : absl::StrCat(group, "/", version);
}

bool Resource::HasVerb(std::string_view verb) const {
  for (const std::string_view v : SplitList(verbs))
    if (v == verb) return true;
  return false;
}

std::span<const Resource> Resources() { return internal::ResourceTable(); }

const Resource* FindResource(std::string_view group, std::string_view version, std::string_view plural) {
  for (const Resource& row : Resources())
    if (row.plural == plural && row.group == group && row.version == version) return &row;
  return nullptr;
}

const Resource* FindResourceByKind(std::string_view group, std::string_view version, std::string_view kind) {
  for (const Resource& row : Resources())
    if (row.kind == kind && row.group == group && row.version == version) return &row;
  return nullptr;
}

std::vector<std::string_view> SplitList(std::string_view text) {
  if (text.empty()) return {};
  return absl::StrSplit(text, ',');
}

std::vector<Subresource> SubresourcesOf(const Resource& resource) {
  std::vector<Subresource> out;
  if (resource.subresources.empty()) return out;
  for (std::string_view text : absl::StrSplit(resource.subresources, ' ')) {
    Subresource sub;
    const size_t colon = text.find(':'), open = text.find('(');
    sub.name = text.substr(0, colon);
    sub.verbs = text.substr(open + 1, text.size() - open - 2);
    sub.kind = text.substr(colon + 1, open - colon - 1);
    sub.group = resource.group;
    sub.version = resource.version;
    if (const size_t dot = sub.kind.rfind('.'); dot != std::string_view::npos) {
      const std::string_view group_version = sub.kind.substr(0, dot);
      const size_t slash = group_version.find('/');
      sub.group = slash == std::string_view::npos ? std::string_view() : group_version.substr(0, slash);
      sub.version = slash == std::string_view::npos ? group_version : group_version.substr(slash + 1);
      sub.kind.remove_prefix(dot + 1);
    }
    out.push_back(sub);
  }
  return out;
}

}  // namespace skiff::api
