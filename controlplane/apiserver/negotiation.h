// Which representation an answer takes: the Accept header's wishes against what the server has. Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_NEGOTIATION_H_
#define SKIFF_CONTROLPLANE_APISERVER_NEGOTIATION_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/http.h"
#include "base/status.h"

namespace skiff::controlplane {

enum class Format { kJson, kYaml, kProtobuf };
enum class As { kObject, kTable, kPartial, kPartialList };

struct Output {
  Format format = Format::kJson;
  As as = As::kObject;
  std::string meta_version = "v1";  // of meta.k8s.io, for the converted forms
  bool pretty = false;

  std::string_view media_type() const;
};

// One clause of an Accept header.
struct AcceptClause {
  std::string type;  // "application/json"
  std::vector<std::pair<std::string, std::string>> parameters;
  double quality = 1;
  std::string_view Get(std::string_view key) const;
};
// The clauses, the most wanted first.
std::vector<AcceptClause> ParseAccept(std::string_view header);

// 406 in upstream's words when nothing fits. `watch`: only stream formats. `convertible`: Tables and partial metadata.
// `protobuf_objects`: whole objects have a protobuf form (custom resources have none).
StatusOr<Output> Negotiate(const http::Headers& headers, const http::Query& query, bool watch, bool convertible = true,
                           bool protobuf_objects = true);

// The same API error with (empty) details, which upstream shows where routing itself refuses.
Status WithDetails(const Status& status);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_NEGOTIATION_H_
