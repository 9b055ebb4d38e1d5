#include "api/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object.h"
#include "api/scheme.h"
#include "api/time.h"
#include "k8s/io/api/apps/v1/generated.pb.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api {
namespace {

namespace core = k8s::io::api::core::v1;
namespace apps = k8s::io::api::apps::v1;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Json, StrictFindsUnknownAndDuplicateFieldsInOrder) {
  core::ConfigMap map;
  FieldProblems problems;
  GroupVersionKind gvk;
  ASSERT_TRUE(FromJson(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"fv"},"data":{"a":"b","a":"c"},)"
                       R"("nope":1,"metadata":{}})",
                       &map, &gvk, &problems)
                  .ok());
  EXPECT_THAT(problems,
              ElementsAre("duplicate field \"data.a\"", "unknown field \"nope\"", "duplicate field \"metadata\""));
  EXPECT_EQ(map.data().at("a"), "c");
  EXPECT_EQ(gvk, (GroupVersionKind{"", "v1", "ConfigMap"}));
  EXPECT_EQ(StrictDecodingError({"a", "b"}).message(), "strict decoding error: a, b");

  apps::Deployment deployment;
  problems.clear();
  ASSERT_TRUE(
      FromJson(R"({"spec":{"repliccas":3,"template":{"spec":{"containers":[{"name":"c","imagePullpolicy":"x"}]}}}})",
               &deployment, nullptr, &problems)
          .ok());
  EXPECT_THAT(problems, ElementsAre("unknown field \"spec.repliccas\"",
                                    "unknown field \"spec.template.spec.containers[0].imagePullpolicy\""));
}

TEST(Json, TypeErrorsAreGos) {
  const auto error = [](std::string_view text) {
    core::Pod pod;
    return std::string(FromJson(text, &pod).message());
  };
  EXPECT_EQ(error(R"({"spec":{"containers":"no"}})"),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container");
  EXPECT_EQ(error(R"({"spec":{"containers":[{"name":1}]}})"),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string");
  EXPECT_EQ(error(R"({"metadata":{"labels":{"a":1}}})"),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string");
  EXPECT_EQ(error(R"({"spec":{"activeDeadlineSeconds":1.5}})"),
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64");
  EXPECT_EQ(error(R"({"spec":{"hostNetwork":"yes"}})"),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool");
  EXPECT_EQ(error(R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"abc"}}}]}})"),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_THAT(error(R"({"metadata":{"creationTimestamp":"yesterday"}})"), HasSubstr("parsing time \"yesterday\""));
}

TEST(Json, SyntaxErrorsAreGos) {
  const auto error = [](std::string_view text) { return std::string(ParseJson(text).status().message()); };
  EXPECT_EQ(error("{\"metadata\":{"), "unexpected end of JSON input");
  EXPECT_EQ(error(""), "unexpected end of JSON input");
  EXPECT_EQ(error("nope"), "invalid character 'o' in literal null (expecting 'u')");
  EXPECT_EQ(error("x"), "invalid character 'x' looking for beginning of value");
  EXPECT_EQ(error("{a:1}"), "invalid character 'a' looking for beginning of object key string");
  EXPECT_EQ(error("{\"a\" 1}"), "invalid character '1' after object key");
  EXPECT_EQ(error("{\"a\":1 1}"), "invalid character '1' after object key:value pair");
  EXPECT_EQ(error("[1 1]"), "invalid character '1' after array element");
  EXPECT_EQ(error("1 1"), "invalid character '1' after top-level value");
  EXPECT_EQ(error("\"\n\""), "invalid character '\\n' in string literal");
  EXPECT_EQ(error("\"\\x\""), "invalid character 'x' in string escape code");
  EXPECT_EQ(error("01"), "invalid character '1' after top-level value");
  EXPECT_EQ(error("-"), "unexpected end of JSON input");
  EXPECT_EQ(error("1."), "unexpected end of JSON input");
  EXPECT_EQ(PeekJson("").status().message(),
            "couldn't get version/kind; json parse error: unexpected end of JSON input");
}

// Row body-limits: depth costs an error, not the stack.
TEST(Json, BodyLimitsDepthIsBounded) {
  const std::string deep(1000000, '[');
  EXPECT_EQ(ParseJson(deep).status().message(), "exceeded max depth");
  std::string nested = "{\"a\":";
  for (int i = 0; i < 100000; ++i) nested += "{\"a\":";
  EXPECT_FALSE(ParseJson(nested).ok());
  core::Pod pod;
  EXPECT_FALSE(FromJson(nested, &pod).ok());
  EXPECT_FALSE(YamlToJson(std::string(100000, '[')).ok());
}

TEST(Json, TextIsEscapedAsGoDoes) {
  std::string out;
  AppendJsonString("a<b>&\"\\\n\t\x01\xe2\x80\xa8\xff\xc3\xa9", &out);
  EXPECT_EQ(out, R"("a\u003cb\u003e\u0026\"\\\n\t\u0001\u2028\ufffd)"
                 "\xc3\xa9\"");
  EXPECT_EQ(ParseJson("\"\\ud83d\\ude00\\ud800\\u00e9\"")->get<std::string>(), "\xf0\x9f\x98\x80\xef\xbf\xbd\xc3\xa9");
  EXPECT_EQ(IndentJson(R"({"a":[1,{}],"b":"x:{"})"), "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x:{\"\n}");
}

TEST(Json, PresenceAndEmptyValues) {
  core::Pod pod;
  EXPECT_EQ(ToJson(pod), R"({"metadata":{},"spec":{"containers":null},"status":{}})");
  ASSERT_TRUE(FromJson(R"({"spec":{"terminationGracePeriodSeconds":0,"hostNetwork":false,"nodeName":"",)"
                       R"("securityContext":{},"containers":[{"name":"c","resources":{},"livenessProbe":{"httpGet":)"
                       R"({"port":"http"}},"env":[{"name":"x","value":""}]}]},"status":{}})",
                       &pod)
                  .ok());
  EXPECT_TRUE(pod.spec().has_terminationgraceperiodseconds());
  EXPECT_TRUE(pod.spec().has_securitycontext());
  EXPECT_FALSE(pod.spec().has_nodename());
  EXPECT_FALSE(pod.has_status());
  EXPECT_FALSE(pod.spec().containers(0).has_resources());
  EXPECT_EQ(ToJson(pod),
            R"({"metadata":{},"spec":{"containers":[{"name":"c","env":[{"name":"x"}],"resources":{},"livenessProbe":)"
            R"({"httpGet":{"port":"http"}}}],"terminationGracePeriodSeconds":0,"securityContext":{}},"status":{}})");
}

TEST(Json, BytesTimesAndRawValues) {
  core::Secret secret;
  ASSERT_TRUE(FromJson(R"({"data":{"k":"aGVsbG8="},"metadata":{"creationTimestamp":"2026-11-21T05:54:07+01:00",)"
                       R"("managedFields":[{"fieldsV1":{"f:data": { "." : {} }}}]}})",
                       &secret)
                  .ok());
  EXPECT_EQ(secret.data().at("k"), "hello");
  EXPECT_EQ(FormatTime(secret.metadata().creationtimestamp()), "2026-11-21T04:54:07Z");
  EXPECT_EQ(ToJson(secret), R"({"metadata":{"creationTimestamp":"2026-11-21T04:54:07Z","managedFields":[{"fieldsV1":)"
                            R"({"f:data":{".":{}}}}]},"data":{"k":"aGVsbG8="}})");
  EXPECT_THAT(FromJson(R"({"data":{"k":"?"}})", &secret).message(), HasSubstr("illegal base64 data at input byte 0"));
  k8s::io::api::coordination::v1::Lease lease;
  ASSERT_TRUE(FromJson(R"({"spec":{"renewTime":"2026-11-21T04:54:07.123456Z"}})", &lease).ok());
  EXPECT_THAT(ToJson(lease), HasSubstr(R"("renewTime":"2026-11-21T04:54:07.123456Z")"));
}

TEST(Protobuf, EnvelopeErrors) {
  EXPECT_EQ(ParseEnvelope("").status().message(), "empty data");
  EXPECT_THAT(ParseEnvelope("{}").status().message(), HasSubstr("expected prefix [107 56 115 0]"));
  EXPECT_FALSE(ParseEnvelope(std::string("k8s\0\x0a\xff", 6)).ok());
  core::Pod pod;
  EXPECT_FALSE(FromProtobuf(std::string("k8s\0\x12\x01\x0a", 7), &pod).ok());
  pod.mutable_metadata()->set_name("x");
  GroupVersionKind gvk;
  core::Pod copy;
  ASSERT_TRUE(FromProtobuf(ToProtobuf(pod, {"", "v1", "Pod"}), &copy, &gvk).ok());
  EXPECT_EQ(gvk.kind, "Pod");
  EXPECT_TRUE(Equal(pod, copy));
}

TEST(Normalize, ZeroAndUnsetAreTheSameButForPointers) {
  core::Pod a, b;
  a.mutable_spec()->set_nodename("");
  a.mutable_spec()->set_hostnetwork(false);
  a.mutable_status();
  EXPECT_TRUE(Equal(a, b));
  Normalize(&a);
  EXPECT_FALSE(a.has_spec());
  a.mutable_spec()->set_priority(0);
  EXPECT_FALSE(Equal(a, b));
  Normalize(&a);
  EXPECT_TRUE(a.spec().has_priority());
}

TEST(Yaml, ReadsAsUpstreamDoes) {
  const auto read = [](std::string_view yaml) {
    const auto out = YamlToJson(yaml);
    return out.ok() ? *out : std::string(out.status().message());
  };
  EXPECT_EQ(read("a: 1\nb: yes\nc: 'yes'\nd: ~\ne: 0x10\nf: 010\ng: 1.5\nh: y\ni: 1e3\n"),
            R"({"a":1,"b":true,"c":"yes","d":null,"e":16,"f":8,"g":1.5,"h":true,"i":1000})");
  EXPECT_EQ(read("a: &x {b: [1, 2]}\nc: *x\nd:\n  <<: *x\n  e: 1\n"),
            R"({"a":{"b":[1,2]},"c":{"b":[1,2]},"d":{"b":[1,2],"e":1}})");
  EXPECT_EQ(read("1: a\ntrue: b\n"), R"({"1":"a","true":"b"})");
  EXPECT_EQ(read("a: |\n  x\n  y\n"), R"({"a":"x\ny\n"})");
  EXPECT_EQ(read(""), "null");
  EXPECT_THAT(read("a: [1"), HasSubstr("yaml: line"));
  EXPECT_THAT(read("a: *nope"), HasSubstr("yaml:"));
  FieldProblems problems;
  ASSERT_TRUE(YamlToJson("metadata:\n  name: fv\ndata:\n  a: b\n  a: c\nnope: 1\n", &problems).ok());
  EXPECT_THAT(problems, ElementsAre("yaml: unmarshal errors:\n  line 5: key \"a\" already set in map"));
}

// Row body-limits: aliases that multiply cost an error, not memory.
TEST(Yaml, BodyLimitsAliasBombIsRefused) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'l'; ++c) {
    const std::string prev(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += (i ? ",*" : "*") + prev;
    bomb += "]\n";
  }
  EXPECT_EQ(YamlToJson(bomb).status().message(), "yaml: document contains excessive aliasing");
}

TEST(Yaml, WritesSortedAndReadsBack) {
  EXPECT_EQ(
      JsonToYaml(*ParseJson(R"({"b":[{"x":1,"y":"yes"},{}],"a":{"k":"1","e":"","m":"p: q"},"l":[],"t":"a\nb\n"})")),
      "a:\n  e: \"\"\n  k: \"1\"\n  m: 'p: q'\nb:\n- x: 1\n  \"y\": \"yes\"\n- {}\nl: []\nt: |\n  a\n  b\n");
  for (const char* text : {"",     " x",         "x ",   "- a", "-a",  "#",    "a #b", "a: b",  "null", "~",  "1.5",
                           "0x1f", "2026-11-21", "[a",   "'",   "\"",  "a\nb", "\na",  "a\n\n", "a\tb", "!x", "&x",
                           "*x",   "%x",         "@x",   "`x",  "---", "...",  "=",    "<<",    "y",    "No", ".5",
                           "+1",   "1_000",      "\x01", "a:",  ":a",  "?a",   "? a",  "{",     "}",    ",",  "\\"}) {
    const json value = {{"k", text}};
    const auto back = YamlToJson(JsonToYaml(value));
    ASSERT_TRUE(back.ok()) << text << "\n" << JsonToYaml(value) << back.status();
    EXPECT_EQ(*ParseJson(*back), value) << JsonToYaml(value);
  }
}

TEST(Object, OneInterfaceForBuiltInAndCustomKinds) {
  core::Pod pod;
  pod.mutable_metadata()->set_name("p");
  Object typed = Object::Of(std::move(pod));
  EXPECT_EQ(typed.kind(), "Pod");
  EXPECT_EQ(typed.meta().name(), "p");
  ASSERT_NE(typed.As<core::Pod>(), nullptr);
  EXPECT_EQ(typed.As<core::Secret>(), nullptr);
  EXPECT_EQ(typed.type(), TypeOf({"", "v1", "Pod"}));

  auto custom = Object::OfJson(
      {"example.com", "v1", "Widget"},
      *ParseJson(R"({"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"z":1,"a":2}})"));
  ASSERT_TRUE(custom.ok());
  EXPECT_EQ(custom->meta().name(), "w");
  custom->mutable_meta()->set_namespace_("ns");
  EXPECT_EQ(custom->ToJson(),
            R"({"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"ns"},)"
            R"("spec":{"a":2,"z":1}})");
  EXPECT_FALSE(custom->ToProtobuf().ok());
  const Object copy = custom->Clone();
  EXPECT_TRUE(Equal(copy, *custom));
  EXPECT_FALSE(Equal(copy, typed));
}

TEST(Time, ParsesAndFormats) {
  EXPECT_EQ(FormatTime(*ParseTime("1969-12-31T23:59:59Z")), "1969-12-31T23:59:59Z");
  EXPECT_EQ(FormatTime(*ParseTime("2024-02-29T12:00:00.999-07:00")), "2024-02-29T19:00:00Z");
  EXPECT_EQ(ParseTime("2023-02-29T12:00:00Z").status().message(),
            "parsing time \"2023-02-29T12:00:00Z\": day out of range");
  EXPECT_EQ(ParseTime("x").status().message(),
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"");
  EXPECT_EQ(FormatDuration(*ParseDuration("1h2m3.5s")), "1h2m3.5s");
  EXPECT_EQ(FormatDuration(*ParseDuration("90m")), "1h30m0s");
  EXPECT_EQ(FormatDuration(*ParseDuration("1500us")), "1.5ms");
  EXPECT_EQ(FormatDuration(*ParseDuration("-0.5s")), "-500ms");
  EXPECT_FALSE(ParseDuration("5").ok());
  EXPECT_FALSE(ParseDuration("99999999999h").ok());
  using std::chrono::seconds;
  EXPECT_EQ(HumanDuration(seconds(59)), "59s");
  EXPECT_EQ(HumanDuration(seconds(200)), "3m20s");
  EXPECT_EQ(HumanDuration(seconds(3 * 3600 + 60)), "3h1m");
  EXPECT_EQ(HumanDuration(seconds(51 * 3600)), "2d3h");
}

}  // namespace
}  // namespace skiff::api
