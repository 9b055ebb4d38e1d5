// A local, always current view of one resource: list, then watch, for ever. Bookmarks move the resume point; a dropped
// watch is resumed from it after a jittered back-off; 410 lists again; an undecodable event lists again. The store
// holds one copy of each object, shared with whoever keeps the pointer. Loop thread only.
//
//   auto pods = std::make_shared<Informer<core::Pod>>(rest, InformerOptions{.field_selector = "spec.nodeName=n1"});
//   pods->SetTransform([](core::Pod& pod) { pod.mutable_metadata()->clear_managedfields(); });
//   pods->AddHandler({.added = [this](const auto& pod) { queue_.Add(KeyOf(*pod)); }, ...});
//   group.Spawn("watch pods", pods->Run());
//   CO_RETURN_IF_ERROR(co_await pods->WaitForSync());
//
// Handlers run on the loop, in the order of the watch, after the store has the new state; they must not block or
// co_await. After a list again, only differences are delivered; a deletion that was missed delivers the last known
// object.
#ifndef SKIFF_CLIENT_INFORMER_H_
#define SKIFF_CLIENT_INFORMER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/rest.h"

namespace skiff::client {

struct InformerOptions {
  std::string ns;  // "": all
  std::string label_selector, field_selector;
  int64_t page_size = 500;
};

// "namespace/name", or "name" for cluster-scoped objects: the store's key, and upstream's.
std::string KeyOf(const Message& object);
inline std::string MakeKey(std::string_view ns, std::string_view name) {
  return ns.empty() ? std::string(name) : absl::StrCat(ns, "/", name);
}
std::pair<std::string, std::string> SplitKey(std::string_view key);  // namespace, name

// The untyped part. Use Informer<T>.
class InformerBase {
 public:
  using Ptr = std::shared_ptr<const Message>;
  using IndexFunction = std::function<std::vector<std::string>(const Message&)>;

  InformerBase(std::shared_ptr<Rest> rest, const Message& prototype, InformerOptions options);
  virtual ~InformerBase();
  InformerBase(const InformerBase&) = delete;
  InformerBase& operator=(const InformerBase&) = delete;

  // Until cancelled. Once only; keeps what it needs alive by itself.
  Task<void> Run();
  // The first list is in the store and its handlers have run.
  bool HasSynced() const;
  Task<Status> WaitForSync();  // kCancelled when cancelled
  size_t size() const;
  // The last error of list or watch since the last success, for health checks and logs. OK when all is well.
  Status last_error() const;
  // Changes the selector: lists again; objects that no longer match are delivered as deleted.
  void Restart(InformerOptions options);

  Ptr GetBase(std::string_view key) const;
  void ForEachBase(const std::function<void(const Ptr&)>& visit) const;  // in key order
  std::vector<Ptr> ByIndexBase(std::string_view index, std::string_view value) const;
  void AddIndexBase(std::string name, IndexFunction function);
  void AddHandlerBase(std::function<void(const Ptr&)> added, std::function<void(const Ptr&, const Ptr&)> updated,
                      std::function<void(const Ptr&)> deleted);
  void SetTransformBase(std::function<void(Message&)> transform);

 private:
  struct State;
  static Task<void> RunState(std::shared_ptr<State> state);
  static Task<void> Step(std::shared_ptr<State> state, std::chrono::nanoseconds wait, Status* result);
  std::shared_ptr<State> state_;
};

// Waits for several informers.
Task<Status> WaitForSync(std::vector<InformerBase*> informers);

template <typename T>
class Informer : public InformerBase {
 public:
  using Ptr = std::shared_ptr<const T>;
  struct Handler {
    std::function<void(const Ptr&)> added;
    std::function<void(const Ptr& before, const Ptr& now)> updated;  // also when only metadata changed
    std::function<void(const Ptr&)> deleted;                         // the last known state
  };

  explicit Informer(std::shared_ptr<Rest> rest, InformerOptions options = {})
      : InformerBase(std::move(rest), T::default_instance(), std::move(options)) {}

  // Objects added later than Run see what the store holds as `added` at once.
  void AddHandler(Handler handler) {
    std::function<void(const InformerBase::Ptr&)> added, deleted;
    std::function<void(const InformerBase::Ptr&, const InformerBase::Ptr&)> updated;
    if (handler.added)
      added = [f = std::move(handler.added)](const auto& o) { f(std::static_pointer_cast<const T>(o)); };
    if (handler.updated) {
      updated = [f = std::move(handler.updated)](const auto& before, const auto& now) {
        f(std::static_pointer_cast<const T>(before), std::static_pointer_cast<const T>(now));
      };
    }
    if (handler.deleted) {
      deleted = [f = std::move(handler.deleted)](const auto& o) { f(std::static_pointer_cast<const T>(o)); };
    }
    AddHandlerBase(std::move(added), std::move(updated), std::move(deleted));
  }
  // Calls f(object) on every change, deletions too: for code that looks at the store.
  void OnChange(std::function<void(const T&)> f) {
    AddHandlerBase([f](const auto& o) { f(static_cast<const T&>(*o)); },
                   [f](const auto&, const auto& now) { f(static_cast<const T&>(*now)); },
                   [f](const auto& o) { f(static_cast<const T&>(*o)); });
  }
  // Before Run: drops fields that the program never reads, so that the store stays small. managedFields are always
  // dropped.
  void SetTransform(std::function<void(T&)> transform) {
    SetTransformBase([f = std::move(transform)](Message& m) { f(static_cast<T&>(m)); });
  }
  // Before Run. `function` gives the values under which an object is found.
  void AddIndex(std::string name, std::function<std::vector<std::string>(const T&)> function) {
    AddIndexBase(std::move(name), [f = std::move(function)](const Message& m) { return f(static_cast<const T&>(m)); });
  }

  Ptr Get(std::string_view key) const { return std::static_pointer_cast<const T>(GetBase(key)); }  // null: not there
  Ptr Get(std::string_view ns, std::string_view name) const { return Get(MakeKey(ns, name)); }
  void ForEach(const std::function<void(const Ptr&)>& visit) const {
    ForEachBase([&](const auto& o) { visit(std::static_pointer_cast<const T>(o)); });
  }
  std::vector<Ptr> List() const {
    std::vector<Ptr> out;
    out.reserve(size());
    ForEach([&](const Ptr& o) { out.push_back(o); });
    return out;
  }
  std::vector<Ptr> ByIndex(std::string_view index, std::string_view value) const {
    return Cast(ByIndexBase(index, value));
  }
  // The index that every store has.
  std::vector<Ptr> InNamespace(std::string_view ns) const { return ByIndex("namespace", ns); }

 private:
  static std::vector<Ptr> Cast(const std::vector<InformerBase::Ptr>& in) {
    std::vector<Ptr> out;
    out.reserve(in.size());
    for (const auto& o : in) out.push_back(std::static_pointer_cast<const T>(o));
    return out;
  }
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_INFORMER_H_
