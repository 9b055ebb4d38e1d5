// get and list.
#include "absl/strings/numbers.h"
#include "api/codec.h"
#include "api/errors.h"
#include "controlplane/apiserver/list_options.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"
#include "controlplane/apiserver/stored_bytes.h"
#include "controlplane/apiserver/table.h"

namespace skiff::controlplane {
namespace {

// Answers up to this size are sent whole; longer ones in pieces of it, so that a big list needs little memory.
constexpr size_t kPiece = 64 * 1024;
// Entries that are read from the store at a time to find those that selectors let through.
constexpr int64_t kStoredPage = 500;

Status TooLarge(const std::string& wanted, int64_t current) {
  api::StatusMessage status = api::ToStatusMessage(
      api::TimeoutError(absl::StrCat("Too large resource version: ", wanted, ", current: ", current), 1));
  status.set_message(absl::StrCat("Timeout: Too large resource version: ", wanted, ", current: ", current));
  auto* cause = status.mutable_details()->add_causes();
  cause->set_reason("ResourceVersionTooLarge");
  cause->set_message("Too large resource version");
  status.mutable_details()->set_retryafterseconds(1);
  return api::FromStatusMessage(std::move(status));
}

// Sends what is written into buffer() in pieces; an answer that fits one piece gets a Content-Length.
class PieceSender {
 public:
  PieceSender(http::Exchange& exchange, const Context& context, std::string_view media_type)
      : exchange_(exchange), context_(context), media_type_(media_type) {}
  std::string* buffer() { return &buffer_; }
  Task<Status> Flush() {
    if (buffer_.size() < kPiece) co_return absl::OkStatus();
    co_return co_await Send();
  }
  Task<Status> Finish() {
    if (!begun_) co_return co_await exchange_.Respond(200, AnswerHeaders(media_type_, &context_), std::move(buffer_));
    if (!buffer_.empty())
      if (Status status = co_await Send(); !status.ok()) co_return status;
    co_return co_await exchange_.End();
  }

 private:
  Task<Status> Send() {
    if (!begun_) {
      begun_ = true;
      if (Status status = co_await exchange_.Begin(200, AnswerHeaders(media_type_, &context_)); !status.ok())
        co_return status;
    }
    Status status = co_await exchange_.Write(buffer_);
    buffer_.clear();
    co_return status;
  }
  http::Exchange& exchange_;
  const Context& context_;
  const std::string media_type_;
  std::string buffer_;
  bool begun_ = false;
};

struct Page {
  ListResponse found;
  std::vector<StoredEntry> entries;  // those that the selectors let through
  std::string continue_token;
  std::optional<int64_t> remaining;
};

// The answer where the wanted revision is not kept any more: for a page after the first with a token that goes on with
// what is there now.
Status Compacted(const ListQuery& query) {
  if (query.continue_token.empty()) return api::ExpiredError("The resourceVersion for the provided list is too old.");
  auto token = ContinueToken::Decode(query.continue_token);
  api::StatusMessage status = api::ToStatusMessage(api::ExpiredError(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list "
      "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
      "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
      "modified, or deleted between the time the first chunk was returned and now may show up in the list."));
  token->revision = -1;
  status.mutable_metadata()->set_continue_(token->Encode());
  return api::FromStatusMessage(std::move(status));
}

// Reads a page: with selectors, as many stored pages as it takes to fill one.
Task<StatusOr<Page>> ReadPage(ServerParts& parts, const Call& call, const ListQuery& query) {
  const Kind& kind = call.kind;
  const std::string prefix = kind.Prefix(call.info().ns);
  ListRequest request{.prefix = prefix};
  int64_t limit = query.limit;
  const int64_t now = parts.store.revision();
  if (!query.continue_token.empty()) {
    if (!query.resource_version.empty() && query.resource_version != "0") {
      auto token = ContinueToken::Decode(query.continue_token);
      if (!token.ok()) co_return token.status();
      co_return api::BadRequestError("specifying resource version is not allowed when using continue");
    }
    auto token = ContinueToken::Decode(query.continue_token);
    if (!token.ok()) co_return token.status();
    std::string start = token->start;
    if (!start.empty() && start[0] == '/') start.erase(0, 1);
    request.start = prefix + start;
    request.revision = token->revision > 0 ? token->revision : 0;
    if (request.revision > now) co_return TooLarge(absl::StrCat(request.revision), now);
  } else if (!query.resource_version.empty()) {
    auto wanted = ParseResourceVersion(query.resource_version);
    if (!wanted.ok()) co_return wanted.status();
    if (*wanted > now) co_return TooLarge(query.resource_version, now);
    if (query.match == "Exact" || (query.match.empty() && limit > 0 && *wanted > 0)) request.revision = *wanted;
    // Version 0 is answered from the cache, whole.
    if (*wanted == 0 && query.match.empty()) limit = 0;
  }
  Page page;
  // With selectors the store is read in larger pages than are asked for, until one is full and there is one more.
  request.limit =
      static_cast<size_t>(query.selective() && limit > 0 ? std::max<int64_t>(limit + 1, kStoredPage) : limit);
  for (bool more = true; more;) {
    auto listed = co_await parts.store.List(request);
    if (absl::IsOutOfRange(listed.status())) co_return Compacted(query);
    if (!listed.ok()) co_return api::InternalError(std::string(listed.status().message()));
    page.found.revision = request.revision = listed->revision;
    if (!query.selective()) {
      page.entries = std::move(listed->entries);
      if (listed->more) {
        page.continue_token = page.entries.back().key;
        page.remaining = listed->remaining;
      }
      break;
    }
    more = listed->more;
    if (more) request.start = listed->entries.back().key + std::string(1, '\0');
    for (StoredEntry& entry : listed->entries) {
      if (limit > 0 && page.entries.size() >= static_cast<size_t>(limit)) {
        // Everything after the last key handed out is looked at again on the next page. A full page whose rest matches
        // nothing says "continue" too, as upstream's.
        page.continue_token = page.entries.back().key;
        more = false;
        break;
      }
      auto matches = query.Matches(kind, entry.key, *entry.value);
      if (!matches.ok()) co_return api::InternalError(std::string(matches.status().message()));
      if (*matches) page.entries.push_back(std::move(entry));
    }
  }
  if (!page.continue_token.empty()) {
    ContinueToken token;
    token.revision = page.found.revision;
    token.start = "/" + page.continue_token.substr(prefix.size()) + std::string(1, '\0');
    page.continue_token = token.Encode();
  }
  co_return page;
}

}  // namespace

Task<Status> ServeGet(ServerParts& parts, Call& call) {
  const std::string version(call.request().query.Get("resourceVersion"));
  if (!version.empty() && version != "0") {
    auto wanted = ParseResourceVersion(version);
    if (!wanted.ok()) co_return wanted.status();
    if (*wanted > parts.store.revision()) co_return TooLarge(version, parts.store.revision());
  }
  auto object = co_await parts.registry.Get(call.kind, call.info().ns, call.info().name);
  if (!object.ok()) co_return object.status();
  auto body =
      EncodeObject(*object, call.kind, call.output, call.context.now, call.request().query.Get("includeObject"));
  if (!body.ok()) co_return body.status();
  co_return co_await Answer(call.exchange, 200, call.output, &call.context, *std::move(body));
}

Task<Status> ServeList(ServerParts& parts, Call& call) {
  auto query = ListQuery::Parse(call.request().query, call.kind, false);
  if (!query.ok()) co_return query.status();
  const Output& output = call.output;
  if (output.as == As::kPartial) {
    std::string group(call.kind.resource->group);
    group = group.empty() ? "core" : group.substr(0, group.find('.'));
    co_return api::NotAcceptableError(
        absl::StrCat("you requested PartialObjectMetadata, but the requested object is a list (*", group, ".",
                     call.kind.ListKind(), ")"));
  }
  if (output.as == As::kTable && !query->include_object.empty() && query->include_object != "None" &&
      query->include_object != "Metadata" && query->include_object != "Object")
    co_return api::BadRequestError(
        absl::StrCat("Unable to convert to Table as requested: includeObject: Invalid value: \"", query->include_object,
                     "\": must be 'Metadata', 'Object', 'None', or empty"));
  auto page = co_await ReadPage(parts, call, *query);
  if (!page.ok()) co_return page.status();

  metav1::ListMeta meta;
  meta.set_resourceversion(absl::StrCat(page->found.revision));
  if (!page->continue_token.empty()) meta.set_continue_(page->continue_token);
  if (page->remaining) meta.set_remainingitemcount(*page->remaining);
  PieceSender sender(call.exchange, call.context, output.media_type());
  std::string* out = sender.buffer();
  const bool partial = output.as == As::kPartialList;
  const std::string list_version =
      partial ? "meta.k8s.io/" + output.meta_version : call.kind.resource->gvk().group_version().ToString();
  const std::string list_kind = partial ? "PartialObjectMetadataList" : call.kind.ListKind();

  if (output.format == Format::kProtobuf) {
    // The envelope needs the whole content's length in front: it is added up from the stored bytes, which are then sent
    // in pieces, without decoding.
    const bool direct = !partial && call.kind.storage_type == call.kind.type;
    auto item_of = [&](const StoredEntry& entry, std::string* item) -> Status {
      if (direct) {
        if (auto spliced = SplicedObject::Make(*entry.value, entry.value->mod_revision)) {
          spliced->Append(item);
          return absl::OkStatus();
        }
      }
      ASSIGN_OR_RETURN(api::Object object, call.kind.Decode(entry));
      if (partial)
        AppendField(1, object.meta().SerializeAsString(), item);
      else
        *item = object.message()->SerializeAsString();
      return absl::OkStatus();
    };
    std::string head, type_meta, item;
    AppendField(1, meta.SerializeAsString(), &head);
    size_t length = head.size();
    for (const StoredEntry& entry : page->entries) {
      size_t size = 0;
      if (auto spliced = direct ? SplicedObject::Make(*entry.value, entry.value->mod_revision) : std::nullopt) {
        size = spliced->size();
      } else {
        item.clear();
        if (Status status = item_of(entry, &item); !status.ok())
          co_return api::InternalError(std::string(status.message()));
        size = item.size();
      }
      length += 1 + VarintSize(size) + size;
    }
    AppendField(1, list_version, &type_meta);
    AppendField(2, list_kind, &type_meta);
    out->append(api::kProtobufMagic);
    AppendField(1, type_meta, out);
    out->push_back(2 << 3 | 2);
    AppendVarint(length, out);
    out->append(head);
    for (const StoredEntry& entry : page->entries) {
      item.clear();
      if (Status status = item_of(entry, &item); !status.ok())
        co_return api::InternalError(std::string(status.message()));
      AppendField(2, item, out);
      if (Status status = co_await sender.Flush(); !status.ok()) co_return status;
    }
    AppendField(3, "", out);
    AppendField(4, "", out);
    co_return co_await sender.Finish();
  }

  if (output.as == As::kTable) {
    TableWriter table(call.kind, output, query->include_object, call.context.now);
    table.Begin(meta.resourceversion(), meta.continue_(), page->remaining, out);
    for (const StoredEntry& entry : page->entries) {
      auto object = call.kind.Decode(entry);
      if (!object.ok()) co_return api::InternalError(std::string(object.status().message()));
      table.Row(*object, out);
      if (output.format == Format::kJson && !output.pretty)
        if (Status status = co_await sender.Flush(); !status.ok()) co_return status;
    }
    table.End(out);
  } else {
    absl::StrAppend(out, "{\"kind\":\"", list_kind, "\",\"apiVersion\":\"", list_version, "\",\"metadata\":");
    api::AppendJson(meta, nullptr, out);
    out->append(",\"items\":[");
    bool first = true;
    for (const StoredEntry& entry : page->entries) {
      auto object = call.kind.Decode(entry);
      if (!object.ok()) co_return api::InternalError(std::string(object.status().message()));
      if (!first) out->push_back(',');
      first = false;
      if (partial)
        AppendPartialJson(*object, output, false, out);
      else if (object->is_custom())
        object->AppendJson(out);
      else
        api::AppendJson(*object->message(), nullptr, out);
      if (output.format == Format::kJson && !output.pretty)
        if (Status status = co_await sender.Flush(); !status.ok()) co_return status;
    }
    out->append("]}");
  }
  if (output.format == Format::kJson && !output.pretty)
    out->push_back('\n');
  else
    *out = EncodeJson(std::move(*out), output);
  co_return co_await sender.Finish();
}

}  // namespace skiff::controlplane
