// Objects and errors as answers in the negotiated form.
#ifndef SKIFF_CONTROLPLANE_APISERVER_OUTPUT_H_
#define SKIFF_CONTROLPLANE_APISERVER_OUTPUT_H_

#include <string>

#include "api/object.h"
#include "base/http_server.h"
#include "controlplane/apiserver/context.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/negotiation.h"

namespace skiff::controlplane {

// One object as the negotiated form says, as it stands in an answer's body. Error: 406 for a form that an object has
// not.
StatusOr<std::string> EncodeObject(const api::Object& object, const Kind& kind, const Output& output, WallTime now,
                                   std::string_view include_object = "");
// Any message under a kind (Status, reviews, options): no conversion to other forms.
std::string EncodeMessage(const google::protobuf::Message& message, const api::GroupVersionKind& gvk,
                          const Output& output);
// A JSON document (discovery and the like).
std::string EncodeJson(std::string compact, const Output& output);

// Headers that every answer has, warnings included.
http::Headers AnswerHeaders(std::string_view content_type, const Context* context);
Task<Status> Answer(http::Exchange& exchange, int code, const Output& output, const Context* context, std::string body);
// An error as a Status object. Never fails for lack of an acceptable form: JSON then.
Task<Status> AnswerError(http::Exchange& exchange, const Status& error, const Context* context);

// Serialised ObjectMeta and kind of PartialObjectMetadata.
void AppendPartialJson(const api::Object& object, const Output& output, bool with_kind, std::string* out);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_OUTPUT_H_
