// What names, labels and annotations may look like. Each check returns upstream's messages, empty when all is well.
// Follows https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ .
#ifndef SKIFF_API_NAMES_H_
#define SKIFF_API_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skiff::api {

using Complaints = std::vector<std::string>;

Complaints IsDns1123Label(std::string_view value);      // namespaces, containers
Complaints IsDns1123Subdomain(std::string_view value);  // most objects
Complaints IsDns1035Label(std::string_view value);
Complaints IsQualifiedName(std::string_view value);  // label and annotation keys, resource names
Complaints IsValidLabelValue(std::string_view value);
Complaints IsValidPortName(std::string_view value);
Complaints IsValidPortNum(int64_t port);
// The relaxed rule of Kubernetes 1.34 and later: printable ASCII without "=".
Complaints IsEnvVarName(std::string_view value);
Complaints IsConfigMapKey(std::string_view value);
Complaints IsValidIp(std::string_view value);
Complaints IsHttpHeaderName(std::string_view value);
Complaints IsCIdentifier(std::string_view value);
Complaints IsPathSegmentName(std::string_view value);  // rbac names: anything but ., .., / and %
Complaints IsWildcardDns1123Subdomain(std::string_view value);
Complaints IsPercent(std::string_view value);

}  // namespace skiff::api

#endif  // SKIFF_API_NAMES_H_
