// Internal to api: defaulting functions by message type, and the walk that calls them. A parent's function runs before
// its children's, as upstream's generated code does.
#ifndef SKIFF_API_DEFAULT_TABLE_H_
#define SKIFF_API_DEFAULT_TABLE_H_

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

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
  // Whether anything can happen to a message of this type, or below it.
  bool Concerns(const Plan& plan) const;
  bool ConcernsLocked(const Plan& plan) const;
  void Walk(google::protobuf::Message* message, const Plan& plan) const;

  std::unordered_map<const google::protobuf::Descriptor*, Entry> functions_;
  mutable std::mutex mutex_;  // guards concerns_
  mutable std::unordered_map<const google::protobuf::Descriptor*, bool> concerns_;
};

// Defaults of the core group; of every group.
void AddCoreDefaults(DefaultTable* table);
void AddGroupDefaults(DefaultTable* table);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_DEFAULT_TABLE_H_
