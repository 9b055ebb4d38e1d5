#include "client/informer.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "api/scheme.h"
#include "base/log.h"
#include "client/object.h"
#include "client/rate_limit.h"

namespace skiff::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// An answer that may be meant for the version that the watch asked for (a server restored from a backup does not know
// it yet): only a list gets out of that. Too busy (429) and not there (503) are meant for everybody.
bool RefusesVersion(const Status& status) {
  const int code = HttpCodeOf(status);
  return code != 0 && code != 429 && code != 503;
}

}  // namespace

std::string KeyOf(const Message& object) {
  const meta::ObjectMeta& metadata = MetadataOf(object);
  return MakeKey(metadata.namespace_(), metadata.name());
}

std::pair<std::string, std::string> SplitKey(std::string_view key) {
  const size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

struct InformerBase::State {
  struct Entry {
    Ptr object;
    uint32_t list = 0;  // the last list that had it
  };
  struct Index {
    std::string name;
    IndexFunction function;
    // Views of the store's keys, which stay where they are.
    std::map<std::string, std::set<std::string_view>, std::less<>> keys;
  };
  struct Handler {
    std::function<void(const Ptr&)> added;
    std::function<void(const Ptr&, const Ptr&)> updated;
    std::function<void(const Ptr&)> deleted;
  };
  using Store = std::map<std::string, Entry, std::less<>>;

  State(std::shared_ptr<Rest> rest, const Message& prototype, InformerOptions options)
      : rest(std::move(rest)), prototype(prototype), options(std::move(options)) {}

  std::shared_ptr<Rest> rest;
  const Message& prototype;
  InformerOptions options;
  std::function<void(Message&)> transform;
  std::unique_ptr<Message> scratch;
  Store store;
  std::vector<Index> indexes;
  std::deque<Handler> handlers;  // a handler may add another while it runs
  std::vector<std::shared_ptr<Wakeup>> waiters;
  std::function<void()> interrupt;  // ends the list or watch that runs
  std::string resource_version;
  uint32_t lists = 0;
  uint32_t generation = 0;  // of the options
  uint64_t events = 0;      // ever seen on a watch
  bool synced = false;
  bool need_list = true;
  bool abandoned = false;
  Status last_error;

  std::string Name() const { return prototype.GetDescriptor()->name(); }

  // The one copy that is kept. Fields that the transform drops would keep their memory inside the decoded message, so
  // what is left is copied into a fresh one.
  Ptr Compact(std::shared_ptr<Message> decoded) {
    meta::ObjectMeta* metadata = MutableMetadataOf(decoded.get());
    const bool managed = metadata != nullptr && metadata->managedfields_size() > 0;
    if (managed) metadata->clear_managedfields();
    if (transform) transform(*decoded);
    if (!managed && !transform) return decoded;
    std::shared_ptr<Message> kept(prototype.New());
    kept->CopyFrom(*decoded);
    return kept;
  }

  void Unindex(std::string_view key, const Message& object) {
    for (Index& index : indexes) {
      for (const std::string& value : index.function(object)) {
        const auto found = index.keys.find(value);
        if (found == index.keys.end()) continue;
        found->second.erase(key);
        if (found->second.empty()) index.keys.erase(found);
      }
    }
  }
  void AddToIndexes(std::string_view key, const Message& object) {
    for (Index& index : indexes) {
      for (std::string& value : index.function(object)) index.keys[std::move(value)].insert(key);
    }
  }

  void Put(std::shared_ptr<Message> decoded) {
    std::string key = KeyOf(*decoded);
    const auto found = store.find(key);
    if (found == store.end()) {
      Ptr now = Compact(std::move(decoded));
      const auto added = store.emplace(std::move(key), Entry{now, lists}).first;
      AddToIndexes(added->first, *now);
      for (size_t i = 0; i < handlers.size(); ++i) {
        if (handlers[i].added) handlers[i].added(now);
      }
      return;
    }
    found->second.list = lists;
    const auto& old_meta = MetadataOf(*found->second.object);
    const auto& new_meta = MetadataOf(*decoded);
    const bool same_object = old_meta.uid() == new_meta.uid();
    if (same_object && old_meta.resourceversion() == new_meta.resourceversion()) return;
    const Ptr before = found->second.object;
    Ptr now = Compact(std::move(decoded));
    // Deleted and made again while nobody watched: as two changes, so that nobody mixes the two objects up.
    if (!same_object) {
      Unindex(found->first, *before);
      store.erase(found);
      for (size_t i = 0; i < handlers.size(); ++i) {
        if (handlers[i].deleted) handlers[i].deleted(before);
      }
      const auto added = store.emplace(std::move(key), Entry{now, lists}).first;
      AddToIndexes(added->first, *now);
      for (size_t i = 0; i < handlers.size(); ++i) {
        if (handlers[i].added) handlers[i].added(now);
      }
      return;
    }
    Unindex(found->first, *before);
    found->second.object = now;
    AddToIndexes(found->first, *now);
    for (size_t i = 0; i < handlers.size(); ++i) {
      if (handlers[i].updated) handlers[i].updated(before, now);
    }
  }

  void Remove(Store::iterator entry, const Ptr& last) {
    Unindex(entry->first, *entry->second.object);
    store.erase(entry);
    for (size_t i = 0; i < handlers.size(); ++i) {
      if (handlers[i].deleted) handlers[i].deleted(last);
    }
  }

  // Everything, page by page, straight into the store; what no page had goes away at the end.
  Task<Status> ListAll() {
    ++lists;
    ListOptions list;
    list.label_selector = options.label_selector;
    list.field_selector = options.field_selector;
    list.limit = options.page_size;
    const std::string ns = options.ns;
    const uint32_t of = generation;
    std::string version;
    while (true) {
      auto put = [this](std::shared_ptr<Message> object) {
        if (!abandoned) Put(std::move(object));
      };
      std::function<void(std::shared_ptr<Message>)> item = put;
      auto page = co_await rest->RunList(prototype, ns, list, std::move(item));
      if (of != generation) co_return absl::AbortedError("the selector changed");
      if (!page.ok()) {
        // A token that expired between two pages: the whole list at once instead, as upstream's pager does.
        if (IsGone(page.status()) && !list.continue_token.empty()) {
          list.continue_token.clear();
          list.limit = 0;
          continue;
        }
        co_return page.status();
      }
      version = page->resource_version;
      list.continue_token = page->continue_token;
      if (list.continue_token.empty()) break;
    }
    std::vector<std::string> gone;
    for (const auto& [key, entry] : store) {
      if (entry.list != lists) gone.push_back(key);
    }
    for (const std::string& key : gone) {
      const auto found = store.find(key);
      if (found != store.end() && found->second.list != lists) Remove(found, Ptr(found->second.object));
    }
    resource_version = std::move(version);
    need_list = false;
    last_error = absl::OkStatus();
    if (!synced) {
      synced = true;
      for (const auto& waiter : waiters) waiter->Notify();
      waiters.clear();
    }
    co_return absl::OkStatus();
  }

  // Ends with the error that ended the watch; kOutOfRange without a server's code is the orderly end.
  Task<Status> WatchOnce(seconds timeout) {
    ListOptions list;
    list.label_selector = options.label_selector;
    list.field_selector = options.field_selector;
    list.resource_version = resource_version;
    const uint32_t of = generation;
    auto watch = co_await rest->StartWatch(prototype, options.ns, std::move(list), timeout);
    if (!watch.ok()) co_return watch.status();
    last_error = absl::OkStatus();
    while (true) {
      auto event = co_await (*watch)->Next();
      if (of != generation || abandoned) co_return absl::AbortedError("the selector changed");
      if (!event.ok()) co_return event.status();
      ++events;
      std::string version = MetadataOf(*event->object).resourceversion();
      switch (event->type) {
        case WatchEvent::kAdded:
        case WatchEvent::kModified: Put(std::move(event->object)); break;
        case WatchEvent::kDeleted: {
          const auto found = store.find(KeyOf(*event->object));
          if (found != store.end()) Remove(found, Compact(std::move(event->object)));
          break;
        }
        case WatchEvent::kBookmark: break;
      }
      if (!version.empty()) resource_version = std::move(version);
    }
  }
};

InformerBase::InformerBase(std::shared_ptr<Rest> rest, const Message& prototype, InformerOptions options)
    : state_(std::make_shared<State>(std::move(rest), prototype, std::move(options))) {}

InformerBase::~InformerBase() {
  state_->abandoned = true;
  state_->handlers.clear();
  if (state_->interrupt) state_->interrupt();
}

// The frames refer to the state only: the informer itself may go away first.
Task<void> InformerBase::Run() { return RunState(state_); }

Task<void> InformerBase::Step(std::shared_ptr<State> state, std::chrono::nanoseconds wait, Status* result) {
  Clock& clock = state->rest->clock();
  if (wait.count() > 0 && !(co_await clock.Sleep(wait)).ok()) {
    *result = absl::CancelledError("context canceled");
    co_return;
  }
  if (state->need_list) {
    *result = co_await state->ListAll();
    co_return;
  }
  // As upstream: 5 to 10 minutes, so that not all watchers come back at once. A server that is silently gone is noticed
  // half a minute after the time at which it should have ended the watch.
  const seconds timeout(300 + static_cast<int>(300 * RandomFraction()));
  *result = co_await WithTimeout(timeout + seconds(30), "watch", state->WatchOnce(timeout));
}

Task<void> InformerBase::RunState(std::shared_ptr<State> state) {
  Clock& clock = state->rest->clock();
  Backoff backoff(milliseconds(200), seconds(30), 2, 0.5);
  std::chrono::nanoseconds wait{0};
  while (!state->abandoned) {
    const bool listed = state->need_list;
    const uint32_t generation = state->generation;
    const SteadyTime started = clock.Steady() + wait;
    const uint64_t seen = state->events;
    // A member of its own, so that Restart can end it and nothing else.
    Status status;
    {
      TaskGroup group(state->rest->executor());
      state->interrupt = group.Spawn("informer", Step(state, wait, &status));
      co_await group.Join();
      state->interrupt = nullptr;
    }
    wait = std::chrono::nanoseconds(0);
    if (co_await IsCancelled() || state->abandoned) co_return;
    if (generation != state->generation) {
      backoff.Reset();
      continue;
    }
    if (status.ok()) {
      backoff.Reset();
      continue;
    }
    if (!listed) {
      const bool progress = state->events != seen || clock.Steady() - started > seconds(10);
      if (progress) backoff.Reset();
      if (absl::IsOutOfRange(status) && !IsGone(status)) {
        VLOG(4, "Watch close", {"type", state->Name()}, {"resourceVersion", state->resource_version});
        if (progress) continue;
        status = Unavailable("very short watch: unexpected watch close");
      }
      if (IsGone(status)) {
        VLOG(2, "Watch expired, listing again", {"type", state->Name()}, {"err", status});
        state->need_list = true;
        if (progress) continue;
      } else if (absl::IsDataLoss(status) || absl::IsInvalidArgument(status) || RefusesVersion(status)) {
        state->need_list = true;
      }
    }
    state->last_error = status;
    LOG_WARNING("Failed to list or watch", {"type", state->Name()}, {"err", status});
    wait = std::max<std::chrono::nanoseconds>(backoff.Next(), RetryAfterOf(status));
  }
}

bool InformerBase::HasSynced() const { return state_->synced; }

Task<Status> InformerBase::WaitForSync() {
  auto state = state_;
  if (state->synced) co_return absl::OkStatus();
  auto waiter = std::make_shared<Wakeup>(state->rest->executor());
  state->waiters.push_back(waiter);
  co_return co_await waiter->Wait();
}

Task<Status> WaitForSync(std::vector<InformerBase*> informers) {
  for (InformerBase* informer : informers) CO_RETURN_IF_ERROR(co_await informer->WaitForSync());
  co_return absl::OkStatus();
}

size_t InformerBase::size() const { return state_->store.size(); }
Status InformerBase::last_error() const { return state_->last_error; }

InformerBase::Ptr InformerBase::GetBase(std::string_view key) const {
  const auto found = state_->store.find(key);
  return found == state_->store.end() ? nullptr : found->second.object;
}

void InformerBase::ForEachBase(const std::function<void(const Ptr&)>& visit) const {
  for (const auto& [key, entry] : state_->store) visit(entry.object);
}

std::vector<InformerBase::Ptr> InformerBase::ByIndexBase(std::string_view index, std::string_view value) const {
  std::vector<Ptr> out;
  const auto& store = state_->store;
  if (index == "namespace") {
    // The keys' order is this index.
    const std::string prefix = absl::StrCat(value, "/");
    for (auto it = store.lower_bound(prefix); it != store.end() && it->first.starts_with(prefix); ++it) {
      out.push_back(it->second.object);
    }
    return out;
  }
  for (const auto& candidate : state_->indexes) {
    if (candidate.name != index) continue;
    const auto found = candidate.keys.find(value);
    if (found == candidate.keys.end()) break;
    out.reserve(found->second.size());
    for (const std::string_view key : found->second) out.push_back(store.find(key)->second.object);
    break;
  }
  return out;
}

void InformerBase::AddIndexBase(std::string name, IndexFunction function) {
  state_->indexes.push_back({std::move(name), std::move(function), {}});
  auto& index = state_->indexes.back();
  for (const auto& [key, entry] : state_->store) {
    for (std::string& value : index.function(*entry.object)) index.keys[std::move(value)].insert(key);
  }
}

void InformerBase::AddHandlerBase(std::function<void(const Ptr&)> added,
                                  std::function<void(const Ptr&, const Ptr&)> updated,
                                  std::function<void(const Ptr&)> deleted) {
  if (added) {
    std::vector<Ptr> present;
    for (const auto& [key, entry] : state_->store) present.push_back(entry.object);
    for (const Ptr& object : present) added(object);
  }
  state_->handlers.push_back({std::move(added), std::move(updated), std::move(deleted)});
}

void InformerBase::SetTransformBase(std::function<void(Message&)> transform) {
  state_->transform = std::move(transform);
}

void InformerBase::Restart(InformerOptions options) {
  state_->options = std::move(options);
  state_->need_list = true;
  ++state_->generation;
  if (state_->interrupt) state_->interrupt();
}

}  // namespace skiff::client
