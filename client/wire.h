// Bodies as the API server sends them: objects, lists and watch frames as protobuf (or JSON, where a server answers
// that). Pure; no thread affinity.
#ifndef SKIFF_CLIENT_WIRE_H_
#define SKIFF_CLIENT_WIRE_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "client/rest.h"

namespace skiff::client {

bool IsProtobuf(std::string_view content_type);

std::string EncodeObject(const Message& object);
// Errors: kDataLoss naming the kind that was found instead, or what does not parse.
Status DecodeObject(std::string_view content_type, std::string_view body, Message* out);
// One page of a list; `item` gets every object.
StatusOr<Rest::RawList> DecodeList(std::string_view content_type, std::string_view body, const Message& prototype,
                                   const std::function<void(std::shared_ptr<Message>)>& item);
// A failed answer as an error; the body may be a Status in either form, or any text.
Status DecodeError(int http_status, std::string_view content_type, std::string_view body, std::string_view method,
                   const std::string& retry_after);

// One watch frame's content (without its length). An ERROR event is returned as an error.
StatusOr<WatchEvent> DecodeWatchEvent(bool protobuf, std::string_view frame, const Message& prototype);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_WIRE_H_
