// Who a request comes from. Plain value.
#ifndef SKIFF_CONTROLPLANE_APISERVER_USER_H_
#define SKIFF_CONTROLPLANE_APISERVER_USER_H_

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace skiff::controlplane {

inline constexpr std::string_view kAnonymous = "system:anonymous";
inline constexpr std::string_view kMasters = "system:masters";
inline constexpr std::string_view kAuthenticated = "system:authenticated";
inline constexpr std::string_view kUnauthenticated = "system:unauthenticated";
inline constexpr std::string_view kNodesGroup = "system:nodes";
inline constexpr std::string_view kNodeUserPrefix = "system:node:";

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;

  bool InGroup(std::string_view group) const { return std::find(groups.begin(), groups.end(), group) != groups.end(); }
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_USER_H_
