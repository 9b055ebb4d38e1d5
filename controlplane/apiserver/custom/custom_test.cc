#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/apiserver/custom/cel.h"
#include "controlplane/apiserver/custom/json_path.h"
#include "controlplane/apiserver/custom/schema.h"

namespace skiff::controlplane {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const json& Widget() {
  static const auto* const schema = new json(json::parse(R"json({
    "type": "object",
    "properties": {
      "spec": {
        "type": "object",
        "properties": {
          "replicas": {"type": "integer", "default": 1, "minimum": 0},
          "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
          "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
          "labels": {"type": "object", "additionalProperties": {"type": "string"}},
          "port": {"x-kubernetes-int-or-string": true},
          "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
          "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                   "items": {"type": "object", "required": ["name"],
                             "properties": {"name": {"type": "string"}, "v": {"type": "integer", "default": 7}}}}
        }
      }
    }
  })json"));
  return *schema;
}

std::vector<std::string> Problems(const char* text) {
  Causes causes;
  ValidateCustom(Widget(), json::parse(text), "", &causes);
  std::vector<std::string> out;
  for (const auto& cause : causes) out.push_back(cause.field + ": " + cause.message);
  return out;
}

TEST(CustomSchema, PrunesWhatIsNotSpecified) {
  json document = json::parse(
      R"({"apiVersion":"a/v1","kind":"W","metadata":{"name":"w"},"top":1,
          "spec":{"bad":1,"free":{"any":{"thing":1}},"labels":{"a":"b"},"list":[{"name":"x","w":2}]}})");
  std::vector<std::string> unknown;
  PruneCustom(Widget(), &document, &unknown);
  EXPECT_THAT(unknown, ElementsAre("spec.bad", "spec.list[0].w", "top"));
  EXPECT_EQ(document, json::parse(R"({"apiVersion":"a/v1","kind":"W","metadata":{"name":"w"},
      "spec":{"free":{"any":{"thing":1}},"labels":{"a":"b"},"list":[{"name":"x"}]}})"));
}

TEST(CustomSchema, DefaultsAtEveryLevel) {
  json document = json::parse(R"({"spec":{"color":null,"list":[{"name":"a"},{"name":"b","v":1}]}})");
  DefaultCustom(Widget(), &document);
  EXPECT_EQ(document,
            json::parse(R"({"spec":{"color":"red","replicas":1,"list":[{"name":"a","v":7},{"name":"b","v":1}]}})"));
  json none = json::object();
  DefaultCustom(Widget(), &none);
  EXPECT_EQ(none, json::object());  // defaults fill what is there, they do not make the way to it
}

TEST(CustomSchema, ValidatesInUpstreamsWords) {
  EXPECT_THAT(Problems(R"({"spec":{"replicas":2,"port":"http","name":"abc"}})"), IsEmpty());
  EXPECT_THAT(Problems(R"({"spec":{"replicas":"x"}})"),
              ElementsAre("spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: "
                          "\"string\""));
  EXPECT_THAT(Problems(R"({"spec":{"replicas":-1,"color":"green","list":[{"v":1}]}})"),
              ElementsAre("spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
                          "spec.list[0].name: Required value",
                          "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to "
                          "0"));
  EXPECT_THAT(Problems(R"({"spec":{"name":"ABCDEF"}})"),
              ElementsAre("spec.name: Too long: may not be more than 5 bytes",
                          "spec.name: Invalid value: \"ABCDEF\": spec.name in body should match '^[a-z]+$'"));
  EXPECT_THAT(Problems(R"({"spec":{"port":true}})"),
              ElementsAre("spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: "
                          "\"boolean\""));
}

TEST(CustomSchema, MapsHoldNothingTwice) {
  Causes causes;
  ValidateListTypes(Widget(), json::parse(R"({"spec":{"list":[{"name":"a"},{"name":"b"},{"name":"a"}]}})"), "",
                    &causes);
  ASSERT_EQ(causes.size(), 1u);
  EXPECT_EQ(causes[0].field, "spec.list[2]");
  EXPECT_EQ(causes[0].message, "Duplicate value: {\"name\":\"a\"}");
}

TEST(CustomSchema, DefinitionsMustBeStructural) {
  Causes causes;
  CheckStructural(json::parse(R"({"properties":{"a":{}, "b":{"type":"array"}, "c":{"type":"string","pattern":"("},
      "d":{"type":"object","x-kubernetes-validations":[{"rule":"self.quantity() > 1"}]}}})"),
                  "s", true, &causes);
  std::vector<std::string> fields;
  for (const auto& cause : causes) fields.push_back(cause.field);
  EXPECT_THAT(fields, ElementsAre("s.type", "s.properties[a].type", "s.properties[b].items", "s.properties[c].pattern",
                                  "s.properties[d].x-kubernetes-validations[0].rule"));
  EXPECT_THAT(causes.back().message, HasSubstr("function 'quantity' is not supported by this server"));
}

struct CelCase {
  const char *rule, *self, *result;  // result: JSON, or "error: ..."
};

TEST(Cel, Evaluates) {
  const CelCase cases[] = {
      {"self.a + 1 == 3 && self.b.startsWith('x')", R"({"a":2,"b":"xy"})", "true"},
      {"!has(self.a) || self.a < 5", "{}", "true"},
      {"self.a < 5", "{}", "error: no such key: a"},
      {"self.a < 5 || true", "{}", "true"},
      {"self.list.all(x, x.n > 0)", R"({"list":[{"n":1},{"n":2}]})", "true"},
      {"self.list.exists_one(x, x == 2)", R"({"list":[1,2,2]})", "false"},
      {"self.list.map(x, x * 2)", R"({"list":[1,2]})", "[2,4]"},
      {"self.list.filter(x, x % 2 == 0).size()", R"({"list":[1,2,4]})", "2"},
      {"self.m.all(k, k.matches('^[a-z]+$'))", R"({"m":{"a":1,"B":2}})", "false"},
      {"size(self.s) <= 3 ? 'short' : 'long'", R"({"s":"äöü"})", "\"short\""},
      {"'a' in self.m && 2 in [1, 2]", R"({"m":{"a":1}})", "true"},
      {"self.__namespace__ == r'a\\d'", R"({"namespace":"a\\d"})", "true"},
      {"self.a__dash__b == 1.5e0", R"({"a-b":1.5})", "true"},
      {"9223372036854775807 + self.a", R"({"a":1})", "error: integer overflow"},
      {"-self.a", R"({"a":-9223372036854775808})", "error: integer overflow"},
      {"int(self.a)", R"({"a":1e19})", "error: integer overflow"},
      {"int(self.a)", R"({"a":-9.2e18})", "-9200000000000000000"},
      {"self.list.sum()", R"({"list":[9223372036854775807,1]})", "error: integer overflow"},
      {"1 / self.a", R"({"a":0})", "error: division by zero"},
      {"self.a + self.b", R"({"a":1,"b":"x"})", "error: no such overload"},
      {"-self.a == -2 && !(self.a == 3)", R"({"a":2})", "true"},
  };
  for (const CelCase& one : cases) {
    auto program = CelProgram::Compile(one.rule);
    ASSERT_TRUE(program.ok()) << one.rule << ": " << program.status();
    auto result = program->Run(json::parse(one.self), nullptr);
    const std::string shown = result.ok() ? result->dump() : "error: " + std::string(result.status().message());
    EXPECT_EQ(shown, one.result) << one.rule;
  }
}

TEST(Cel, WhatIsOutsideTheSubsetDoesNotCompile) {
  for (const char* rule :
       {"", "self.", "self.a +", "(self.a", "quantity(self.a)", "other.a", "self.?a", "self.a.orValue(1)", "'a",
        "[1, 2", "self.all(x)", "self.list.all(x, y > 1)", "self.a = 1", "\"\\q\""})
    EXPECT_FALSE(CelProgram::Compile(rule).ok()) << rule;
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "(";
  EXPECT_FALSE(CelProgram::Compile(deep).ok());
  std::string chain = "self";
  for (int i = 0; i < 2000; ++i) chain += ".a";
  EXPECT_FALSE(CelProgram::Compile(chain).ok());
}

TEST(Cel, RulesAboutAChangeNeedAPast) {
  const json schema = json::parse(R"({"type":"object","properties":{"a":{"type":"integer","x-kubernetes-validations":[
      {"rule":"self >= oldSelf","message":"a only grows"}]}}})");
  const json before = {{"a", 5}}, smaller = {{"a", 4}};
  Causes causes;
  ValidateRules(schema, smaller, nullptr, "", &causes);
  EXPECT_TRUE(causes.empty());
  ValidateRules(schema, smaller, &before, "", &causes);
  ASSERT_EQ(causes.size(), 1u);
  EXPECT_EQ(causes[0].field, "a");
  EXPECT_EQ(causes[0].message, "Invalid value: 4: a only grows");
}

TEST(JsonPath, FindsAndSets) {
  const json document = json::parse(
      R"({"a":{"b.c":[1,2,3]},"conditions":[{"type":"Ready","status":"True"},{"type":"Other","status":"False"}]})");
  auto at = [&](const char* path) -> std::string {
    auto parsed = JsonPath::Parse(path);
    if (!parsed.ok()) return "error";
    std::string out;
    for (const json* one : parsed->Find(document)) out += one->dump() + ";";
    return out;
  };
  EXPECT_EQ(at(".a['b.c'][1]"), "2;");
  EXPECT_EQ(at(".a.b\\.c[-1]"), "3;");
  EXPECT_EQ(at("{.conditions[?(@.type==\"Ready\")].status}"), "\"True\";");
  EXPECT_EQ(at(".conditions[*].status"), "\"True\";\"False\";");
  EXPECT_EQ(at(".none.at.all"), "");
  EXPECT_EQ(at(".a["), "error");
  EXPECT_EQ(at("..a"), "error");
  json target;
  EXPECT_TRUE(JsonPath::Parse(".spec.replicas")->Set(&target, 4));
  EXPECT_EQ(target, json::parse(R"({"spec":{"replicas":4}})"));
}

}  // namespace
}  // namespace skiff::controlplane
