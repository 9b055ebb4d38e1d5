// A definition of custom resources and an object of it, split by a line "---": schemas that pass, and definitions that
// make kinds, hold any document.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "api/codec.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/custom/schema.h"
#include "controlplane/apiserver/table.h"

namespace {

using namespace skiff;                // NOLINT
using namespace skiff::controlplane;  // NOLINT

void HoldAgainst(const json& schema, json document) {
  std::vector<std::string> unknown;
  PruneCustom(schema, &document, &unknown);
  DefaultCustom(schema, &document);
  Causes causes;
  ValidateCustom(schema, document, "", &causes);
  ValidateListTypes(schema, document, "", &causes);
  (void)HasBlockingCause(causes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view kBetween = "\n---\n";
  const size_t between = text.find(kBetween);
  if (between == std::string_view::npos) return 0;
  const auto definition_json = api::YamlToJson(text.substr(0, between));
  const auto object_json = api::YamlToJson(text.substr(between + kBetween.size()));
  if (!definition_json.ok() || !object_json.ok()) return 0;
  const auto document = api::ParseJson(*object_json);
  if (!document.ok()) return 0;
  // The first half alone as a schema ..
  api::FieldProblems problems;
  apiextensions::JSONSchemaProps props;
  if (api::FromJson(std::string_view(*definition_json), &props, nullptr, &problems).ok()) {
    const json schema = api::ToJsonValue(props);
    Causes causes;
    CheckStructural(schema, "schema", true, &causes);
    if (causes.empty()) HoldAgainst(schema, *document);
  }
  // .. and as a definition, which the server makes kinds of once its schemas passed and its names are accepted.
  apiextensions::CustomResourceDefinition definition;
  if (!api::FromJson(std::string_view(*definition_json), &definition, nullptr, &problems).ok()) return 0;
  for (const auto& kind : CustomType::KindsOf(definition)) {
    Causes causes;
    CheckStructural(kind->custom->schema, "schema", true, &causes);
    if (!causes.empty() || !document->is_object()) continue;
    auto object = kind->custom->FromDocument(*document, &problems);
    if (!object.ok()) continue;
    (void)kind->custom->ValidateCreate(*object).ok();
    (void)kind->custom->ValidateUpdate(*object, *object, "").ok();
    const Output output;
    std::string row;
    TableWriter(*kind, output, "Object", WallTime()).Row(*object, &row);
    if (!api::ParseJson(row).ok()) std::abort();
  }
  return 0;
}
