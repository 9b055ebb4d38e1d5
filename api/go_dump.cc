#include "api/go_dump.h"

#include <cmath>
#include <map>

#include <google/protobuf/descriptor.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/go_layout.h"
#include "api/quantity_reading.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "skiff/api/options.pb.h"

namespace skiff::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
namespace core = k8s::io::api::core::v1;

const json* Member(const json* document, std::string_view key) {
  if (document == nullptr || !document->is_object()) return nullptr;
  auto it = document->find(key);
  return it == document->end() || it->is_null() ? nullptr : &*it;
}

// Away from zero.
__int128 DivideUp(__int128 value, int tens) {
  bool rest = false;
  for (; tens > 0 && value != 0; --tens) {
    rest = rest || value % 10 != 0;
    if (value / 10 == 0 && rest) return value > 0 ? 1 : -1;
    value /= 10;
  }
  return !rest ? value : value > 0 ? value + 1 : value - 1;
}

class Printer {
 public:
  Printer(std::string_view package, GoLayout layout) : package_(package), layout_(std::move(layout)) {}

  // The internal type of a pod has the flags of host namespaces in its security context.
  void set_internal(const core::PodSpec* spec) { spec_ = spec; }

  std::string Print(std::string_view type, const Message& message, const json* document) {
    Add("(", spec_ != nullptr ? "*" : "", Name(type), ")");
    Struct(type, message, document);
    return std::move(out_);
  }

 private:
  template <typename... T>
  void Add(const T&... text) {
    absl::StrAppend(&out_, text...);
  }

  std::string Name(std::string_view type) const {
    const size_t start = type.find_first_not_of("*[]");
    const bool own = type[start] >= 'A' && type[start] <= 'Z';
    return absl::StrCat(type.substr(0, start), own ? package_ : "", own ? "." : "", type.substr(start));
  }

  void Struct(std::string_view type, const Message& message, const json* document) {
    Add("{");
    const auto& fields = layout_.at(type);
    for (const GoField& field : fields) {
      if (&field != &fields.front()) Add(" ");
      Add(field.name, ":");
      Field(type, field, message, document);
    }
    Add("}");
  }

  void Field(std::string_view of, const GoField& go, const Message& message, const json* document) {
    if (go.type == "v1.TypeMeta") {
      Add("(v1.TypeMeta){Kind:(string) APIVersion:(string)}");
      return;
    }
    if (go.name == "Status" && of == "Pod") {
      static const core::PodStatus kNone;
      Add("(", Name(go.type), ")");
      Struct(go.type, kNone, nullptr);
      return;
    }
    const auto* descriptor = message.GetDescriptor();
    const std::string_view wanted = go.json_key.empty() ? go.name : go.json_key;
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (!absl::EqualsIgnoreCase(field->name(), wanted)) continue;
      const bool is_inline = field->options().GetExtension(skiff::api::field).inline_();
      const json* below = is_inline ? document : Member(document, field->name());
      if (go.name == "ServiceAccountName" && spec_ != nullptr && spec_->serviceaccountname().empty()) {
        Add("(string)", spec_->serviceaccount());
      } else if (of == "ResourceRequirements" && go.name == "Requests" && spec_ != nullptr) {
        Requests(message, field, below, Member(document, "limits"));
      } else {
        Value(go.type, message, field, below);
      }
      return;
    }
    // Not in this message: a field that the internal type has elsewhere, or one that is never set.
    if (of == "PodSecurityContext" && spec_ != nullptr) {
      Field("PodSpec", go, *spec_, nullptr);
    } else {
      Absent(go.type);
    }
  }

  void Absent(std::string_view type) {
    Add("(", Name(type), ")");
    if (type[0] == '*' || type[0] == '[' || absl::StartsWith(type, "map[") || type == "ResourceList") Add("<nil>");
    if (absl::StartsWith(type, "int")) Add("0");
    if (type == "bool") Add("false");
  }

  void Value(std::string_view type, const Message& message, const FieldDescriptor* field, const json* document) {
    const auto* reflection = message.GetReflection();
    Add("(", Name(type), ")");
    if (field->is_map()) {
      Map(message, field, document, nullptr);
    } else if (field->is_repeated()) {
      const int size = reflection->FieldSize(message, field);
      if (size == 0) {
        Add(document != nullptr ? "[]" : "<nil>");
        return;
      }
      type.remove_prefix(2);
      Add("[");
      for (int i = 0; i < size; ++i) {
        if (i > 0) Add(" ");
        const json* below = document != nullptr && document->is_array() && i < static_cast<int>(document->size())
                                ? &(*document)[static_cast<size_t>(i)]
                                : nullptr;
        Element(type, message, field, i, below);
      }
      Add("]");
    } else {
      if (type[0] == '*') {
        if (!reflection->HasField(message, field)) {
          // The service of a gRPC probe defaults to a pointer to nothing.
          if (spec_ == nullptr || field->containing_type()->name() != "GRPCAction") Add("<nil>");
          return;
        }
        type.remove_prefix(1);
      }
      Element(type, message, field, -1, document);
    }
  }

  // What follows the type.
  void Element(std::string_view type, const Message& message, const FieldDescriptor* field, int i,
               const json* document) {
    const auto* r = message.GetReflection();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        Add(i < 0 ? r->GetInt32(message, field) : r->GetRepeatedInt32(message, field, i));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        Add(i < 0 ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, i));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        Add((i < 0 ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, i)) ? "true" : "false");
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        Add(i < 0 ? r->GetString(message, field) : r->GetRepeatedString(message, field, i));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const Message& below = i < 0 ? r->GetMessage(message, field) : r->GetRepeatedMessage(message, field, i);
        if (type == "resource.Quantity") {
          // Defaulting here writes zeros where upstream's leaves what was not in the manifest.
          const bool there = spec_ != nullptr ? document != nullptr : r->HasField(message, field);
          AddQuantity(there ? Text(below, document) : "", false);
        } else if (type == "v1.Time") {
          const int64_t seconds =
              below.GetReflection()->GetInt64(below, below.GetDescriptor()->FindFieldByName("seconds"));
          const bool zero = i < 0 && !r->HasField(message, field);
          // Seconds since the year 1.
          Add("{Time:(time.Time){wall:(uint64)0 ext:(int64)", zero ? 0 : seconds + 62135596800,
              " loc:(*time.Location)<nil>}}");
        } else {
          Struct(type, below, document);
        }
        break;
      }
      default: break;  // no such fields in these types
    }
  }

  // `more` adds keys that the map lacks, as defaulting does.
  void Map(const Message& message, const FieldDescriptor* field, const json* document, const json* more) {
    const auto* reflection = message.GetReflection();
    const int size = reflection->FieldSize(message, field);
    if (size == 0) {
      Add(document != nullptr || more != nullptr ? "map[]" : "<nil>");
      return;
    }
    std::map<std::string, const Message*> entries;
    const auto* key = field->message_type()->map_key();
    for (int i = 0; i < size; ++i) {
      const Message& entry = reflection->GetRepeatedMessage(message, field, i);
      entries[entry.GetReflection()->GetString(entry, key)] = &entry;
    }
    const auto* value = field->message_type()->map_value();
    const char* separator = "map[";
    for (const auto& [name, entry] : entries) {
      Add(separator, name, ":");
      separator = " ";
      if (value->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        Add(entry->GetReflection()->GetString(*entry, value));
        continue;
      }
      const json* written = Member(document, name);
      if (written == nullptr) written = Member(more, name);
      AddQuantity(Text(entry->GetReflection()->GetMessage(*entry, value), written), spec_ != nullptr);
    }
    Add("]");
  }

  // Requests that were taken from the limits are written as those.
  void Requests(const Message& message, const FieldDescriptor* field, const json* document, const json* limits) {
    Add("(", package_, ".ResourceList)");
    Map(message, field, document, limits);
  }

  static std::string Text(const Message& quantity, const json* written) {
    if (written == nullptr) {
      return quantity.GetReflection()->GetString(quantity, quantity.GetDescriptor()->FindFieldByName("string"));
    }
    if (written->is_string()) return written->get<std::string>();
    if (written->is_number_float()) {
      const double value = written->get<double>();
      if (value == std::floor(value) && std::abs(value) < 1e15) return absl::StrCat(static_cast<int64_t>(value));
    }
    return written->dump();
  }

  // `round`: to thousandths, as defaulting does in lists of resources. No text is a quantity that was never set.
  void AddQuantity(std::string_view text, bool round) {
    QuantityReading q;
    q.is_int64 = true;
    if (!text.empty()) {
      if (auto read = ReadQuantity(text); read.ok()) q = *read;
    }
    if (text == "0") q.keep_text = true;
    if (round && q.is_int64 && q.exponent < -3) {
      q.mantissa = DivideUp(q.mantissa, -3 - q.exponent);
      q.exponent = -3;
      q.keep_text = false;
    }
    Add("{i:(resource.int64Amount){value:(int64)", q.is_int64 ? static_cast<int64_t>(q.mantissa) : 0,
        " scale:(resource.Scale)", q.is_int64 ? q.exponent : 0, "} d:(resource.infDecAmount){Dec:(*inf.Dec)");
    if (q.is_int64) {
      Add("<nil>");
    } else {
      const int places = round ? 3 : 9;
      __int128 value = q.mantissa;
      if (-q.exponent > places) value = DivideUp(value, -q.exponent - places);
      if (q.exponent != 0 || round) {
        for (int i = -q.exponent; i < places; ++i) value *= 10;
      }
      const unsigned __int128 magnitude = value < 0 ? -static_cast<unsigned __int128>(value) : value;
      Add("{unscaled:(big.Int){neg:(bool)", value < 0 ? "true" : "false", " abs:(big.nat)[",
          static_cast<uint64_t>(magnitude));
      if (magnitude >> 64 != 0) Add(" ", static_cast<uint64_t>(magnitude >> 64));
      Add("]} scale:(inf.Scale)", q.exponent != 0 || round ? places : 0, "}");
    }
    std::string_view format = q.format == Quantity::Format::kBinarySI    ? "BinarySI"
                              : q.format == Quantity::Format::kDecimalSI ? "DecimalSI"
                                                                         : "DecimalExponent";
    if (text.empty()) format = "";
    Add("} s:(string)", q.keep_text ? text : "", " Format:(resource.Format)", format, "}");
  }
  const std::string_view package_;
  const GoLayout layout_;
  const core::PodSpec* spec_ = nullptr;
  std::string out_;
};

}  // namespace

std::string GoDump(const core::PodTemplateSpec& template_spec) {
  return Printer("v1", ServedGoLayout()).Print("PodTemplateSpec", template_spec, nullptr);
}

std::string GoDump(const core::Pod& pod, const json& manifest) {
  Printer printer("core", InternalGoLayout());
  printer.set_internal(&pod.spec());
  return printer.Print("Pod", pod, &manifest);
}

}  // namespace skiff::api
