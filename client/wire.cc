#include "client/wire.h"

#include <google/protobuf/io/coded_stream.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "client/object.h"

namespace skiff::client {
namespace {

using google::protobuf::io::CodedInputStream;

Status DataLoss(std::string_view text) { return absl::DataLossError(text); }

// Calls field(number, bytes) for every length-delimited field of a message; other fields are skipped.
Status WalkFields(std::string_view bytes, const std::function<Status(int, std::string_view)>& field) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  while (const uint32_t tag = in.ReadTag()) {
    const int number = static_cast<int>(tag >> 3);
    switch (tag & 7) {
      case 0: {
        uint64_t value;
        if (!in.ReadVarint64(&value)) return DataLoss("truncated varint");
        break;
      }
      case 1: {
        if (!in.Skip(8)) return DataLoss("truncated field");
        break;
      }
      case 5: {
        if (!in.Skip(4)) return DataLoss("truncated field");
        break;
      }
      case 2: {
        uint32_t size = 0;
        if (!in.ReadVarint32(&size)) return DataLoss("truncated length");
        const size_t at = static_cast<size_t>(in.CurrentPosition());
        if (size > bytes.size() - at) return DataLoss("a field is longer than its message");
        RETURN_IF_ERROR(field(number, bytes.substr(at, size)));
        if (!in.Skip(static_cast<int>(size))) return DataLoss("truncated field");
        break;
      }
      default: return DataLoss("unknown wire type");
    }
  }
  if (!in.ConsumedEntireMessage()) return DataLoss("trailing bytes after a message");
  return absl::OkStatus();
}

Status CheckKind(const api::GroupVersionKind& found, const Message& wanted) {
  if (found.kind.empty() || found.kind == wanted.GetDescriptor()->name()) return absl::OkStatus();
  return DataLoss(
      absl::StrCat("the server answered a ", found.kind, " where a ", wanted.GetDescriptor()->name(), " was expected"));
}

std::string ReasonFor(int code) {
  switch (code) {
    case 400: return "BadRequest";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "NotFound";
    case 405: return "MethodNotAllowed";
    case 406: return "NotAcceptable";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "RequestEntityTooLarge";
    case 415: return "UnsupportedMediaType";
    case 422: return "Invalid";
    case 429: return "TooManyRequests";
    case 500: return "InternalError";
    case 503: return "ServiceUnavailable";
    case 504: return "Timeout";
    default: return code >= 500 ? "InternalError" : "Unknown";
  }
}

}  // namespace

bool IsProtobuf(std::string_view content_type) { return content_type.starts_with(api::kProtobufType); }

std::string EncodeObject(const Message& object) { return api::ToProtobuf(object, KindOf(object)); }

Status DecodeObject(std::string_view content_type, std::string_view body, Message* out) {
  api::GroupVersionKind kind;
  if (IsProtobuf(content_type)) {
    const auto envelope = api::ParseEnvelope(body);
    if (!envelope.ok()) return DataLoss(envelope.status().message());
    RETURN_IF_ERROR(CheckKind(envelope->gvk, *out));
    if (!out->ParseFromArray(envelope->raw.data(), static_cast<int>(envelope->raw.size()))) {
      return DataLoss(absl::StrCat("the server's ", envelope->gvk.kind, " does not parse"));
    }
    return absl::OkStatus();
  }
  const auto peeked = api::PeekJson(body);
  if (!peeked.ok()) return DataLoss(peeked.status().message());
  RETURN_IF_ERROR(CheckKind(*peeked, *out));
  if (Status status = api::FromJson(body, out); !status.ok()) return DataLoss(status.message());
  return absl::OkStatus();
}

StatusOr<Rest::RawList> DecodeList(std::string_view content_type, std::string_view body, const Message& prototype,
                                   const std::function<void(std::shared_ptr<Message>)>& item) {
  const std::string wanted = prototype.GetDescriptor()->name() + "List";
  meta::ListMeta metadata;
  if (IsProtobuf(content_type)) {
    const auto envelope = api::ParseEnvelope(body);
    if (!envelope.ok()) return DataLoss(envelope.status().message());
    if (envelope->gvk.kind != wanted) {
      return DataLoss(absl::StrCat("the server answered a ", envelope->gvk.kind, " where a ", wanted, " was expected"));
    }
    // Item by item: a list message would hold everything twice for a moment.
    RETURN_IF_ERROR(WalkFields(envelope->raw, [&](int number, std::string_view bytes) -> Status {
      if (number == 1) {
        if (!metadata.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
          return DataLoss("bad list metadata");
      } else if (number == 2) {
        std::shared_ptr<Message> object(prototype.New());
        if (!object->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
          return DataLoss(absl::StrCat("an item of the server's ", wanted, " does not parse"));
        }
        item(std::move(object));
      }
      return absl::OkStatus();
    }));
  } else {
    auto document = api::ParseJson(body);
    if (!document.ok()) return DataLoss(document.status().message());
    if (!document->is_object()) return DataLoss("the server's list is no object");
    if (const auto found = document->find("metadata"); found != document->end() && found->is_object()) {
      if (Status status = api::FromJsonValue(*found, &metadata); !status.ok()) return DataLoss(status.message());
    }
    if (const auto found = document->find("items"); found != document->end() && found->is_array()) {
      for (const auto& value : *found) {
        std::shared_ptr<Message> object(prototype.New());
        if (Status status = api::FromJsonValue(value, object.get()); !status.ok()) return DataLoss(status.message());
        item(std::move(object));
      }
    }
  }
  return Rest::RawList{metadata.resourceversion(), metadata.continue_(), metadata.remainingitemcount()};
}

Status DecodeError(int http_status, std::string_view content_type, std::string_view body, std::string_view method,
                   const std::string& retry_after) {
  ApiStatus status;
  bool decoded = false;
  if (!body.empty() && (IsProtobuf(content_type) || content_type.starts_with(api::kJsonType))) {
    decoded = DecodeObject(content_type, body, &status).ok() && status.code() != 0;
  }
  int seconds = 0;
  const bool named = absl::SimpleAtoi(retry_after, &seconds);
  if (!decoded) {
    status.Clear();
    status.set_status("Failure");
    status.set_code(http_status);
    status.set_reason(ReasonFor(http_status));
    std::string text(body.substr(0, 2048));
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    // Whatever somebody between us and the server sent: it goes into logs and messages.
    for (char& c : text) {
      if (!absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '\n') c = '?';
    }
    if (http_status == 401) {
      status.set_message("the server has asked for the client to provide credentials");
    } else if (http_status == 404) {
      status.set_message("the server could not find the requested resource");
    } else if (http_status == 429) {
      status.set_message("the server has received too many requests and has asked us to try again later");
    } else if (http_status == 503) {
      status.set_message("the server is currently unable to handle the request");
    } else if (http_status >= 500) {
      status.set_message(
          absl::StrCat("an error on the server (\"", text, "\") has prevented the request from succeeding"));
    } else {
      status.set_message(absl::StrCat("the server responded with the status code ", http_status, " to a ", method,
                                      text.empty() ? "" : ": ", text));
    }
  }
  if (named && status.details().retryafterseconds() == 0) status.mutable_details()->set_retryafterseconds(seconds);
  return FromApiStatus(status);
}

StatusOr<WatchEvent> DecodeWatchEvent(bool protobuf, std::string_view frame, const Message& prototype) {
  std::string type;
  std::string_view object;
  std::string object_text;  // JSON only
  if (protobuf) {
    // WatchEvent{type = 1, object = 2: RawExtension{raw = 1}}
    RETURN_IF_ERROR(WalkFields(frame, [&](int number, std::string_view bytes) -> Status {
      if (number == 1) type = std::string(bytes);
      if (number != 2) return absl::OkStatus();
      return WalkFields(bytes, [&](int inner, std::string_view raw) -> Status {
        if (inner == 1) object = raw;
        return absl::OkStatus();
      });
    }));
  } else {
    auto document = api::ParseJson(frame);
    if (!document.ok()) return DataLoss(document.status().message());
    if (!document->is_object() || !document->contains("type") || !(*document)["type"].is_string()) {
      return DataLoss("a watch event without a type");
    }
    type = (*document)["type"].get<std::string>();
    api::AppendJson((*document)["object"], &object_text);
    object = object_text;
  }
  const std::string_view content_type = protobuf ? api::kProtobufType : api::kJsonType;
  if (type == "ERROR") {
    ApiStatus status;
    RETURN_IF_ERROR(DecodeObject(content_type, object, &status));
    if (status.code() == 0) status.set_code(500);
    return FromApiStatus(status);
  }
  WatchEvent event;
  if (type == "ADDED") {
    event.type = WatchEvent::kAdded;
  } else if (type == "MODIFIED") {
    event.type = WatchEvent::kModified;
  } else if (type == "DELETED") {
    event.type = WatchEvent::kDeleted;
  } else if (type == "BOOKMARK") {
    event.type = WatchEvent::kBookmark;
  } else {
    return DataLoss(absl::StrCat("unknown watch event type \"", type, "\""));
  }
  event.object.reset(prototype.New());
  RETURN_IF_ERROR(DecodeObject(content_type, object, event.object.get()));
  return event;
}

}  // namespace skiff::client
