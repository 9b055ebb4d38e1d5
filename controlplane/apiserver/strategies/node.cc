#include "controlplane/apiserver/strategies.h"
#include "k8s/io/api/core/v1/node.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

class NodeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  // A node that registers brings its status along.
  void PrepareForCreate(Context&, api::Object* object) const override { object->mutable_meta()->clear_generation(); }

  bool KnowsField(std::string_view field) const override { return field == "spec.unschedulable"; }
  bool has_fields() const override { return true; }
  std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const override {
    if (field == "spec.unschedulable") return object.As<core::Node>()->spec().unschedulable() ? "true" : "false";
    return Strategy::FieldValue(object, field);
  }
};

}  // namespace

std::unique_ptr<Strategy> MakeNodeStrategy(KindTraits traits) { return std::make_unique<NodeStrategy>(traits); }

}  // namespace skiff::controlplane
