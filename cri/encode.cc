#include "cri/encode.h"

#include "absl/strings/str_cat.h"
#include "base/go_text.h"
#include "base/utf8.h"
#include "google/protobuf/descriptor.h"

namespace skiff::cri {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Where in `message` a string is no UTF-8: "config.annotations["a"]", "config.envs[2].key"; "" for nowhere.
std::string FindInvalidString(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  std::string scratch;
  for (const FieldDescriptor* field : fields) {
    const bool text = field->type() == FieldDescriptor::TYPE_STRING;
    if (!text && field->type() != FieldDescriptor::TYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const std::string at = !field->is_repeated() ? field->name() : absl::StrCat(field->name(), "[", i, "]");
      if (text) {
        const std::string& value = field->is_repeated()
                                       ? reflection.GetRepeatedStringReference(message, field, i, &scratch)
                                       : reflection.GetStringReference(message, field, &scratch);
        if (!IsUtf8(value)) return at;
        continue;
      }
      const Message& inner = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                  : reflection.GetMessage(message, field);
      const std::string below = FindInvalidString(inner);
      if (below.empty()) continue;
      if (!field->is_map()) return absl::StrCat(at, ".", below);
      const FieldDescriptor* key = field->message_type()->map_key();
      if (key->type() != FieldDescriptor::TYPE_STRING) return at;
      return absl::StrCat(field->name(), "[", GoQuote(inner.GetReflection()->GetStringReference(inner, key, &scratch)),
                          "]");
    }
  }
  return "";
}

}  // namespace

StatusOr<std::string> Encode(const Message& message) {
  const std::string field = FindInvalidString(message);
  if (!field.empty()) {
    return Internal("grpc: error while marshaling: string field contains invalid UTF-8: ", field);
  }
  return message.SerializeAsString();
}

}  // namespace skiff::cri
