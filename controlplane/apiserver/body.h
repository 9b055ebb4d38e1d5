// Request bodies to objects, with upstream's errors; options from the query.
#ifndef SKIFF_CONTROLPLANE_APISERVER_BODY_H_
#define SKIFF_CONTROLPLANE_APISERVER_BODY_H_

#include <string>
#include <vector>

#include "api/field_errors.h"
#include "api/object.h"
#include "controlplane/apiserver/server_parts.h"

namespace skiff::controlplane {

inline constexpr size_t kMaxBody = 3 * 1024 * 1024;

// The whole body; 413 in upstream's words.
Task<StatusOr<std::string>> ReadWhole(http::Exchange& exchange);

enum class FieldValidation { kIgnore, kWarn, kStrict };

struct WriteQuery {
  FieldValidation field_validation = FieldValidation::kWarn;
  bool force = false;
};
// What may be asked for by dryRun: "All", or nothing.
void ValidateDryRun(const std::vector<std::string>& asked, api::FieldErrors* errors);
// dryRun, fieldManager, fieldValidation, force into the context and the result. `options` names them in errors
// ("CreateOptions").
StatusOr<WriteQuery> ParseWriteQuery(const http::Request& request, const std::string& options, Context* context);

// Decodes into `type`, sets defaults. `expected` is the kind that the path stands for.
StatusOr<api::Object> DecodeBody(const http::Request& request, const std::string& body, const api::TypeOps& type,
                                 FieldValidation validation, Context* context);
// The same for any kind, custom resources among them.
StatusOr<api::Object> DecodeBody(const http::Request& request, const std::string& body, const Kind& kind,
                                 FieldValidation validation, Context* context);
// Like DecodeBody for what is no object (DeleteOptions): an empty body leaves `out` as it is.
Status DecodeOptions(const http::Request& request, const std::string& body, google::protobuf::Message* out,
                     std::string_view kind);
// Tells problems as the validation wants: into warnings, or as the error.
Status Report(const api::FieldProblems& problems, FieldValidation validation, const api::GroupVersionKind& gvk,
              Context* context);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_BODY_H_
