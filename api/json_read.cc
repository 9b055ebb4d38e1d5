// JSON -> message.
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "api/json_place.h"
#include "api/json_text.h"
#include "api/map_access.h"
#include "api/plan.h"
#include "api/quantity.h"
#include "api/time.h"

namespace skiff::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MapValueRef;
using google::protobuf::Message;
using google::protobuf::Reflection;
using internal::Cursor;
using internal::FieldPlan;
using internal::kMaxProblems;
using internal::MapAccess;
using internal::PathOf;
using internal::Place;
using internal::Plan;

// Go's field path in type errors: field names only.
std::string GoPathOf(const Place* place) {
  if (place == nullptr) return {};
  std::string parent = GoPathOf(place->parent);
  if (place->index >= 0 || place->map_key) return parent;
  return parent.empty() ? std::string(place->name) : absl::StrCat(parent, ".", place->name);
}

class Reader {
 public:
  Reader(std::string_view text, FieldProblems* problems) : cursor_(text), problems_(problems) {}

  Status Run(Message* out, GroupVersionKind* gvk) {
    const Plan& plan = Plan::Of(out->GetDescriptor());
    gvk_ = gvk;
    Any(out, plan, nullptr, {});
    return error_;
  }

 private:
  // What a type error says about the place: the struct and field, or the plain type.
  struct Where {
    const Plan* owner = nullptr;
    const Place* place = nullptr;
  };

  void Fail(Status status) {
    if (error_.ok()) error_ = std::move(status);
  }
  // `value` is Go's word for what was found ("string", "number 1.5").
  void Mismatch(std::string_view value, std::string_view go_type, Where where) {
    if (!error_.ok()) return;
    if (where.owner == nullptr || where.place == nullptr)
      return Fail(InvalidArgument("json: cannot unmarshal ", value, " into Go value of type ", go_type));
    Fail(InvalidArgument("json: cannot unmarshal ", value, " into Go struct field ", where.owner->descriptor()->name(),
                         ".", GoPathOf(where.place), " of type ", go_type));
  }
  void Problem(std::string_view what, const Place& place) {
    if (problems_ == nullptr || problems_->size() >= kMaxProblems) return;
    std::string text = absl::StrCat(what, " field \"", PathOf(&place), "\"");
    for (const std::string& seen : *problems_)
      if (seen == text) return;
    problems_->push_back(std::move(text));
  }

  // A value into a message of any form. True if the message now holds anything.
  bool Any(Message* out, const Plan& plan, const Place* place, Where where) {
    if (plan.form() != OBJECT) return Form(out, plan, place, where);
    const char c = cursor_.Peek();
    if (c == 'n') return cursor_.Raw(), false;
    if (c != '{') {
      Mismatch(cursor_.TypeName(), plan.GoName(), where);
      return cursor_.Raw(), false;
    }
    return Object(out, plan, place);
  }

  bool Object(Message* out, const Plan& plan, const Place* place) {
    bool any = false;
    const bool root = place == nullptr;
    std::vector<const void*> seen;
    std::vector<const FieldPlan*> chain;
    bool seen_kind = false, seen_version = false;
    for (bool more = cursor_.Enter(); more; more = cursor_.Next()) {
      const std::string key = cursor_.Key();
      Place here{place, key, -1, false};
      chain.clear();
      const FieldPlan* field = plan.Find(key, &chain);
      if (field == nullptr) {
        if ((root || plan.type_meta()) && (key == "kind" || key == "apiVersion")) {
          bool& mark = key == "kind" ? seen_kind : seen_version;
          if (mark) Problem("duplicate", here);
          mark = true;
          TypeMeta(key, plan, here, root);
        } else {
          Problem("unknown", here);
          cursor_.Raw();
        }
        continue;
      }
      here.name = field->name;  // outlives the loop
      bool repeated = false;
      for (const void* f : seen) repeated |= f == field;
      if (repeated)
        Problem("duplicate", here);
      else
        seen.push_back(field);
      if (cursor_.Peek() == 'n') {
        cursor_.Raw();
        if (chain.empty()) out->GetReflection()->ClearField(out, field->field);
        continue;
      }
      any |= Through(out, plan, chain, 0, *field, here);
    }
    return any;
  }

  // Steps through inlined messages, which only exist once something in them does.
  bool Through(Message* out, const Plan& owner, const std::vector<const FieldPlan*>& chain, size_t at,
               const FieldPlan& field, const Place& place) {
    if (at == chain.size()) return Field(out, owner, field, place);
    const Reflection* reflection = out->GetReflection();
    const bool had = reflection->HasField(*out, chain[at]->field);
    const bool any = Through(reflection->MutableMessage(out, chain[at]->field), owner, chain, at + 1, field, place);
    if (!any && !had) reflection->ClearField(out, chain[at]->field);
    return any || had;
  }

  void TypeMeta(const std::string& key, const Plan& plan, const Place& place, bool root) {
    if (cursor_.Peek() == 'n') return cursor_.Raw(), void();
    if (cursor_.Peek() != '"') {
      Mismatch(cursor_.TypeName(), "string", {&plan, &place});
      return cursor_.Raw(), void();
    }
    const std::string value = cursor_.String();
    if (gvk_ == nullptr || !root) return;
    if (key == "kind") {
      gvk_->kind = value;
    } else if (StatusOr<GroupVersion> parsed = GroupVersion::Parse(value); parsed.ok()) {
      gvk_->group = parsed->group;
      gvk_->version = parsed->version;
    } else {
      Fail(parsed.status());
    }
  }

  std::string GoType(const FieldPlan& field) {
    std::string type;
    switch (field.value_type) {
      case FieldDescriptor::CPPTYPE_MESSAGE: type = field.message().GoName(); break;
      case FieldDescriptor::CPPTYPE_STRING: type = field.is_bytes ? "[]uint8" : "string"; break;
      case FieldDescriptor::CPPTYPE_INT32: type = "int32"; break;
      case FieldDescriptor::CPPTYPE_INT64: type = "int64"; break;
      case FieldDescriptor::CPPTYPE_BOOL: type = "bool"; break;
      case FieldDescriptor::CPPTYPE_DOUBLE: type = "float64"; break;
      default: type = "interface {}";
    }
    return type;
  }

  bool Field(Message* out, const Plan& owner, const FieldPlan& field, const Place& place) {
    const Reflection* reflection = out->GetReflection();
    const Where where{&owner, &place};
    if (field.is_list) {
      if (cursor_.Peek() != '[') {
        Mismatch(cursor_.TypeName(), absl::StrCat("[]", GoType(field)), where);
        return cursor_.Raw(), false;
      }
      reflection->ClearField(out, field.field);
      return List(out, owner, field, &place);
    }
    if (field.is_map) {
      if (cursor_.Peek() != '{') {
        Mismatch(cursor_.TypeName(), absl::StrCat("map[string]", GoType(field)), where);
        return cursor_.Raw(), false;
      }
      return Map(out, owner, field, place);
    }
    switch (field.value_type) {
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const bool any = Any(reflection->MutableMessage(out, field.field), field.message(), &place, where);
        if (any || field.pointer) return true;
        reflection->ClearField(out, field.field);
        return false;
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string value;
        if (!Text(field, where, &value)) return false;
        if (value.empty() && !field.pointer && !field.is_bytes) return Clear(out, field);
        reflection->SetString(out, field.field, std::move(value));
        return true;
      }
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value;
        if (!Integer(where, "int32", &value)) return false;
        if (value == 0 && !field.pointer) return Clear(out, field);
        reflection->SetInt32(out, field.field, value);
        return true;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t value;
        if (!Integer(where, "int64", &value)) return false;
        if (value == 0 && !field.pointer) return Clear(out, field);
        reflection->SetInt64(out, field.field, value);
        return true;
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        bool value;
        if (!Bool(where, &value)) return false;
        if (!value && !field.pointer) return Clear(out, field);
        reflection->SetBool(out, field.field, value);
        return true;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value;
        if (!Double(where, &value)) return false;
        if (value == 0 && !field.pointer) return Clear(out, field);
        reflection->SetDouble(out, field.field, value);
        return true;
      }
      default: return cursor_.Raw(), false;
    }
  }

  bool Clear(Message* out, const FieldPlan& field) {
    out->GetReflection()->ClearField(out, field.field);
    return false;
  }

  bool List(Message* out, const Plan& owner, const FieldPlan& field, const Place* parent) {
    const Reflection* reflection = out->GetReflection();
    Place here{parent, {}, 0, false};
    const Where where{&owner, &here};
    for (bool more = cursor_.Enter(); more; more = cursor_.Next(), ++here.index) {
      const bool null = cursor_.Peek() == 'n';
      if (null) cursor_.Raw();
      switch (field.value_type) {
        case FieldDescriptor::CPPTYPE_MESSAGE: {
          Message* item = reflection->AddMessage(out, field.field);
          if (!null) Any(item, field.message(), &here, where);
          break;
        }
        case FieldDescriptor::CPPTYPE_STRING: {
          std::string value;
          if (!null) Text(field, where, &value);
          reflection->AddString(out, field.field, std::move(value));
          break;
        }
        case FieldDescriptor::CPPTYPE_INT32: {
          int32_t value = 0;
          if (!null) Integer(where, "int32", &value);
          reflection->AddInt32(out, field.field, value);
          break;
        }
        case FieldDescriptor::CPPTYPE_INT64: {
          int64_t value = 0;
          if (!null) Integer(where, "int64", &value);
          reflection->AddInt64(out, field.field, value);
          break;
        }
        case FieldDescriptor::CPPTYPE_BOOL: {
          bool value = false;
          if (!null) Bool(where, &value);
          reflection->AddBool(out, field.field, value);
          break;
        }
        case FieldDescriptor::CPPTYPE_DOUBLE: {
          double value = 0;
          if (!null) Double(where, &value);
          reflection->AddDouble(out, field.field, value);
          break;
        }
        default: cursor_.Raw();
      }
    }
    return here.index > 0;
  }

  bool Map(Message* out, const Plan& owner, const FieldPlan& field, const Place& parent) {
    bool any = false;
    for (bool more = cursor_.Enter(); more; more = cursor_.Next()) {
      const std::string key = cursor_.Key();
      const Place here{&parent, key, -1, true};
      const Where where{&owner, &here};
      MapValueRef value;
      if (!MapAccess::Insert(out, field.field, key, &value)) Problem("duplicate", here);
      any = true;
      const bool null = cursor_.Peek() == 'n';
      if (null) cursor_.Raw();
      switch (field.value_type) {
        case FieldDescriptor::CPPTYPE_MESSAGE: {
          Message* message = value.MutableMessageValue();
          message->Clear();
          if (!null) Any(message, field.message(), &here, where);
          break;
        }
        case FieldDescriptor::CPPTYPE_STRING: {
          std::string text;
          if (!null) Text(field, where, &text);
          value.SetStringValue(text);
          break;
        }
        case FieldDescriptor::CPPTYPE_INT32: {
          int32_t number = 0;
          if (!null) Integer(where, "int32", &number);
          value.SetInt32Value(number);
          break;
        }
        case FieldDescriptor::CPPTYPE_INT64: {
          int64_t number = 0;
          if (!null) Integer(where, "int64", &number);
          value.SetInt64Value(number);
          break;
        }
        case FieldDescriptor::CPPTYPE_BOOL: {
          bool flag = false;
          if (!null) Bool(where, &flag);
          value.SetBoolValue(flag);
          break;
        }
        default:
          if (!null) cursor_.Raw();
      }
    }
    return any;
  }

  bool Text(const FieldPlan& field, Where where, std::string* out) {
    if (cursor_.Peek() != '"') {
      Mismatch(cursor_.TypeName(), field.is_bytes ? "[]uint8" : "string", where);
      return cursor_.Raw(), false;
    }
    *out = cursor_.String();
    if (!field.is_bytes) return true;
    StatusOr<std::string> bytes = internal::DecodeBase64(*out);
    if (!bytes.ok()) return Fail(bytes.status()), false;
    *out = *std::move(bytes);
    return true;
  }

  template <typename I>
  bool Integer(Where where, std::string_view go_type, I* out) {
    if (cursor_.Peek() != '0') {
      Mismatch(cursor_.TypeName(), go_type, where);
      return cursor_.Raw(), false;
    }
    const std::string_view text = cursor_.Number();
    const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), *out);
    if (err != std::errc() || end != text.data() + text.size()) {
      *out = 0;
      return Mismatch(absl::StrCat("number ", text), go_type, where), false;
    }
    return true;
  }

  bool Double(Where where, double* out) {
    if (cursor_.Peek() != '0') {
      Mismatch(cursor_.TypeName(), "float64", where);
      return cursor_.Raw(), false;
    }
    const std::string_view text = cursor_.Number();
    if (!absl::SimpleAtod(text, out)) return Mismatch(absl::StrCat("number ", text), "float64", where), false;
    return true;
  }

  bool Bool(Where where, bool* out) {
    if (cursor_.Peek() != 't' && cursor_.Peek() != 'f') {
      Mismatch(cursor_.TypeName(), "bool", where);
      return cursor_.Raw(), false;
    }
    *out = cursor_.Bool();
    return true;
  }

  // A string for types whose own decoder asks for one.
  bool OwnString(std::string* out) {
    if (cursor_.Peek() != '"') {
      Mismatch(cursor_.TypeName(), "string", {});
      return cursor_.Raw(), false;
    }
    *out = cursor_.String();
    return true;
  }

  bool Form(Message* out, const Plan& plan, const Place* place, Where where) {
    const Reflection* reflection = out->GetReflection();
    const char c = cursor_.Peek();
    const auto field = [&](int i) { return plan.descriptor()->field(i); };
    std::string text;
    if (plan.form() == RAW_JSON) {
      const std::string_view raw = cursor_.Raw();
      reflection->SetString(out, field(0), Compact(raw));
      return true;
    }
    if (c == 'n') return cursor_.Raw(), false;
    switch (plan.form()) {
      case QUANTITY: {
        text = c == '"' ? cursor_.String() : std::string(cursor_.Raw());
        StatusOr<std::string> canonical = Quantity::Canonicalize(text);
        if (!canonical.ok()) return Fail(canonical.status()), false;
        reflection->SetString(out, field(0), *std::move(canonical));
        return true;
      }
      case TIME:
      case MICRO_TIME: {
        if (!OwnString(&text)) return false;
        StatusOr<ParsedTime> time = ParseRfc3339(text);
        if (!time.ok()) return Fail(time.status()), false;
        reflection->SetInt64(out, field(0), time->seconds);
        if (time->nanos != 0 && plan.form() == MICRO_TIME)
          reflection->SetInt32(out, field(1), time->nanos / 1000 * 1000);
        return true;
      }
      case DURATION: {
        if (!OwnString(&text)) return false;
        StatusOr<std::chrono::nanoseconds> duration = ParseDuration(text);
        if (!duration.ok()) return Fail(duration.status()), false;
        if (duration->count() == 0) return false;
        reflection->SetInt64(out, field(0), duration->count());
        return true;
      }
      case INT_OR_STRING: {
        if (c == '"') {
          reflection->SetInt64(out, field(0), 1);
          reflection->SetString(out, field(2), cursor_.String());
          return true;
        }
        int32_t number;
        if (!Integer({}, "int32", &number) || number == 0) return false;
        reflection->SetInt32(out, field(1), number);
        return true;
      }
      case LIST:
        if (c != '[') {
          Mismatch(cursor_.TypeName(), plan.GoName(), where);
          return cursor_.Raw(), false;
        }
        return List(out, plan, plan.fields()[0], place);
      case SCHEMA_OR_ARRAY:
      case SCHEMA_OR_STRINGS:
        if (c == '[') return List(out, plan, plan.fields()[1], place);
        return Any(reflection->MutableMessage(out, plan.fields()[0].field), plan.fields()[0].message(), place, where),
               true;
      case SCHEMA_OR_BOOL:
        if (c == '{') {
          reflection->SetBool(out, plan.fields()[0].field, true);
          Any(reflection->MutableMessage(out, plan.fields()[1].field), plan.fields()[1].message(), place, where);
        } else {
          bool value = false;
          if (!Bool(where, &value)) return false;
          if (value) reflection->SetBool(out, plan.fields()[0].field, true);
        }
        return true;
      default: return cursor_.Raw(), false;
    }
  }

  // Without the space between tokens, everything else as it stands.
  static std::string Compact(std::string_view raw) {
    std::string out;
    out.reserve(raw.size());
    bool in_string = false;
    for (size_t i = 0; i < raw.size(); ++i) {
      const char c = raw[i];
      if (in_string) {
        out.push_back(c);
        if (c == '\\')
          out.push_back(raw[++i]);
        else if (c == '"')
          in_string = false;
      } else if (c == '"') {
        in_string = true;
        out.push_back(c);
      } else if (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
        out.push_back(c);
      }
    }
    return out;
  }

  Cursor cursor_;
  FieldProblems* problems_;
  GroupVersionKind* gvk_ = nullptr;
  Status error_;
};

}  // namespace

Status StrictDecodingError(const FieldProblems& problems) {
  return InvalidArgument("strict decoding error: ", absl::StrJoin(problems, ", "));
}

Status FromJson(std::string_view text, Message* out, GroupVersionKind* gvk, FieldProblems* problems) {
  out->Clear();
  RETURN_IF_ERROR(internal::ValidateJson(text));
  return Reader(text, problems).Run(out, gvk);
}

Status FromJsonValue(const json& value, Message* out, FieldProblems* problems) {
  std::string text;
  AppendJson(value, &text);
  return FromJson(text, out, nullptr, problems);
}

}  // namespace skiff::api
