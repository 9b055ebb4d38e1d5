#include "api/group_version.h"

namespace skiff::api {

StatusOr<GroupVersion> GroupVersion::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return GroupVersion{"", std::string(text)};
  if (text.find('/', slash + 1) != std::string_view::npos)
    return InvalidArgument("unexpected GroupVersion string: ", text);
  return GroupVersion{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

std::string GroupVersion::ToString() const { return group.empty() ? version : absl::StrCat(group, "/", version); }

}  // namespace skiff::api
