// Internal to api: map fields by reflection without their second, repeated form. The public reflection interface shows
// a map as a list of entries, which makes every map that was looked at keep a copy of itself; the functions that read
// it in place are private to protobuf and its friends, of which this class (CEL's) is the one left for others to
// define.
#ifndef SKIFF_API_MAP_ACCESS_H_
#define SKIFF_API_MAP_ACCESS_H_

#include <google/protobuf/map_field.h>
#include <google/protobuf/message.h>

namespace google::protobuf::expr {

class CelMapReflectionFriend {
 public:
  static int Size(const Message& message, const FieldDescriptor* field) {
    return message.GetReflection()->MapSize(message, field);
  }
  // f(const std::string& key, const MapValueConstRef& value)
  template <typename F>
  static void ForEach(const Message& message, const FieldDescriptor* field, F f) {
    const Reflection* reflection = message.GetReflection();
    // Iterating changes nothing; only the signature asks for a mutable message.
    auto* mutable_message = const_cast<Message*>(&message);
    const MapIterator end = reflection->MapEnd(mutable_message, field);
    for (MapIterator it = reflection->MapBegin(mutable_message, field); it != end; ++it)
      f(it.GetKey().GetStringValue(), static_cast<const MapValueConstRef&>(it.GetValueRef()));
  }
  template <typename F>
  static void ForEachMutable(Message* message, const FieldDescriptor* field, F f) {
    const Reflection* reflection = message->GetReflection();
    const MapIterator end = reflection->MapEnd(message, field);
    for (MapIterator it = reflection->MapBegin(message, field); it != end; ++it)
      f(it.GetKey().GetStringValue(), *it.MutableValueRef());
  }
  // The value, made where absent; true if it was made.
  static bool Insert(Message* message, const FieldDescriptor* field, const std::string& key, MapValueRef* value) {
    MapKey map_key;
    map_key.SetStringValue(key);
    return message->GetReflection()->InsertOrLookupMapValue(message, field, map_key, value);
  }
  static bool Lookup(const Message& message, const FieldDescriptor* field, const std::string& key,
                     MapValueConstRef* value) {
    MapKey map_key;
    map_key.SetStringValue(key);
    return message.GetReflection()->LookupMapValue(message, field, map_key, value);
  }
};

}  // namespace google::protobuf::expr

namespace skiff::api::internal {
using MapAccess = google::protobuf::expr::CelMapReflectionFriend;
}

#endif  // SKIFF_API_MAP_ACCESS_H_
