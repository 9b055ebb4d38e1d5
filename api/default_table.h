// Internal to api: defaulting functions by message type, and the walk that calls them. A parent's function runs before
// its children's, as upstream's generated code does.
#ifndef SKIFF_API_DEFAULT_TABLE_H_
#define SKIFF_API_DEFAULT_TABLE_H_

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <google/protobuf/message.h>

#include "api/plan.h"

namespace skiff::api::internal {

class DefaultTable {
 public:
  using Function = void (*)(google::protobuf::Message*);

  // f(T*) for every T in an object.
  template <typename T>
  void Add(void (*f)(T*)) {
    functions_[T::descriptor()] = Entry{reinterpret_cast<void*>(f), &Call<T>};
  }
  // Applies the functions and the schema's defaults to a message and what it holds.
  void Apply(google::protobuf::Message* message) const;

 private:
  struct Entry {
    void* function = nullptr;
    void (*call)(void* function, google::protobuf::Message*) = nullptr;
  };
  template <typename T>
  static void Call(void* function, google::protobuf::Message* message) {
    reinterpret_cast<void (*)(T*)>(function)(static_cast<T*>(message));
  }
  // What is to be done with a message of one type, worked out once: most fields of most types ask for nothing.
  struct Node;
  struct Step {
    const FieldPlan* field;
    bool has_default, holds_amounts;
    const Node* child;  // where the field holds messages
  };
  struct Node {
    const Entry* entry = nullptr;
    std::vector<Step> steps;
    bool concerns = false;  // anything can happen to such a message, or below it
  };
  const Node& NodeOf(const Plan& plan) const;
  const Node& NodeLocked(const Plan& plan) const;
  void Walk(google::protobuf::Message* message, const Node& node) const;

  std::unordered_map<const google::protobuf::Descriptor*, Entry> functions_;
  mutable std::mutex mutex_;  // guards nodes_; a node does not change once the lock is given back
  mutable std::unordered_map<const google::protobuf::Descriptor*, std::unique_ptr<Node>> nodes_;
};

// Defaults of the core group; of every group.
void AddCoreDefaults(DefaultTable* table);
void AddGroupDefaults(DefaultTable* table);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_DEFAULT_TABLE_H_
