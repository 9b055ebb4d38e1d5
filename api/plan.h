// Internal to api: what a message looks like in JSON, worked out once from the options of its descriptor.
// Thread-safe: plans are immutable, the table of plans has a lock.
#ifndef SKIFF_API_PLAN_H_
#define SKIFF_API_PLAN_H_

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "skiff/api/options.pb.h"

namespace skiff::api::internal {

class Plan;

struct FieldPlan {
  const google::protobuf::FieldDescriptor* field;
  std::string_view name;  // in JSON; empty for an inlined field
  bool is_inline, keep_empty, omit_zero, pointer;
  bool is_map, is_list;  // a list is a repeated field that is no map
  // The singular value's type: of the field, a list's item or a map's value.
  google::protobuf::FieldDescriptor::CppType value_type;
  bool is_bytes;
  const google::protobuf::FieldDescriptor* value_field;  // of the map's entry, else the field itself

  const FieldFacts& facts() const;
  // Of a value that is a message.
  const Plan& message() const;

 private:
  friend class Plan;
  mutable std::atomic<const Plan*> message_{nullptr};

 public:
  FieldPlan() = default;
  FieldPlan(FieldPlan&& o) noexcept
      : field(o.field),
        name(o.name),
        is_inline(o.is_inline),
        keep_empty(o.keep_empty),
        omit_zero(o.omit_zero),
        pointer(o.pointer),
        is_map(o.is_map),
        is_list(o.is_list),
        value_type(o.value_type),
        is_bytes(o.is_bytes),
        value_field(o.value_field) {}
};

class Plan {
 public:
  static const Plan& Of(const google::protobuf::Descriptor* descriptor);

  const google::protobuf::Descriptor* descriptor() const { return descriptor_; }
  Form form() const { return form_; }
  // In the order of the .proto, hidden fields left out.
  const std::vector<FieldPlan>& fields() const { return fields_; }

  // The Go type has apiVersion and kind of its own, wherever it stands.
  bool type_meta() const { return type_meta_; }

  // A field by its JSON name, own or inlined. `chain` receives the inlined fields to step through, outermost first.
  const FieldPlan* Find(std::string_view name, std::vector<const FieldPlan*>* chain) const;

  // "v1.PodSpec", as Go names the type in decoding errors.
  std::string GoName() const;

 private:
  explicit Plan(const google::protobuf::Descriptor* descriptor);
  const google::protobuf::Descriptor* descriptor_;
  Form form_;
  bool has_inline_ = false;
  bool type_meta_ = false;
  std::vector<FieldPlan> fields_;
};

}  // namespace skiff::api::internal

#endif  // SKIFF_API_PLAN_H_
