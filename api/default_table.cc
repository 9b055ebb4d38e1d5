#include "api/default_table.h"

#include "api/codec.h"
#include "api/map_access.h"
#include "api/quantity.h"

namespace skiff::api::internal {

using google::protobuf::FieldDescriptor;
using google::protobuf::MapValueRef;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

// Resource amounts finer than a thousandth are rounded up.
bool HoldsAmounts(const FieldPlan& field, const Plan& owner) {
  return field.is_map && field.value_type == FieldDescriptor::CPPTYPE_MESSAGE && field.message().form() == QUANTITY &&
         owner.descriptor()->file()->package() == "k8s.io.api.core.v1";
}

void RoundAmount(Message* quantity, const FieldDescriptor* text_field) {
  std::string scratch;
  const std::string& text = quantity->GetReflection()->GetStringReference(*quantity, text_field, &scratch);
  if (text.find_first_of("nu.-") == std::string::npos) return;
  const Quantity value = Quantity::Of(text);
  const Quantity rounded(value.ScaledValue(-3), -3, value.format());
  if (rounded != value) quantity->GetReflection()->SetString(quantity, text_field, rounded.ToString());
}

void SetSchemaDefault(Message* message, const FieldPlan& field, const std::string& text) {
  const Reflection* reflection = message->GetReflection();
  switch (field.value_type) {
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string scratch;
      const bool unset = field.pointer ? !reflection->HasField(*message, field.field)
                                       : reflection->GetStringReference(*message, field.field, &scratch).empty();
      if (unset) reflection->SetString(message, field.field, text.substr(1, text.size() - 2));
      return;
    }
    case FieldDescriptor::CPPTYPE_INT32:
      if (!reflection->HasField(*message, field.field)) reflection->SetInt32(message, field.field, std::stoi(text));
      return;
    default: return;
  }
}

bool HasSchemaDefault(const FieldPlan& field) {
  return !field.facts().default_json().empty() && !field.field->is_repeated();
}

}  // namespace

bool DefaultTable::Concerns(const Plan& plan) const {
  std::lock_guard lock(mutex_);
  return ConcernsLocked(plan);
}

bool DefaultTable::ConcernsLocked(const Plan& plan) const {
  const auto [it, fresh] = concerns_.emplace(plan.descriptor(), false);
  if (!fresh) return it->second;
  bool found = functions_.contains(plan.descriptor());
  for (const FieldPlan& field : plan.fields()) {
    if (found) break;
    found = HasSchemaDefault(field) || HoldsAmounts(field, plan) ||
            (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE && ConcernsLocked(field.message()));
  }
  return concerns_[plan.descriptor()] = found;
}

void DefaultTable::Walk(Message* message, const Plan& plan) const {
  if (const auto it = functions_.find(plan.descriptor()); it != functions_.end())
    it->second.call(it->second.function, message);
  const Reflection* reflection = message->GetReflection();
  for (const FieldPlan& field : plan.fields()) {
    if (HasSchemaDefault(field)) SetSchemaDefault(message, field, field.facts().default_json());
    if (field.value_type != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (HoldsAmounts(field, plan)) {
      const FieldDescriptor* text = field.message().descriptor()->field(0);
      MapAccess::ForEachMutable(message, field.field, [&](const std::string&, MapValueRef& value) {
        RoundAmount(value.MutableMessageValue(), text);
      });
      continue;
    }
    if (!Concerns(field.message())) continue;
    if (field.is_map) {
      MapAccess::ForEachMutable(message, field.field, [&](const std::string&, MapValueRef& value) {
        Walk(value.MutableMessageValue(), field.message());
      });
    } else if (field.is_list) {
      const int size = reflection->FieldSize(*message, field.field);
      for (int i = 0; i < size; ++i) Walk(reflection->MutableRepeatedMessage(message, field.field, i), field.message());
    } else if (reflection->HasField(*message, field.field)) {
      Walk(reflection->MutableMessage(message, field.field), field.message());
    } else if (!field.pointer) {
      // A value message exists even when unset: its defaults apply. Nothing set means nothing was there to default.
      Message* child = reflection->MutableMessage(message, field.field);
      Walk(child, field.message());
      std::vector<const FieldDescriptor*> set;
      child->GetReflection()->ListFields(*child, &set);
      if (set.empty()) reflection->ClearField(message, field.field);
    }
  }
}

void DefaultTable::Apply(Message* message) const {
  const Plan& plan = Plan::Of(message->GetDescriptor());
  if (Concerns(plan)) Walk(message, plan);
}

}  // namespace skiff::api::internal
