// Every recorded API object survives JSON -> message -> JSON; recorded protobuf decodes to the recorded JSON.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/object.h"
#include "api/scheme.h"

namespace skiff::api {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = "../shared/goldens/apiserver";

std::string ReadAll(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> Recordings(std::string_view folder = "") {
  std::vector<fs::path> out;
  if (!fs::exists(kGoldens)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(kGoldens / folder))
    if (entry.path().extension() == ".json") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

const TypeOps* TypeIn(const json& value) {
  if (!value.is_object() || !value.contains("kind") || !value.contains("apiVersion")) return nullptr;
  if (!value["kind"].is_string() || !value["apiVersion"].is_string()) return nullptr;
  const auto gv = GroupVersion::Parse(value["apiVersion"].get<std::string>());
  if (!gv.ok()) return nullptr;
  return TypeOf({gv->group, gv->version, value["kind"].get<std::string>()});
}

// Calls f for every object inside a recording that has a built-in kind, outermost only.
void EachObject(const json& value, const std::string& path,
                const std::function<void(const json&, const std::string&)>& f) {
  if (value.is_object()) {
    if (TypeIn(value)) return f(value, path);
    for (const auto& [key, member] : value.items()) EachObject(member, path + "/" + key, f);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) EachObject(value[i], path + "/" + std::to_string(i), f);
  }
}

TEST(Goldens, EveryObjectSurvivesJson) {
  const auto files = Recordings();
  if (files.empty()) GTEST_SKIP() << "no recordings at " << kGoldens;
  int objects = 0;
  for (const fs::path& file : files) {
    std::string recorded = ReadAll(file);
    // Recordings hide secrets; what stands in for them must be base64 where bytes are expected.
    absl::StrReplaceAll({{"\"<scrubbed-base64-pem>\"", "\"c2NydWI=\""}}, &recorded);
    const auto recording = ParseJson(recorded);
    ASSERT_TRUE(recording.ok()) << file;
    if (!recording->is_object() || !recording->contains("response")) continue;
    EachObject((*recording)["response"], "", [&](const json& value, const std::string& path) {
      const TypeOps* type = TypeIn(value);
      auto message = type->New();
      FieldProblems problems;
      std::string text;
      AppendJson(value, &text);
      GroupVersionKind gvk;
      const Status status = FromJson(text, message.get(), &gvk, &problems);
      ASSERT_TRUE(status.ok()) << file << path << ": " << status;
      EXPECT_THAT(problems, testing::IsEmpty()) << file << path;
      const json again = ToJsonValue(*message, &gvk);
      EXPECT_EQ(again, value) << file << path << "\n" << json::diff(value, again).dump(1);
      EXPECT_EQ(*ParseJson(ToJson(*message, &gvk)), again) << file << path;
      // The same through protobuf and through YAML.
      auto copy = type->New();
      GroupVersionKind gvk_again;
      ASSERT_TRUE(FromProtobuf(ToProtobuf(*message, gvk), copy.get(), &gvk_again).ok()) << file;
      EXPECT_EQ(gvk_again, gvk);
      EXPECT_TRUE(Equal(*copy, *message)) << file << path;
      const auto yaml = YamlToJson(ToYaml(*message, &gvk));
      ASSERT_TRUE(yaml.ok()) << file << path << yaml.status();
      EXPECT_EQ(*ParseJson(*yaml), value) << file << path << json::diff(value, *ParseJson(*yaml)).dump(1);
      ++objects;
    });
  }
  EXPECT_GT(objects, 400);
  RecordProperty("objects", objects);
}

std::string Version(const json& object) { return object["metadata"].value("resourceVersion", ""); }

void CheckProtobuf(const std::string& bytes, const json& expected, const std::string& where, int* compared) {
  const auto envelope = ParseEnvelope(bytes);
  ASSERT_TRUE(envelope.ok()) << where << envelope.status();
  const TypeOps* type = TypeOf(envelope->gvk);
  ASSERT_NE(type, nullptr) << where << envelope->gvk.kind;
  auto message = type->New();
  ASSERT_TRUE(FromProtobuf(bytes, message.get()).ok()) << where;
  EXPECT_TRUE(message->GetReflection()->GetUnknownFields(*message).empty()) << where;
  const json got = ToJsonValue(*message, &envelope->gvk);
  // The answers were asked for one after the other; an object that changed in between cannot be compared.
  if (!expected.is_null() && Version(got) == Version(expected) &&
      got["metadata"].value("managedFields", json()).size() ==
          expected["metadata"].value("managedFields", json()).size()) {
    ++*compared;
    EXPECT_EQ(got, expected) << where << json::diff(expected, got).dump(1);
  }
  auto normal = type->New();
  normal->CopyFrom(*message);
  Normalize(normal.get());
  EXPECT_TRUE(Equal(*normal, *message)) << where;
  EXPECT_EQ(ToJson(*normal), ToJson(*message)) << where;
  // Decoding our JSON gives exactly the normal form.
  auto decoded = type->New();
  ASSERT_TRUE(FromJson(ToJson(*message), decoded.get()).ok()) << where;
  EXPECT_EQ(decoded->DebugString(), normal->DebugString()) << where;
  auto copy = type->New();
  ASSERT_TRUE(FromProtobuf(ToProtobuf(*message, envelope->gvk), copy.get()).ok()) << where;
  EXPECT_TRUE(Equal(*copy, *message)) << where;
}

TEST(Goldens, RecordedProtobufIsTheRecordedJson) {
  const auto files = Recordings("02-protobuf");
  if (files.empty()) GTEST_SKIP() << "no recordings at " << kGoldens;
  int checked = 0, compared = 0;
  for (const fs::path& file : files) {
    const json recording = *ParseJson(ReadAll(file));
    // Every {base64} and etcd value in the file, compared with the JSON answer beside it where there is one.
    std::function<void(const json&, const std::string&)> walk = [&](const json& value, const std::string& path) {
      if (!value.is_structured()) return;
      const char* key = value.contains("base64") ? "base64" : value.contains("valueBase64") ? "valueBase64" : nullptr;
      if (value.is_array() || key == nullptr) {
        for (const auto& [name, member] : value.items()) walk(member, path + "/" + name);
        return;
      }
      std::string bytes;
      ASSERT_TRUE(absl::Base64Unescape(value[key].get<std::string>(), &bytes));
      if (!bytes.starts_with(kProtobufMagic)) return;
      ++checked;
      json want;
      if (recording.contains("json")) want = recording["json"]["response"]["body"];
      if (key == std::string("valueBase64") && want.is_object()) want["metadata"].erase("resourceVersion");
      CheckProtobuf(bytes, want, file.string() + path, &compared);
    };
    walk(recording, "");
  }
  EXPECT_GT(checked, 20);
  EXPECT_GT(compared, 20);
}

}  // namespace
}  // namespace skiff::api
