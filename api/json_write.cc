// Message -> JSON, straight into text or into a document.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/json_text.h"
#include "api/map_access.h"
#include "api/plan.h"
#include "api/time.h"

namespace skiff::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MapValueConstRef;
using google::protobuf::Message;
using google::protobuf::Reflection;
using internal::FieldPlan;
using internal::MapAccess;
using internal::Plan;

class TextSink {
 public:
  explicit TextSink(std::string* out) : out_(out) {}
  void Open(char bracket) { Value(), out_->push_back(bracket), first_ = true; }
  void Close(char bracket) { out_->push_back(bracket), first_ = false; }
  void Key(std::string_view key) {
    Value();
    AppendJsonString(key, out_);
    out_->push_back(':');
    first_ = true;
  }
  void String(std::string_view value) { Value(), AppendJsonString(value, out_); }
  void Bare(std::string_view value) { Value(), out_->append(value); }
  template <typename I>
  void Integer(I value) {
    Value(), absl::StrAppend(out_, value);
  }
  void Double(double value) { Bare(internal::FormatDouble(value)); }
  void Bool(bool value) { Bare(value ? "true" : "false"); }
  void Null() { Bare("null"); }
  void Raw(std::string_view text) { Bare(text); }

 private:
  void Value() {
    if (!first_) out_->push_back(',');
    first_ = false;
  }
  std::string* out_;
  bool first_ = true;
};

class ValueSink {
 public:
  explicit ValueSink(json* root) : stack_{root} {}
  void Open(char bracket) {
    json* at = Add(bracket == '{' ? json::object() : json::array());
    stack_.push_back(at);
  }
  void Close(char) { stack_.pop_back(); }
  void Key(std::string_view key) { key_ = key; }
  void String(std::string_view value) { Add(std::string(value)); }
  template <typename I>
  void Integer(I value) {
    Add(value);
  }
  void Double(double value) { Add(value); }
  void Bool(bool value) { Add(value); }
  void Null() { Add(nullptr); }
  void Raw(std::string_view text) {
    StatusOr<json> value = ParseJson(text);
    Add(value.ok() ? std::move(*value) : json());
  }

 private:
  json* Add(json value) {
    json* top = stack_.back();
    if (top->is_object()) return &((*top)[key_] = std::move(value));
    if (top->is_array()) return &top->emplace_back(std::move(value));
    *top = std::move(value);
    return top;
  }
  std::vector<json*> stack_;
  std::string key_;
};

template <typename Sink>
class Writer {
 public:
  explicit Writer(Sink* sink) : sink_(*sink) {}

  void Root(const Message& message, const GroupVersionKind* gvk) {
    const Plan& plan = Plan::Of(message.GetDescriptor());
    if (plan.form() != OBJECT) return Form(message, plan);
    sink_.Open('{');
    if (gvk != nullptr) {
      if (!gvk->kind.empty()) sink_.Key("kind"), sink_.String(gvk->kind);
      const std::string version = gvk->group_version().ToString();
      if (!version.empty()) sink_.Key("apiVersion"), sink_.String(version);
    }
    Fields(message, plan);
    sink_.Close('}');
  }

 private:
  void Any(const Message& message, const Plan& plan) {
    if (plan.form() != OBJECT) return Form(message, plan);
    sink_.Open('{');
    Fields(message, plan);
    sink_.Close('}');
  }

  void Fields(const Message& message, const Plan& plan) {
    const Reflection* reflection = message.GetReflection();
    for (const FieldPlan& field : plan.fields()) {
      if (field.is_inline) {
        Fields(reflection->GetMessage(message, field.field), field.message());
      } else if (field.is_map) {
        Map(message, field);
      } else if (field.is_list) {
        const int size = reflection->FieldSize(message, field.field);
        if (size == 0 && !field.keep_empty) continue;
        sink_.Key(field.name);
        // A list kind's items are never null.
        if (size == 0 && field.name != "items") {
          sink_.Null();
          continue;
        }
        List(message, field, size);
      } else {
        Single(message, *reflection, field);
      }
    }
  }

  void List(const Message& message, const FieldPlan& field, int size) {
    const Reflection* reflection = message.GetReflection();
    sink_.Open('[');
    for (int i = 0; i < size; ++i) {
      switch (field.value_type) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          Item(reflection->GetRepeatedMessage(message, field.field, i), field);
          break;
        case FieldDescriptor::CPPTYPE_STRING: {
          std::string scratch;
          Text(reflection->GetRepeatedStringReference(message, field.field, i, &scratch), field);
          break;
        }
        case FieldDescriptor::CPPTYPE_INT32:
          sink_.Integer(reflection->GetRepeatedInt32(message, field.field, i));
          break;
        case FieldDescriptor::CPPTYPE_INT64:
          sink_.Integer(reflection->GetRepeatedInt64(message, field.field, i));
          break;
        case FieldDescriptor::CPPTYPE_BOOL: sink_.Bool(reflection->GetRepeatedBool(message, field.field, i)); break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          sink_.Double(reflection->GetRepeatedDouble(message, field.field, i));
          break;
        default: sink_.Null();
      }
    }
    sink_.Close(']');
  }

  void Item(const Message& message, const FieldPlan& field) {
    // Upstream names the type of each claim template, and of no other object inside an object.
    if (field.name != "volumeClaimTemplates") return Any(message, field.message());
    sink_.Open('{');
    sink_.Key("kind"), sink_.String(message.GetDescriptor()->name());
    sink_.Key("apiVersion"), sink_.String("v1");
    Fields(message, field.message());
    sink_.Close('}');
  }

  void Map(const Message& message, const FieldPlan& field) {
    if (MapAccess::Size(message, field.field) == 0) {
      if (field.keep_empty) sink_.Key(field.name), sink_.Null();
      return;
    }
    sink_.Key(field.name);
    std::vector<std::pair<std::string, MapValueConstRef>> entries;
    MapAccess::ForEach(message, field.field, [&](const std::string& key, const MapValueConstRef& value) {
      entries.emplace_back(key, value);
    });
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    sink_.Open('{');
    for (const auto& [key, value] : entries) {
      sink_.Key(key);
      switch (field.value_type) {
        case FieldDescriptor::CPPTYPE_MESSAGE: Any(value.GetMessageValue(), field.message()); break;
        case FieldDescriptor::CPPTYPE_STRING: Text(value.GetStringValue(), field); break;
        case FieldDescriptor::CPPTYPE_INT32: sink_.Integer(value.GetInt32Value()); break;
        case FieldDescriptor::CPPTYPE_INT64: sink_.Integer(value.GetInt64Value()); break;
        case FieldDescriptor::CPPTYPE_BOOL: sink_.Bool(value.GetBoolValue()); break;
        default: sink_.Null();
      }
    }
    sink_.Close('}');
  }

  void Single(const Message& message, const Reflection& reflection, const FieldPlan& field) {
    if (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE) {
      const bool has = reflection.HasField(message, field.field);
      if (!has && field.pointer) {
        if (field.keep_empty) sink_.Key(field.name), sink_.Null();
        return;
      }
      const Message& value = reflection.GetMessage(message, field.field);
      if (field.omit_zero && (!has || Zero(value))) return;
      sink_.Key(field.name);
      return Any(value, field.message());
    }
    if (field.pointer && !reflection.HasField(message, field.field)) {
      if (field.keep_empty) sink_.Key(field.name), sink_.Null();
      return;
    }
    const bool always = field.pointer || field.keep_empty;
    switch (field.value_type) {
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string scratch;
        const std::string& value = reflection.GetStringReference(message, field.field, &scratch);
        if (value.empty() && !always) return;
        sink_.Key(field.name);
        // A nil byte slice that is always written is null.
        if (field.is_bytes && value.empty() && !field.pointer && !reflection.HasField(message, field.field))
          return sink_.Null();
        return Text(value, field);
      }
      case FieldDescriptor::CPPTYPE_INT32: {
        const int32_t value = reflection.GetInt32(message, field.field);
        if (value != 0 || always) sink_.Key(field.name), sink_.Integer(value);
        return;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        const int64_t value = reflection.GetInt64(message, field.field);
        if (value != 0 || always) sink_.Key(field.name), sink_.Integer(value);
        return;
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        const bool value = reflection.GetBool(message, field.field);
        if (value || always) sink_.Key(field.name), sink_.Bool(value);
        return;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        const double value = reflection.GetDouble(message, field.field);
        if (value != 0 || always) sink_.Key(field.name), sink_.Double(value);
        return;
      }
      default: return;
    }
  }

  void Text(const std::string& value, const FieldPlan& field) {
    if (field.is_bytes)
      sink_.String(internal::EncodeBase64(value));
    else
      sink_.String(value);
  }

  static bool Zero(const Message& message) {
    std::vector<const FieldDescriptor*> set;
    message.GetReflection()->ListFields(message, &set);
    return set.empty();
  }

  // Messages with a form of their own. Their fields are few and fixed; descriptors find them by position.
  void Form(const Message& message, const Plan& plan) {
    const Reflection& reflection = *message.GetReflection();
    const auto field = [&](int i) { return plan.descriptor()->field(i); };
    std::string scratch;
    switch (plan.form()) {
      case QUANTITY: {
        const std::string& text = reflection.GetStringReference(message, field(0), &scratch);
        return sink_.String(text.empty() ? std::string_view("0") : std::string_view(text));
      }
      case TIME:
      case MICRO_TIME: {
        if (plan.form() == TIME) {
          const auto& time = static_cast<const Time&>(message);
          return IsZero(time) ? sink_.Null() : sink_.String(FormatTime(time));
        }
        const auto& time = static_cast<const MicroTime&>(message);
        return IsZero(time) ? sink_.Null() : sink_.String(FormatMicroTime(time));
      }
      case DURATION:
        return sink_.String(FormatDuration(std::chrono::nanoseconds(reflection.GetInt64(message, field(0)))));
      case INT_OR_STRING:
        if (reflection.GetInt64(message, field(0)) == 1)
          return sink_.String(reflection.GetStringReference(message, field(2), &scratch));
        return sink_.Integer(reflection.GetInt32(message, field(1)));
      case RAW_JSON: {
        const std::string& raw = reflection.GetStringReference(message, field(0), &scratch);
        if (raw.empty() || raw.starts_with(kProtobufMagic)) return sink_.Null();
        return sink_.Raw(raw);
      }
      case LIST: {
        const FieldPlan& list = plan.fields()[0];
        const int size = reflection.FieldSize(message, list.field);
        return size == 0 ? sink_.Null() : List(message, list, size);
      }
      case SCHEMA_OR_ARRAY:
        if (reflection.FieldSize(message, field(1)) > 0)
          return List(message, plan.fields()[1], reflection.FieldSize(message, field(1)));
        break;
      case SCHEMA_OR_BOOL:
        if (!reflection.HasField(message, plan.fields()[1].field))
          return sink_.Bool(reflection.GetBool(message, plan.fields()[0].field));
        return Any(reflection.GetMessage(message, plan.fields()[1].field), plan.fields()[1].message());
      case SCHEMA_OR_STRINGS:
        if (reflection.FieldSize(message, field(1)) > 0)
          return List(message, plan.fields()[1], reflection.FieldSize(message, field(1)));
        break;
      case OBJECT: return Any(message, plan);
    }
    if (!reflection.HasField(message, plan.fields()[0].field)) return sink_.Null();
    Any(reflection.GetMessage(message, plan.fields()[0].field), plan.fields()[0].message());
  }

  Sink& sink_;
};

}  // namespace

void AppendJson(const Message& message, const GroupVersionKind* gvk, std::string* out) {
  TextSink sink(out);
  Writer<TextSink>(&sink).Root(message, gvk);
}

std::string ToJson(const Message& message, const GroupVersionKind* gvk) {
  std::string out;
  AppendJson(message, gvk, &out);
  return out;
}

json ToJsonValue(const Message& message, const GroupVersionKind* gvk) {
  json out;
  ValueSink sink(&out);
  Writer<ValueSink>(&sink).Root(message, gvk);
  return out;
}

}  // namespace skiff::api
