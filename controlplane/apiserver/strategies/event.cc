#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/events/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace events = ::k8s::io::api::events::v1;

std::optional<std::string> ReferenceField(const core::ObjectReference& reference, std::string_view field) {
  if (field == "kind") return reference.kind();
  if (field == "namespace") return reference.namespace_();
  if (field == "name") return reference.name();
  if (field == "uid") return reference.uid();
  if (field == "apiVersion") return reference.apiversion();
  if (field == "resourceVersion") return reference.resourceversion();
  if (field == "fieldPath") return reference.fieldpath();
  return std::nullopt;
}

class EventStrategy final : public Strategy {
 public:
  EventStrategy(KindTraits traits, bool is_core) : Strategy(traits), is_core_(is_core) {}

  bool has_fields() const override { return true; }
  bool KnowsField(std::string_view field) const override {
    return Value(core::Event(), events::Event(), field).has_value();
  }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    static const core::Event no_core;
    static const events::Event no_event;
    const auto* a = object.As<core::Event>();
    const auto* b = object.As<events::Event>();
    if (auto value = Value(a ? *a : no_core, b ? *b : no_event, field)) return value;
    return Strategy::FieldValue(object, field);
  }

 private:
  std::optional<std::string> Value(const core::Event& old, const events::Event& event, std::string_view field) const {
    const std::string_view prefix = is_core_ ? "involvedObject." : "regarding.";
    if (field.starts_with(prefix))
      return ReferenceField(is_core_ ? old.involvedobject() : event.regarding(), field.substr(prefix.size()));
    if (field == "reason") return is_core_ ? old.reason() : event.reason();
    if (field == "type") return is_core_ ? old.type() : event.type();
    if (field == (is_core_ ? "reportingComponent" : "reportingController"))
      return is_core_ ? old.reportingcomponent() : event.reportingcontroller();
    if (is_core_ && field == "source")
      return old.source().component().empty() ? old.reportingcomponent() : old.source().component();
    return std::nullopt;
  }

  const bool is_core_;
};

}  // namespace

std::unique_ptr<Strategy> MakeEventStrategy(const api::Resource& resource, KindTraits traits) {
  return std::make_unique<EventStrategy>(traits, resource.group.empty());
}

}  // namespace skiff::controlplane
