#include "client/fake_api_server.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "api/scheme.h"
#include "api/selector.h"
#include "api/time.h"
#include "client/informer.h"
#include "client/object.h"
#include "k8s/io/apimachinery/pkg/runtime/generated.pb.h"

namespace skiff::client {
namespace {

using Object = std::shared_ptr<const Message>;
using api::json;

std::string PluralOf(const Message& prototype) {
  const auto resource = ResourceOf(prototype);
  return absl::StrCat((*resource)->group, "/", (*resource)->plural);
}

void Varint(size_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}
void Field(int number, std::string_view bytes, std::string* out) {
  Varint(number << 3 | 2, out);
  Varint(bytes.size(), out);
  out->append(bytes);
}

std::string Enveloped(const api::GroupVersionKind& kind, const std::string& raw) {
  std::string type, unknown;
  Field(1, kind.group_version().ToString(), &type);
  Field(2, kind.kind, &type);
  Field(1, type, &unknown);
  Field(2, raw, &unknown);
  return absl::StrCat(std::string_view("k8s\0", 4), unknown);
}

ApiStatus Failure(int code, std::string_view reason, std::string_view message) {
  ApiStatus status;
  status.set_status("Failure");
  status.set_code(code);
  status.set_reason(std::string(reason));
  status.set_message(std::string(message));
  return status;
}

std::string Path(const json& document, std::string_view dotted) {
  const json* at = &document;
  for (const auto part : absl::StrSplit(dotted, '.')) {
    const std::string key(part);
    if (!at->is_object() || !at->contains(key)) return "";
    at = &(*at)[key];
  }
  return at->is_string() ? at->get<std::string>() : at->is_null() ? "" : at->dump();
}

// What a peer that went away makes of an answer is of no interest here.
void Send(const Status&) {}

}  // namespace

struct FakeApiServer::Impl {
  struct Change {
    uint64_t version;
    std::string plural, type;
    Object object, before;
  };
  struct Watcher {
    explicit Watcher(asio::any_io_executor executor) : wakeup(executor) {}
    std::string plural, ns;
    std::string label_text, field_text;
    const Message* prototype = nullptr;
    uint64_t sent = 0;
    bool drop = false, end = false, bookmark = false;
    Wakeup wakeup;
  };

  explicit Impl(asio::any_io_executor executor) : executor(executor) {}

  asio::any_io_executor executor;
  std::unique_ptr<http::Server> server;
  uint16_t port = 0;
  uint64_t version = 100;
  uint64_t compacted = 0;
  uint64_t names = 0;
  std::map<std::string, std::map<std::string, Object>> objects;  // plural -> key -> object
  std::deque<Change> history;
  std::vector<std::shared_ptr<Watcher>> watchers;
  std::vector<std::string> requests;
  int fail = 0, fail_status = 0, fail_watches = 0, fail_watch_status = 0, drop = 0;
  std::string fail_after;
  bool corrupt = false, mute = false;
  FakeApiServer* owner = nullptr;

  Object Store(const std::string& plural, const Message& object, Object before) {
    std::shared_ptr<Message> copy(object.New());
    copy->CopyFrom(object);
    auto* metadata = MutableMetadataOf(copy.get());
    if (metadata->uid().empty()) metadata->set_uid(before ? MetadataOf(*before).uid() : RandomUuid());
    if (!metadata->has_creationtimestamp()) *metadata->mutable_creationtimestamp() = api::ToTime(Clock::Real().Now());
    metadata->set_resourceversion(absl::StrCat(++version));
    const std::string key = KeyOf(*copy);
    objects[plural][key] = copy;
    Push({version, plural, before ? "MODIFIED" : "ADDED", copy, before});
    return copy;
  }

  void Delete(const std::string& plural, const std::string& key) {
    const auto found = objects[plural].find(key);
    if (found == objects[plural].end()) return;
    std::shared_ptr<Message> last(found->second->New());
    last->CopyFrom(*found->second);
    const Object before = found->second;
    MutableMetadataOf(last.get())->set_resourceversion(absl::StrCat(++version));
    objects[plural].erase(found);
    Push({version, plural, "DELETED", last, before});
  }

  void Push(Change change) {
    history.push_back(std::move(change));
    for (const auto& watcher : watchers) watcher->wakeup.Notify();
  }

  static bool Matches(const Message& object, const std::string& ns, const std::string& labels,
                      const std::string& fields) {
    if (!ns.empty() && MetadataOf(object).namespace_() != ns) return false;
    if (!labels.empty()) {
      const auto selector = api::LabelSelector::Parse(labels);
      if (!selector.ok() || !selector->Matches(MetadataOf(object).labels())) return false;
    }
    if (!fields.empty()) {
      const auto selector = api::FieldSelector::Parse(fields);
      const json document = api::ToJsonValue(object);
      const auto value_of = [&](std::string_view field) { return Path(document, field); };
      if (!selector.ok() || !selector->Matches(value_of)) return false;
    }
    return true;
  }

  Task<void> Answer(http::Exchange& exchange, int code, const Message& message) {
    const bool protobuf = exchange.request().headers.Get("Accept").find("protobuf") != std::string_view::npos;
    const api::GroupVersionKind kind = KindOf(message);
    http::Headers headers{{"Content-Type", std::string(protobuf ? api::kProtobufType : api::kJsonType)}};
    Send(co_await exchange.Respond(code, headers,
                                   protobuf ? api::ToProtobuf(message, kind) : api::ToJson(message, &kind)));
  }

  Task<void> Handle(http::Exchange& exchange) {
    const http::Request& request = exchange.request();
    requests.push_back(absl::StrCat(request.method, " ", request.target));
    if (owner->inspect && !owner->inspect(request)) {
      co_await Answer(exchange, 500, Failure(500, "InternalError", "refused by the test"));
      co_return;
    }
    const bool watch = request.query.Get("watch") == "true";
    if (watch && fail_watches > 0) {
      --fail_watches;
      co_await Answer(exchange, fail_watch_status, Failure(fail_watch_status, "Fault", "a fault on demand"));
      co_return;
    }
    if (!watch && drop > 0) {
      --drop;
      auto stream = co_await exchange.Upgrade(101, {{"Connection", "close"}});
      if (stream.ok()) (*stream)->Close();
      co_return;
    }
    if (!watch && fail > 0) {
      --fail;
      http::Headers headers{{"Content-Type", "application/json"}};
      if (!fail_after.empty()) headers.Set("Retry-After", fail_after);
      const ApiStatus status =
          Failure(fail_status, fail_status == 429 ? "TooManyRequests" : "Fault", "a fault on demand");
      const api::GroupVersionKind kind{"", "v1", "Status"};
      Send(co_await exchange.Respond(fail_status, headers, api::ToJson(status, &kind)));
      co_return;
    }
    std::vector<std::string> parts = absl::StrSplit(request.path, '/', absl::SkipEmpty());
    std::string group, version_name;
    size_t at = 0;
    if (parts.size() >= 3 && parts[0] == "api") {
      version_name = parts[1];
      at = 2;
    } else if (parts.size() >= 4 && parts[0] == "apis") {
      group = parts[1];
      version_name = parts[2];
      at = 3;
    }
    std::string ns, name, sub;
    if (at > 0 && parts.size() >= at + 3 && parts[at] == "namespaces" &&
        api::FindResource(group, version_name, parts[at + 2]) != nullptr) {
      ns = parts[at + 1];
      at += 2;
    }
    const api::Resource* resource =
        at > 0 && at < parts.size() ? api::FindResource(group, version_name, parts[at]) : nullptr;
    const api::TypeOps* type = resource == nullptr ? nullptr : api::TypeOf(resource->gvk());
    if (type == nullptr) {
      co_await Answer(exchange, 404, Failure(404, "NotFound", "the server could not find the requested resource"));
      co_return;
    }
    if (at + 1 < parts.size()) name = parts[at + 1];
    if (at + 2 < parts.size()) sub = parts[at + 2];
    const std::string plural = absl::StrCat(resource->group, "/", resource->plural);
    if (watch) {
      co_await HandleWatch(exchange, plural, ns, type->prototype());
    } else if (name.empty() && request.method == "GET") {
      co_await HandleList(exchange, plural, ns, *type);
    } else {
      co_await HandleObject(exchange, plural, ns, name, sub, *resource, *type);
    }
  }

  Task<void> HandleList(http::Exchange& exchange, const std::string& plural, const std::string& ns,
                        const api::TypeOps& type) {
    const http::Request& request = exchange.request();
    const std::string token(request.query.Get("continue"));
    int limit = 0;
    if (!absl::SimpleAtoi(request.query.Get("limit"), &limit)) limit = 0;
    uint64_t listed = version;
    std::string after;
    if (!token.empty()) {
      const std::pair<std::string, std::string> split = absl::StrSplit(token, absl::MaxSplits('|', 1));
      after = split.second;
      if (!absl::SimpleAtoi(split.first, &listed) || listed <= compacted) {
        co_await Answer(exchange, 410, Failure(410, "Expired", "The provided continue parameter is too old"));
        co_return;
      }
    }
    auto list = type.list->New();
    meta::ListMeta* metadata = type.list->mutable_list_meta(list.get());
    metadata->set_resourceversion(absl::StrCat(listed));
    int count = 0;
    std::string last;
    for (const auto& [key, object] : objects[plural]) {
      if (!after.empty() && key <= after) continue;
      if (!Matches(*object, ns, std::string(request.query.Get("labelSelector")),
                   std::string(request.query.Get("fieldSelector")))) {
        continue;
      }
      if (limit > 0 && count == limit) {
        metadata->set_continue_(absl::StrCat(listed, "|", last));
        break;
      }
      type.list->add_item(list.get())->CopyFrom(*object);
      last = key;
      ++count;
    }
    co_await Answer(exchange, 200, *list);
  }

  Task<void> HandleObject(http::Exchange& exchange, const std::string& plural, const std::string& ns,
                          const std::string& name, const std::string& sub, const api::Resource& resource,
                          const api::TypeOps& type) {
    const http::Request& request = exchange.request();
    auto body = co_await exchange.ReadBody();
    if (!body.ok()) co_return;
    const bool protobuf = request.headers.Get("Content-Type").find("protobuf") != std::string_view::npos;
    const std::string key = MakeKey(resource.namespaced ? ns : "", name);
    const auto found = objects[plural].find(key);
    const Object current = found == objects[plural].end() || name.empty() ? nullptr : found->second;
    if (!name.empty() && current == nullptr) {
      co_await Answer(exchange, 404,
                      Failure(404, "NotFound", absl::StrCat(resource.plural, " \"", name, "\" not found")));
      co_return;
    }
    if (request.method == "GET") {
      co_await Answer(exchange, 200, *current);
      co_return;
    }
    if (request.method == "DELETE") {
      if (name.empty()) {
        std::vector<std::string> keys;
        for (const auto& [k, object] : objects[plural]) {
          if (Matches(*object, ns, std::string(request.query.Get("labelSelector")),
                      std::string(request.query.Get("fieldSelector")))) {
            keys.push_back(k);
          }
        }
        for (const auto& k : keys) Delete(plural, k);
      } else if (MetadataOf(*current).finalizers().empty()) {
        Delete(plural, key);
      } else {
        std::shared_ptr<Message> copy(current->New());
        copy->CopyFrom(*current);
        *MutableMetadataOf(copy.get())->mutable_deletiontimestamp() = api::ToTime(Clock::Real().Now());
        Store(plural, *copy, current);
      }
      ApiStatus status;
      status.set_status("Success");
      co_await Answer(exchange, 200, status);
      co_return;
    }
    if (sub == "binding") {
      auto binding = api::TypeOf({"", "v1", "Binding"})->New();
      Status parsed = protobuf ? api::FromProtobuf(*body, binding.get()) : api::FromJson(*body, binding.get());
      const json document = api::ToJsonValue(*binding);
      const json bound = api::ToJsonValue(*current);
      if (!Path(bound, "spec.nodeName").empty()) {
        co_await Answer(exchange, 409,
                        Failure(409, "Conflict", absl::StrCat("pod ", name, " is already assigned to node")));
        co_return;
      }
      json pod = bound;
      pod["spec"]["nodeName"] = Path(document, "target.name");
      std::shared_ptr<Message> changed(type.New().release());
      parsed = api::FromJsonValue(pod, changed.get());
      Store(plural, *changed, current);
      ApiStatus status;
      status.set_status("Success");
      co_await Answer(exchange, 201, status);
      co_return;
    }
    std::shared_ptr<Message> object(type.New().release());
    Status parsed;
    if (request.method == "PATCH") {
      json document = api::ToJsonValue(*current);
      auto patch = api::ParseJson(*body);
      if (patch.ok()) {
        document.merge_patch(*patch);
        parsed = api::FromJsonValue(document, object.get());
      } else {
        parsed = patch.status();
      }
    } else {
      parsed = protobuf ? api::FromProtobuf(*body, object.get()) : api::FromJson(*body, object.get());
    }
    if (!parsed.ok()) {
      co_await Answer(exchange, 400, Failure(400, "BadRequest", parsed.message()));
      co_return;
    }
    auto* metadata = MutableMetadataOf(object.get());
    if (resource.namespaced && !ns.empty()) metadata->set_namespace_(ns);
    if (request.method == "POST") {
      if (metadata->name().empty()) metadata->set_name(absl::StrCat(metadata->generatename(), "x", ++names));
      const std::string new_key = KeyOf(*object);
      if (objects[plural].contains(new_key)) {
        co_await Answer(
            exchange, 409,
            Failure(409, "AlreadyExists", absl::StrCat(resource.plural, " \"", metadata->name(), "\" already exists")));
        co_return;
      }
      co_await Answer(exchange, 201, *Store(plural, *object, nullptr));
      co_return;
    }
    if (request.method == "PUT") {
      if (!metadata->resourceversion().empty() &&
          metadata->resourceversion() != MetadataOf(*current).resourceversion()) {
        co_await Answer(exchange, 409,
                        Failure(409, "Conflict",
                                absl::StrCat("Operation cannot be fulfilled on ", resource.plural, " \"", name,
                                             "\": the object has been modified; please apply your changes to the "
                                             "latest version and try again")));
        co_return;
      }
      // A status write changes nothing else but annotations and labels; another write does not touch the status.
      const auto* field = object->GetDescriptor()->FindFieldByName("status");
      if (field != nullptr) {
        std::shared_ptr<Message> merged(current->New());
        merged->CopyFrom(*current);
        if (sub == "status") {
          *MutableMetadataOf(merged.get())->mutable_annotations() = metadata->annotations();
          *MutableMetadataOf(merged.get())->mutable_labels() = metadata->labels();
          merged->GetReflection()
              ->MutableMessage(merged.get(), field)
              ->CopyFrom(object->GetReflection()->GetMessage(*object, field));
          object = merged;
        } else {
          object->GetReflection()
              ->MutableMessage(object.get(), field)
              ->CopyFrom(current->GetReflection()->GetMessage(*current, field));
          const auto* spec = object->GetDescriptor()->FindFieldByName("spec");
          if (spec != nullptr && !api::Equal(object->GetReflection()->GetMessage(*object, spec),
                                             current->GetReflection()->GetMessage(*current, spec))) {
            MutableMetadataOf(object.get())->set_generation(MetadataOf(*current).generation() + 1);
          }
        }
      }
    }
    const Object stored = Store(plural, *object, current);
    if (MetadataOf(*stored).has_deletiontimestamp() && MetadataOf(*stored).finalizers().empty()) Delete(plural, key);
    co_await Answer(exchange, 200, *stored);
  }

  std::string Frame(std::string_view type, const Message& object) {
    std::string raw, extension, event;
    raw = Enveloped(KindOf(object), object.SerializeAsString());
    Field(1, raw, &extension);
    Field(1, type, &event);
    Field(2, extension, &event);
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(event.size() >> shift));
    return out + event;
  }

  Task<void> HandleWatch(http::Exchange& exchange, const std::string& plural, const std::string& ns,
                         const Message& prototype) {
    const http::Request& request = exchange.request();
    auto watcher = std::make_shared<Watcher>(executor);
    watcher->plural = plural;
    watcher->ns = ns;
    watcher->label_text = std::string(request.query.Get("labelSelector"));
    watcher->field_text = std::string(request.query.Get("fieldSelector"));
    watcher->prototype = &prototype;
    if (!absl::SimpleAtoi(request.query.Get("resourceVersion"), &watcher->sent)) watcher->sent = version;
    Status status =
        co_await exchange.Begin(200, {{"Content-Type", "application/vnd.kubernetes.protobuf;stream=watch"}});
    if (!status.ok()) co_return;
    if (watcher->sent < compacted) {
      status = co_await exchange.Write(Frame("ERROR", Failure(410, "Expired", "too old resource version")));
      status = co_await exchange.End();
      co_return;
    }
    watchers.push_back(watcher);
    co_await Stream(exchange, watcher);
    std::erase(watchers, watcher);
  }

  Task<void> Stream(http::Exchange& exchange, std::shared_ptr<Watcher> watcher) {
    while (true) {
      const auto news = std::upper_bound(history.begin(), history.end(), watcher->sent,
                                         [](uint64_t sent, const Change& change) { return sent < change.version; });
      for (auto i = static_cast<size_t>(news - history.begin()); i < history.size() && !mute; ++i) {
        const Change change = history[i];
        if (change.version <= watcher->sent) continue;
        watcher->sent = change.version;
        if (change.plural != watcher->plural) continue;
        const bool matches = Matches(*change.object, watcher->ns, watcher->label_text, watcher->field_text);
        const bool matched =
            change.before != nullptr && Matches(*change.before, watcher->ns, watcher->label_text, watcher->field_text);
        std::string type = change.type;
        if (type == "MODIFIED" && matches != matched) type = matches ? "ADDED" : "DELETED";
        if (!matches && !matched) continue;
        std::string frame = Frame(type, *change.object);
        if (corrupt) {
          corrupt = false;
          frame = std::string("\0\0\0\4\xff\xff\xff\xff", 8);
        }
        if (!(co_await exchange.Write(frame)).ok()) co_return;
      }
      if (watcher->bookmark) {
        watcher->bookmark = false;
        std::unique_ptr<Message> mark(watcher->prototype->New());
        MutableMetadataOf(mark.get())->set_resourceversion(absl::StrCat(version));
        if (!(co_await exchange.Write(Frame("BOOKMARK", *mark))).ok()) co_return;
      }
      if (watcher->end) {
        Send(co_await exchange.End());
        co_return;
      }
      if (watcher->drop) co_return;  // an unfinished chunked answer: the connection is closed
      if (!(co_await watcher->wakeup.Wait()).ok()) co_return;
    }
  }
};

namespace {
Task<void> Dispatch(std::weak_ptr<void> alive, std::function<Task<void>(http::Exchange&)> handle,
                    http::Exchange& exchange) {
  const auto keep = alive.lock();
  if (keep == nullptr) co_return;
  co_await handle(exchange);
}
}  // namespace

FakeApiServer::FakeApiServer(asio::any_io_executor executor) : impl_(std::make_shared<Impl>(executor)) {
  impl_->owner = this;
  Impl* impl = impl_.get();
  std::weak_ptr<void> weak = impl_;
  impl_->server = std::make_unique<http::Server>(executor, [weak, impl](http::Exchange& exchange) {
    return Dispatch(
        weak, [impl](http::Exchange& e) { return impl->Handle(e); }, exchange);
  });
  impl_->port = impl_->server->Listen("127.0.0.1:0").value();
}

FakeApiServer::~FakeApiServer() {
  for (const auto& watcher : impl_->watchers) {
    watcher->drop = true;
    watcher->wakeup.Notify();
  }
}

Config FakeApiServer::config() const {
  Config config;
  config.server = absl::StrCat("http://127.0.0.1:", impl_->port);
  config.qps = 0;
  return config;
}

std::shared_ptr<Rest> FakeApiServer::NewRest(Clock& clock) const {
  return Rest::Make(impl_->executor, config(), clock).value();
}

void FakeApiServer::Put(const Message& object) {
  const std::string plural = PluralOf(object);
  const auto found = impl_->objects[plural].find(KeyOf(object));
  impl_->Store(plural, object, found == impl_->objects[plural].end() ? nullptr : found->second);
}

std::shared_ptr<const Message> FakeApiServer::Find(const Message& prototype, const std::string& key) const {
  const auto& objects = impl_->objects[PluralOf(prototype)];
  const auto found = objects.find(key);
  return found == objects.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const Message>> FakeApiServer::All(const Message& prototype) const {
  std::vector<std::shared_ptr<const Message>> out;
  for (const auto& [key, object] : impl_->objects[PluralOf(prototype)]) out.push_back(object);
  return out;
}

void FakeApiServer::Remove(const Message& prototype, const std::string& key) {
  impl_->Delete(PluralOf(prototype), key);
}

void FakeApiServer::FailNext(int count, int status, std::string retry_after) {
  impl_->fail = count;
  impl_->fail_status = status;
  impl_->fail_after = std::move(retry_after);
}
void FakeApiServer::FailNextWatches(int count, int status) {
  impl_->fail_watches = count;
  impl_->fail_watch_status = status;
}
void FakeApiServer::DropNext(int count) { impl_->drop = count; }
void FakeApiServer::DropWatches() {
  for (const auto& watcher : impl_->watchers) {
    watcher->drop = true;
    watcher->wakeup.Notify();
  }
}
void FakeApiServer::EndWatches() {
  for (const auto& watcher : impl_->watchers) {
    watcher->end = true;
    watcher->wakeup.Notify();
  }
}
void FakeApiServer::Compact() {
  impl_->compacted = impl_->version;
  impl_->history.clear();
}
void FakeApiServer::CorruptNextEvent() { impl_->corrupt = true; }
void FakeApiServer::SendBookmarks() {
  for (const auto& watcher : impl_->watchers) {
    watcher->bookmark = true;
    watcher->wakeup.Notify();
  }
}
void FakeApiServer::MuteWatches(bool mute) {
  impl_->mute = mute;
  for (const auto& watcher : impl_->watchers) watcher->wakeup.Notify();
}

const std::vector<std::string>& FakeApiServer::requests() const { return impl_->requests; }
size_t FakeApiServer::CountRequests(const std::string& prefix) const {
  return static_cast<size_t>(std::count_if(impl_->requests.begin(), impl_->requests.end(),
                                           [&](const std::string& r) { return r.starts_with(prefix); }));
}
size_t FakeApiServer::watches() const { return impl_->watchers.size(); }

}  // namespace skiff::client
