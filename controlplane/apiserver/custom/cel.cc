#include "controlplane/apiserver/custom/cel.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/text.h"
#include "controlplane/apiserver/custom/cel_evaluator.h"
#include "controlplane/apiserver/custom/cel_parser.h"

namespace skiff::controlplane {

using nlohmann::json;

namespace {

std::string Trimmed(const json& rule, const char* field) {
  const auto it = rule.find(field);
  return it != rule.end() && it->is_string() ? std::string(absl::StripAsciiWhitespace(it->get<std::string>())) : "";
}

std::string Printed(const json& value) {
  return value.is_string() ? api::GoQuote(value.get<std::string>()) : value.dump();
}

const CelProgram* Compiled(const std::string& text) {
  static auto* const kept = new std::map<std::string, std::unique_ptr<CelProgram>>;
  auto it = kept->find(text);
  if (it == kept->end()) {
    auto compiled = CelProgram::Compile(text);
    it = kept->emplace(text, compiled.ok() ? std::make_unique<CelProgram>(*std::move(compiled)) : nullptr).first;
  }
  return it->second.get();
}

void RunRule(const json& rule, const std::string& type, const json& value, const json* old, const std::string& path,
             std::vector<api::Cause>* causes) {
  const std::string text = Trimmed(rule, "rule");
  const CelProgram* program = Compiled(text);
  const std::string message = Trimmed(rule, "message");
  const std::string named = message.empty() ? text : message;
  std::string at = path.empty() ? "<nil>" : path;
  auto invalid = [&](std::string why) { causes->push_back({"FieldValueInvalid", std::move(why), at}); };
  const std::string typed = absl::StrCat("Invalid value: \"", type, "\": ");
  if (!program) return invalid(absl::StrCat(typed, "rule compile error"));
  // Rules about a change have nothing to say of what is new.
  if (program->uses_old() && !old) return;
  auto result = program->Run(value, old);
  if (!result.ok())
    return invalid(absl::StrCat(typed, std::string(result.status().message()), " evaluating rule: ", named));
  if (*result == true) return;
  std::string detail = message.empty() ? absl::StrCat("failed rule: ", text) : message;
  if (const std::string expression = Trimmed(rule, "messageExpression"); !expression.empty())
    if (const CelProgram* made = Compiled(expression))
      if (auto said = made->Run(value, old); said.ok() && said->is_string() && !said->get<std::string>().empty())
        detail = said->get<std::string>();
  if (const std::string field = Trimmed(rule, "fieldPath"); !field.empty())
    at = path.empty() ? field.substr(1) : path + field;
  const std::string reason = Trimmed(rule, "reason");
  const bool whole = type == "object" || type == "array" || !Trimmed(rule, "fieldPath").empty();
  const std::string shown = whole ? "" : Printed(value) + ": ";
  if (reason == "FieldValueForbidden")
    causes->push_back({reason, absl::StrCat("Forbidden: ", detail), at});
  else if (reason == "FieldValueRequired")
    causes->push_back({reason, absl::StrCat("Required value: ", detail), at});
  else if (reason == "FieldValueDuplicate")
    causes->push_back({reason, absl::StrCat("Duplicate value", whole ? "" : ": " + Printed(value)), at});
  else
    invalid(absl::StrCat("Invalid value: ", shown, detail));
}

}  // namespace

CelProgram::CelProgram() = default;
CelProgram::CelProgram(CelProgram&&) noexcept = default;
CelProgram& CelProgram::operator=(CelProgram&&) noexcept = default;
CelProgram::~CelProgram() = default;

StatusOr<CelProgram> CelProgram::Compile(std::string_view text) {
  CelProgram out;
  ASSIGN_OR_RETURN(CelTree tree, ParseCel(text));
  out.root_ = std::move(tree.root);
  out.uses_old_ = tree.uses_old;
  return out;
}

StatusOr<json> CelProgram::Run(const json& self, const json* old) const { return EvaluateCel(*root_, self, old); }

void ValidateRules(const json& schema, const json& value, const json* old, const std::string& path,
                   std::vector<api::Cause>* causes) {
  const auto type = schema.find("type");
  const std::string type_name = type != schema.end() && type->is_string() ? type->get<std::string>() : "";
  if (const auto rules = schema.find("x-kubernetes-validations"); rules != schema.end() && rules->is_array())
    for (const json& rule : *rules) RunRule(rule, type_name, value, old, path, causes);
  auto below = [&](const char* name) -> const json* {
    const auto it = schema.find(name);
    return it != schema.end() && it->is_object() ? &*it : nullptr;
  };
  if (value.is_object()) {
    const json *properties = below("properties"), *rest = below("additionalProperties");
    for (auto it = value.begin(); it != value.end(); ++it) {
      const json* one = properties && properties->contains(it.key()) ? &(*properties)[it.key()] : rest;
      if (!one || !one->is_object() || it->is_null()) continue;
      const json* before = old && old->is_object() && old->contains(it.key()) ? &(*old)[it.key()] : nullptr;
      const bool named = one != rest;
      ValidateRules(*one, it.value(), before,
                    !named         ? absl::StrCat(path, "[", it.key(), "]")
                    : path.empty() ? it.key()
                                   : absl::StrCat(path, ".", it.key()),
                    causes);
    }
  } else if (value.is_array()) {
    // Items have a past only where the list says how to tell them apart; such transition rules are left alone.
    if (const json* items = below("items"))
      for (size_t i = 0; i < value.size(); ++i)
        ValidateRules(*items, value[i], nullptr, absl::StrCat(path, "[", i, "]"), causes);
  }
}

}  // namespace skiff::controlplane
