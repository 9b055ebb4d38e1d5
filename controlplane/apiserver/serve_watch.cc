// watch: changes of a kind as they happen, filtered, in the negotiated form.
#include <random>

#include "absl/strings/numbers.h"
#include "api/codec.h"
#include "api/errors.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/list_options.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"
#include "controlplane/apiserver/stored_bytes.h"
#include "controlplane/apiserver/table.h"

namespace skiff::controlplane {
namespace {

constexpr std::chrono::seconds kBookmarkEvery(60);
// A watch of custom resources looks this often whether its definition still stands.
constexpr std::chrono::seconds kLookAtDefinition(5);
constexpr char kInitialEventsEnd[] = "k8s.io/initial-events-end";
// Frames that are ready at once go out in one write up to this size.
constexpr size_t kFlushBytes = 64 * 1024;

class WatchWriter {
 public:
  WatchWriter(const Call& call, const ListQuery& query) : call_(call), query_(query) {}

  void Event(std::string_view type, const api::Object& object, std::string* out) {
    const Output& output = call_.output;
    if (output.format == Format::kProtobuf) {
      std::string raw;
      if (output.as == As::kPartial || output.as == As::kPartialList) {
        metav1::PartialObjectMetadata partial;
        *partial.mutable_metadata() = object.meta();
        raw = api::ToProtobuf(partial, {"meta.k8s.io", output.meta_version, "PartialObjectMetadata"});
      } else if (auto bytes = object.ToProtobuf(); bytes.ok()) {
        raw = *std::move(bytes);
      }
      ProtobufFrame(type, raw, out);
      return;
    }
    absl::StrAppend(out, "{\"type\":\"", std::string(type), "\",\"object\":");
    if (output.as == As::kTable) {
      TableWriter table(call_.kind, output, query_.include_object, call_.context.now);
      table.Begin(object.meta().resourceversion(), "", std::nullopt, out, first_table_);
      first_table_ = false;
      table.Row(object, out);
      table.End(out);
    } else if (output.as != As::kObject) {
      AppendPartialJson(object, output, true, out);
    } else {
      object.AppendJson(out);
    }
    out->append("}\n");
  }

  void Error(const Status& error, std::string* out) {
    const api::StatusMessage status = api::ToStatusMessage(error);
    const api::GroupVersionKind gvk{"", "v1", "Status"};
    if (call_.output.format == Format::kProtobuf) {
      ProtobufFrame("ERROR", api::ToProtobuf(status, gvk), out);
      return;
    }
    out->append("{\"type\":\"ERROR\",\"object\":");
    api::AppendJson(status, &gvk, out);
    out->append("}\n");
  }

  void Bookmark(int64_t revision, bool initial_end, std::string* out) {
    api::Object object;
    if (call_.kind.custom) {
      if (auto empty = api::Object::OfJson(call_.kind.gvk(), api::json::object()); empty.ok())
        object = *std::move(empty);
    } else {
      object = api::Object::New(*call_.kind.type);
    }
    object.mutable_meta()->set_resourceversion(absl::StrCat(revision));
    if (initial_end) (*object.mutable_meta()->mutable_annotations())[kInitialEventsEnd] = "true";
    Event("BOOKMARK", object, out);
  }

  // A change of the store as this watcher sees it: entering a selector is ADDED, leaving it DELETED.
  Status Change(const StoreEvent& event, std::string* out) {
    const Kind& kind = call_.kind;
    bool matches = event.value != nullptr, matched = event.previous != nullptr;
    if (matches) {
      ASSIGN_OR_RETURN(matches, query_.Matches(kind, event.key, *event.value));
    }
    if (matched) {
      ASSIGN_OR_RETURN(matched, query_.Matches(kind, event.key, *event.previous));
    }
    if (!matches && !matched) return absl::OkStatus();
    const std::string_view type = !matches ? "DELETED" : matched ? "MODIFIED" : "ADDED";
    const StoredValue& value = matches ? *event.value : *event.previous;
    if (SendStored(type, value, event.revision, out)) return absl::OkStatus();
    ASSIGN_OR_RETURN(api::Object object, kind.Decode(event.key, value));
    if (!matches) object.mutable_meta()->set_resourceversion(absl::StrCat(event.revision));
    Event(type, object, out);
    return absl::OkStatus();
  }

 private:
  // Who wants protobuf gets the stored bytes.
  bool SendStored(std::string_view type, const StoredValue& value, int64_t revision, std::string* out) {
    if (call_.output.format != Format::kProtobuf || call_.output.as != As::kObject ||
        call_.kind.storage_type != call_.kind.type)
      return false;
    auto spliced = SplicedObject::Make(value, revision);
    if (!spliced) return false;
    std::string raw;
    spliced->AppendEnvelope(&raw);
    ProtobufFrame(type, raw, out);
    return true;
  }

  // 4 bytes of length, then a WatchEvent {type = 1, object = 2 {raw = 1}}.
  static void ProtobufFrame(std::string_view type, const std::string& raw, std::string* out) {
    metav1::WatchEvent event;
    event.set_type(std::string(type));
    event.mutable_object()->set_raw(raw);
    const std::string bytes = event.SerializeAsString();
    const uint32_t size = static_cast<uint32_t>(bytes.size());
    const char length[4] = {static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                            static_cast<char>(size)};
    out->append(length, 4);
    out->append(bytes);
  }

  const Call& call_;
  const ListQuery& query_;
  bool first_table_ = true;
};

}  // namespace

Task<Status> ServeWatch(ServerParts& parts, Call& call) {
  auto parsed = ListQuery::Parse(call.request().query, call.kind, true);
  if (!parsed.ok()) co_return parsed.status();
  ListQuery query = *std::move(parsed);
  // The old watch path names its object in the path.
  if (!call.info().name.empty() && query.fields.empty()) {
    auto by_name = api::FieldSelector::Parse("metadata.name=" + call.info().name);
    if (by_name.ok()) query.fields = *std::move(by_name);
  }
  int64_t from = 0;
  if (!query.resource_version.empty()) {
    auto version = ParseResourceVersion(query.resource_version);
    if (!version.ok()) co_return version.status();
    from = *version;
  }
  const std::string prefix = call.kind.Prefix(call.info().ns);
  const bool initial = query.send_initial_events ? *query.send_initial_events : from == 0;
  const bool initial_end = query.send_initial_events.value_or(false) && query.bookmarks;

  const std::string media(call.output.format == Format::kProtobuf ? "application/vnd.kubernetes.protobuf;stream=watch"
                                                                  : "application/json");
  WatchWriter writer(call, query);
  std::string buffer;
  std::unique_ptr<StoreWatch> watch;
  Status failed;
  if (initial) {
    // A version from the future is waited for; the watch begins where the list ends.
    while (from > parts.store.revision()) {
      auto waiting = parts.store.Watch("", parts.store.revision());
      if (!waiting.ok()) co_return waiting.status();
      auto events = co_await (*waiting)->Next(std::chrono::seconds(3));
      if (!events.ok()) co_return events.status();
      if (events->empty())
        co_return api::TimeoutError(
            absl::StrCat("Too large resource version: ", from, ", current: ", parts.store.revision()), 1);
    }
    const int64_t revision = parts.store.revision();
    auto started = parts.store.Watch(prefix, revision);
    if (!started.ok()) co_return api::InternalError(std::string(started.status().message()));
    watch = *std::move(started);
    if (Status status = co_await call.exchange.Begin(200, AnswerHeaders(media, &call.context)); !status.ok())
      co_return status;
    ListRequest request{.prefix = prefix, .limit = 500, .revision = revision};
    while (true) {
      auto page = co_await parts.store.List(request);
      if (!page.ok()) {
        failed = api::ExpiredError(std::string(page.status().message()));
        break;
      }
      for (const StoredEntry& entry : page->entries) {
        auto object = call.kind.Decode(entry);
        if (!object.ok()) continue;
        if (query.Matches(call.kind, *object)) writer.Event("ADDED", *object, &buffer);
        if (buffer.size() > kFlushBytes) {
          if (Status status = co_await call.exchange.Write(buffer); !status.ok()) co_return status;
          buffer.clear();
        }
      }
      if (!page->more) break;
      request.start = page->entries.back().key + std::string(1, '\0');
    }
    if (initial_end && failed.ok()) writer.Bookmark(revision, true, &buffer);
  } else {
    if (Status status = co_await call.exchange.Begin(200, AnswerHeaders(media, &call.context)); !status.ok())
      co_return status;
    auto started = parts.store.Watch(prefix, from == 0 ? parts.store.revision() : from);
    if (started.ok())
      watch = *std::move(started);
    else if (call.kind.resource->plural == "events")
      // Upstream keeps no cache of these: the store itself answers.
      failed = api::ExpiredError("The resourceVersion for the provided watch is too old.");
    else
      failed = api::ExpiredError(
          absl::StrCat("too old resource version: ", from, " (", parts.store.compacted_revision(), ")"));
  }
  // Nothing to say yet: the client still learns at once that the watch stands.
  if (Status status = co_await call.exchange.Write(buffer); !status.ok() && !buffer.empty()) co_return status;
  buffer.clear();

  static std::minstd_rand random(std::random_device{}());
  const auto start = std::chrono::steady_clock::now();
  const std::chrono::seconds timeout(query.timeout_seconds && *query.timeout_seconds > 0
                                         ? *query.timeout_seconds
                                         : 1800 + static_cast<int64_t>(random() % 1800));
  const auto deadline = start + timeout;
  auto next_bookmark = start + kBookmarkEvery;
  // One more shortly before the end, so that the client resumes where it was.
  const auto last_bookmark = deadline - std::chrono::seconds(2);
  bool last_sent = timeout < std::chrono::seconds(10);
  while (failed.ok()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) break;
    if (call.kind.custom && call.kind.custom->retired) break;
    auto until = deadline;
    if (call.kind.custom) until = std::min(until, now + kLookAtDefinition);
    if (query.bookmarks) {
      until = std::min(until, next_bookmark);
      if (!last_sent) until = std::min(until, last_bookmark);
    }
    auto events = co_await watch->Next(until > now ? until - now : std::chrono::nanoseconds(0));
    if (!events.ok()) {
      if (absl::IsCancelled(events.status())) co_return events.status();
      failed = absl::IsOutOfRange(events.status())
                   ? api::ExpiredError(absl::StrCat("too old resource version: ", watch->revision(), " (",
                                                    parts.store.compacted_revision(), ")"))
                   : api::InternalError(std::string(events.status().message()));
      break;
    }
    call.context.now = parts.clock.Now();
    for (const StoreEvent& event : *events)
      if (Status status = writer.Change(event, &buffer); !status.ok())
        failed = api::InternalError(std::string(status.message()));
    const auto after = std::chrono::steady_clock::now();
    if (query.bookmarks && (after >= next_bookmark || (!last_sent && after >= last_bookmark))) {
      writer.Bookmark(watch->revision(), false, &buffer);
      if (!last_sent && after >= last_bookmark) last_sent = true;
      next_bookmark = after + kBookmarkEvery;
    }
    if (!buffer.empty()) {
      if (Status status = co_await call.exchange.Write(buffer); !status.ok()) co_return status;
      buffer.clear();
    }
  }
  if (!failed.ok()) {
    writer.Error(failed, &buffer);
    if (Status status = co_await call.exchange.Write(buffer); !status.ok()) co_return status;
  }
  co_return co_await call.exchange.End();
}

}  // namespace skiff::controlplane
