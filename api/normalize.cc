// Presence: unset and zero are the same for most fields, and upstream writes both.
#include <string>
#include <vector>

#include "api/codec.h"
#include "api/map_access.h"
#include "api/plan.h"

namespace skiff::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MapValueConstRef;
using google::protobuf::MapValueRef;
using google::protobuf::Message;
using google::protobuf::Reflection;
using internal::FieldPlan;
using internal::MapAccess;
using internal::Plan;

bool IsTime(const Plan& plan) { return plan.form() == TIME || plan.form() == MICRO_TIME; }

// True if the message holds nothing afterwards.
bool NormalizeOne(Message* message, const Plan& plan) {
  const Reflection* reflection = message->GetReflection();
  if (IsTime(plan)) {
    // seconds: 0 is the epoch, not "unset".
    const FieldDescriptor* nanos = plan.fields()[1].field;
    if (reflection->GetInt32(*message, nanos) == 0) reflection->ClearField(message, nanos);
    return !reflection->HasField(*message, plan.fields()[0].field) && !reflection->HasField(*message, nanos);
  }
  bool empty = true;
  for (const FieldPlan& field : plan.fields()) {
    if (field.is_map) {
      if (MapAccess::Size(*message, field.field) == 0) continue;
      empty = false;
      if (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE)
        MapAccess::ForEachMutable(message, field.field, [&](const std::string&, MapValueRef& value) {
          NormalizeOne(value.MutableMessageValue(), field.message());
        });
      continue;
    }
    if (field.is_list) {
      const int size = reflection->FieldSize(*message, field.field);
      if (size > 0) empty = false;
      if (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE)
        for (int i = 0; i < size; ++i)
          NormalizeOne(reflection->MutableRepeatedMessage(message, field.field, i), field.message());
      continue;
    }
    if (!reflection->HasField(*message, field.field)) continue;
    bool zero = false;
    switch (field.value_type) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        zero = NormalizeOne(reflection->MutableMessage(message, field.field), field.message());
        break;
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string scratch;
        zero = !field.is_bytes && reflection->GetStringReference(*message, field.field, &scratch).empty();
        break;
      }
      case FieldDescriptor::CPPTYPE_INT32: zero = reflection->GetInt32(*message, field.field) == 0; break;
      case FieldDescriptor::CPPTYPE_INT64: zero = reflection->GetInt64(*message, field.field) == 0; break;
      case FieldDescriptor::CPPTYPE_BOOL: zero = !reflection->GetBool(*message, field.field); break;
      case FieldDescriptor::CPPTYPE_DOUBLE: zero = reflection->GetDouble(*message, field.field) == 0; break;
      default: break;
    }
    if (zero && !field.pointer)
      reflection->ClearField(message, field.field);
    else
      empty = false;
  }
  return empty;
}

bool EqualMessages(const Message& a, const Message& b, const Plan& plan);

bool EqualMapValues(const MapValueConstRef& a, const MapValueConstRef& b, const FieldPlan& field) {
  switch (field.value_type) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return EqualMessages(a.GetMessageValue(), b.GetMessageValue(), field.message());
    case FieldDescriptor::CPPTYPE_STRING: return a.GetStringValue() == b.GetStringValue();
    case FieldDescriptor::CPPTYPE_INT32: return a.GetInt32Value() == b.GetInt32Value();
    case FieldDescriptor::CPPTYPE_INT64: return a.GetInt64Value() == b.GetInt64Value();
    case FieldDescriptor::CPPTYPE_BOOL: return a.GetBoolValue() == b.GetBoolValue();
    default: return true;
  }
}

bool EqualMessages(const Message& a, const Message& b, const Plan& plan) {
  const Reflection* r = a.GetReflection();
  if (IsTime(plan) && r->HasField(a, plan.fields()[0].field) != r->HasField(b, plan.fields()[0].field)) return false;
  for (const FieldPlan& field : plan.fields()) {
    const FieldDescriptor* f = field.field;
    if (field.is_map) {
      if (MapAccess::Size(a, f) != MapAccess::Size(b, f)) return false;
      bool same = true;
      MapAccess::ForEach(a, f, [&](const std::string& key, const MapValueConstRef& value) {
        MapValueConstRef other;
        same = same && MapAccess::Lookup(b, f, key, &other) && EqualMapValues(value, other, field);
      });
      if (!same) return false;
      continue;
    }
    if (field.is_list) {
      const int size = r->FieldSize(a, f);
      if (size != r->FieldSize(b, f)) return false;
      for (int i = 0; i < size; ++i) {
        std::string sa, sb;
        bool same = true;
        switch (field.value_type) {
          case FieldDescriptor::CPPTYPE_MESSAGE:
            same = EqualMessages(r->GetRepeatedMessage(a, f, i), r->GetRepeatedMessage(b, f, i), field.message());
            break;
          case FieldDescriptor::CPPTYPE_STRING:
            same = r->GetRepeatedStringReference(a, f, i, &sa) == r->GetRepeatedStringReference(b, f, i, &sb);
            break;
          case FieldDescriptor::CPPTYPE_INT32:
            same = r->GetRepeatedInt32(a, f, i) == r->GetRepeatedInt32(b, f, i);
            break;
          case FieldDescriptor::CPPTYPE_INT64:
            same = r->GetRepeatedInt64(a, f, i) == r->GetRepeatedInt64(b, f, i);
            break;
          case FieldDescriptor::CPPTYPE_BOOL: same = r->GetRepeatedBool(a, f, i) == r->GetRepeatedBool(b, f, i); break;
          case FieldDescriptor::CPPTYPE_DOUBLE:
            same = r->GetRepeatedDouble(a, f, i) == r->GetRepeatedDouble(b, f, i);
            break;
          default: break;
        }
        if (!same) return false;
      }
      continue;
    }
    if (field.pointer) {
      const bool has = r->HasField(a, f);
      if (has != r->HasField(b, f)) return false;
      if (!has) continue;
    }
    std::string sa, sb;
    bool same = true;
    switch (field.value_type) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        same = (!r->HasField(a, f) && !r->HasField(b, f)) ||
               EqualMessages(r->GetMessage(a, f), r->GetMessage(b, f), field.message());
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        same = r->GetStringReference(a, f, &sa) == r->GetStringReference(b, f, &sb);
        break;
      case FieldDescriptor::CPPTYPE_INT32: same = r->GetInt32(a, f) == r->GetInt32(b, f); break;
      case FieldDescriptor::CPPTYPE_INT64: same = r->GetInt64(a, f) == r->GetInt64(b, f); break;
      case FieldDescriptor::CPPTYPE_BOOL: same = r->GetBool(a, f) == r->GetBool(b, f); break;
      case FieldDescriptor::CPPTYPE_DOUBLE: same = r->GetDouble(a, f) == r->GetDouble(b, f); break;
      default: break;
    }
    if (!same) return false;
  }
  return true;
}

}  // namespace

void Normalize(Message* message) { NormalizeOne(message, Plan::Of(message->GetDescriptor())); }

bool Equal(const Message& a, const Message& b) {
  return a.GetDescriptor() == b.GetDescriptor() && EqualMessages(a, b, Plan::Of(a.GetDescriptor()));
}

}  // namespace skiff::api
