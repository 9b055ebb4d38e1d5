// The OpenAPI documents, v2 and v3, generated from the messages' descriptors and options; made when asked for and not
// kept, as clients cache them. Enough for kubectl's validation, explain and apply. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_OPENAPI_H_
#define SKIFF_CONTROLPLANE_APISERVER_OPENAPI_H_

#include <string>

#include "base/http_server.h"
#include "controlplane/apiserver/context.h"
#include "controlplane/apiserver/kinds.h"

namespace skiff::controlplane {

class OpenApi {
 public:
  explicit OpenApi(const Kinds& kinds) : kinds_(kinds) {}
  Task<Status> Serve(http::Exchange& exchange, Context& context) const;

 private:
  std::string IndexJson() const;
  // `path` is "api/v1" or "apis/apps/v1"; "" when there is none such.
  std::string V3Json(const std::string& path) const;

  const Kinds& kinds_;
  mutable std::map<std::string, std::string> hashes_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_OPENAPI_H_
