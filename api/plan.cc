#include "api/plan.h"

#include <memory>
#include <mutex>
#include <unordered_map>

#include "absl/strings/str_cat.h"

namespace skiff::api::internal {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const FieldFacts& FieldPlan::facts() const { return field->options().GetExtension(skiff::api::field); }

const Plan& FieldPlan::message() const {
  const Plan* plan = message_.load(std::memory_order_acquire);
  if (plan == nullptr) {
    plan = &Plan::Of(value_field->message_type());
    message_.store(plan, std::memory_order_release);
  }
  return *plan;
}

Plan::Plan(const Descriptor* descriptor)
    : descriptor_(descriptor), form_(descriptor->options().GetExtension(skiff::api::form)) {
  const FieldDescriptor* metadata = descriptor->FindFieldByName("metadata");
  const std::string_view name = descriptor->name();
  type_meta_ = metadata != nullptr && metadata->message_type() != nullptr &&
               (metadata->message_type()->name() == "ObjectMeta" || metadata->message_type()->name() == "ListMeta") &&
               !name.ends_with("TemplateSpec") && name != "PersistentVolumeClaimTemplate";
  fields_.reserve(descriptor->field_count());
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const FieldFacts& facts = field->options().GetExtension(skiff::api::field);
    if (facts.hidden()) continue;
    FieldPlan plan;
    plan.field = field;
    plan.is_inline = facts.inline_();
    plan.name = plan.is_inline     ? std::string_view()
                : facts.has_json() ? std::string_view(facts.json())
                                   : std::string_view(field->name());
    plan.keep_empty = facts.keep_empty();
    plan.omit_zero = facts.omit_zero();
    plan.pointer = facts.pointer();
    plan.is_map = field->is_map();
    plan.is_list = field->is_repeated() && !plan.is_map;
    plan.value_field = plan.is_map ? field->message_type()->map_value() : field;
    plan.value_type = plan.value_field->cpp_type();
    plan.is_bytes = plan.value_field->type() == FieldDescriptor::TYPE_BYTES;
    has_inline_ |= plan.is_inline;
    fields_.push_back(std::move(plan));
  }
}

const Plan& Plan::Of(const Descriptor* descriptor) {
  static std::mutex* const mutex = new std::mutex;
  static auto* const plans = new std::unordered_map<const Descriptor*, std::unique_ptr<const Plan>>;
  std::lock_guard lock(*mutex);
  std::unique_ptr<const Plan>& plan = (*plans)[descriptor];
  if (plan == nullptr) plan.reset(new Plan(descriptor));
  return *plan;
}

const FieldPlan* Plan::Find(std::string_view name, std::vector<const FieldPlan*>* chain) const {
  for (const FieldPlan& field : fields_)
    if (!field.is_inline && field.name == name) return &field;
  if (!has_inline_) return nullptr;
  for (const FieldPlan& field : fields_) {
    if (!field.is_inline) continue;
    if (chain) chain->push_back(&field);
    if (const FieldPlan* found = field.message().Find(name, chain)) return found;
    if (chain) chain->pop_back();
  }
  return nullptr;
}

std::string Plan::GoName() const {
  std::string_view package = descriptor_->file()->package();
  const size_t dot = package.rfind('.');
  if (dot != std::string_view::npos) package.remove_prefix(dot + 1);
  return absl::StrCat(package, ".", descriptor_->name());
}

}  // namespace skiff::api::internal
