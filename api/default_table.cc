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

const DefaultTable::Node& DefaultTable::NodeOf(const Plan& plan) const {
  std::lock_guard lock(mutex_);
  return NodeLocked(plan);
}

const DefaultTable::Node& DefaultTable::NodeLocked(const Plan& plan) const {
  std::unique_ptr<Node>& made = nodes_[plan.descriptor()];
  if (made != nullptr) return *made;
  made = std::make_unique<Node>();
  Node& node = *made;  // the table may grow below
  if (const auto it = functions_.find(plan.descriptor()); it != functions_.end()) node.entry = &it->second;
  node.concerns = node.entry != nullptr;
  for (const FieldPlan& field : plan.fields()) {
    Step step{&field, HasSchemaDefault(field), HoldsAmounts(field, plan), nullptr};
    if (field.value_type == FieldDescriptor::CPPTYPE_MESSAGE && !step.holds_amounts) {
      step.child = &NodeLocked(field.message());
      node.concerns = node.concerns || step.child->concerns;
    }
    if (!step.has_default && !step.holds_amounts && step.child == nullptr) continue;
    node.concerns = node.concerns || step.has_default || step.holds_amounts;
    node.steps.push_back(step);
  }
  return node;
}

void DefaultTable::Walk(Message* message, const Node& node) const {
  if (node.entry != nullptr) node.entry->call(node.entry->function, message);
  const Reflection* reflection = message->GetReflection();
  for (const Step& step : node.steps) {
    const FieldPlan& field = *step.field;
    if (step.has_default) SetSchemaDefault(message, field, field.facts().default_json());
    if (step.holds_amounts) {
      const FieldDescriptor* text = field.message().descriptor()->field(0);
      MapAccess::ForEachMutable(message, field.field, [&](const std::string&, MapValueRef& value) {
        RoundAmount(value.MutableMessageValue(), text);
      });
      continue;
    }
    if (step.child == nullptr || !step.child->concerns) continue;
    const Node& below = *step.child;
    if (field.is_map) {
      MapAccess::ForEachMutable(message, field.field, [&](const std::string&, MapValueRef& value) {
        Walk(value.MutableMessageValue(), below);
      });
    } else if (field.is_list) {
      const int size = reflection->FieldSize(*message, field.field);
      for (int i = 0; i < size; ++i) Walk(reflection->MutableRepeatedMessage(message, field.field, i), below);
    } else if (reflection->HasField(*message, field.field)) {
      Walk(reflection->MutableMessage(message, field.field), below);
    } else if (!field.pointer) {
      // A value message exists even when unset: its defaults apply. Nothing set means nothing was there to default.
      Message* child = reflection->MutableMessage(message, field.field);
      Walk(child, below);
      std::vector<const FieldDescriptor*> set;
      child->GetReflection()->ListFields(*child, &set);
      if (set.empty()) reflection->ClearField(message, field.field);
    }
  }
}

void DefaultTable::Apply(Message* message) const {
  const Node& node = NodeOf(Plan::Of(message->GetDescriptor()));
  if (node.concerns) Walk(message, node);
}

}  // namespace skiff::api::internal
