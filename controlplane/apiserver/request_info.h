// What a request asks for, read from its method, path and query alone, as authorization and routing see it. Pure.
// Follows https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris .
#ifndef SKIFF_CONTROLPLANE_APISERVER_REQUEST_INFO_H_
#define SKIFF_CONTROLPLANE_APISERVER_REQUEST_INFO_H_

#include <string>
#include <vector>

#include "base/http.h"

namespace skiff::controlplane {

struct RequestInfo {
  bool is_resource = false;
  std::string path;
  std::string verb;    // get, list, watch, create, update, patch, delete, deletecollection; else the lower-cased method
  std::string prefix;  // "api" or "apis"
  std::string group, version, ns, resource, subresource, name;
  std::vector<std::string> parts;  // from the resource on: resource, name, subresource, rest...

  static RequestInfo Parse(const std::string& method, const std::string& path, const http::Query& query);
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_REQUEST_INFO_H_
