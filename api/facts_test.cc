// The descriptors are the interface tables: every field, number, type and option of api-wire.tsv, every row of
// api-resources.tsv.
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "api/scheme.h"
#include "skiff/api/options.pb.h"

namespace skiff::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;

using Row = std::map<std::string, std::string>;

std::vector<Row> Table(const char* name) {
  std::ifstream in(std::string("../shared/facts/") + name);
  std::vector<Row> out;
  std::string line;
  if (!std::getline(in, line)) return out;
  const std::vector<std::string> header = absl::StrSplit(line, '\t');
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, '\t');
    Row row;
    for (size_t i = 0; i < header.size() && i < cells.size(); ++i) row[header[i]] = cells[i];
    out.push_back(std::move(row));
  }
  return out;
}

std::string TypeName(const FieldDescriptor* field, const std::string& package) {
  if (field->is_map())
    return "map<" + TypeName(field->message_type()->map_key(), package) + "," +
           TypeName(field->message_type()->map_value(), package) + ">";
  if (field->type() != FieldDescriptor::TYPE_MESSAGE) return field->type_name();
  const std::string full(field->message_type()->full_name());
  return full.starts_with(package + ".") ? full.substr(package.size() + 1) : full;
}

std::string NoSpace(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

// Names that C++ or protobuf forbid are spelled differently in the .proto.
std::string JsonName(const FieldDescriptor* field) {
  const FieldFacts& facts = field->options().GetExtension(skiff::api::field);
  if (facts.hidden()) return "(none)";
  if (facts.inline_()) return "(inline)";
  return facts.has_json() ? facts.json() : std::string(field->name());
}

TEST(Facts, DescriptorsAreTheWireTable) {
  const auto rows = Table("api-wire.tsv");
  if (rows.empty()) GTEST_SKIP() << "no ../shared/facts/api-wire.tsv";
  AllTypes();  // links every message in
  std::set<std::string> packages;
  for (const TypeOps* type : AllTypes()) packages.insert(type->prototype().GetDescriptor()->file()->package());
  for (const char* package : {"k8s.io.apimachinery.pkg.api.resource", "k8s.io.apimachinery.pkg.runtime",
                              "k8s.io.apimachinery.pkg.util.intstr"})
    packages.insert(package);
  int fields = 0;
  std::map<std::string, int> fields_of;
  for (const Row& row : rows) {
    const std::string& package = row.at("package");
    if (!packages.contains(package)) continue;
    const std::string where = package + "." + row.at("message") + "." + row.at("field");
    const Descriptor* message =
        DescriptorPool::generated_pool()->FindMessageTypeByName(package + "." + row.at("message"));
    ASSERT_NE(message, nullptr) << where;
    if (row.at("field") == "-") {
      EXPECT_EQ(message->field_count(), 0) << where;
      continue;
    }
    const FieldDescriptor* field = message->FindFieldByNumber(std::stoi(row.at("number")));
    ASSERT_NE(field, nullptr) << where;
    ++fields;
    ++fields_of[std::string(message->full_name())];
    const FieldFacts& facts = field->options().GetExtension(skiff::api::field);
    const Form form = message->options().GetExtension(skiff::api::form);
    EXPECT_EQ(field->name(), row.at("field")) << where;
    EXPECT_EQ(NoSpace(TypeName(field, package)), NoSpace(row.at("type"))) << where;
    const std::string label = field->is_map() ? "map" : field->is_repeated() ? "repeated" : "optional";
    EXPECT_EQ(label, row.at("label")) << where;
    EXPECT_FALSE(field->is_packed()) << where;
    if (row.at("json") == "(custom)") {
      EXPECT_TRUE(form != OBJECT || row.at("message") == "Unknown") << where;
      continue;
    }
    if (form == RAW_JSON) continue;
    EXPECT_EQ(JsonName(field), row.at("json")) << where;
    if (row.at("json") == "(none)" || row.at("json") == "(inline)") continue;
    const std::string& json_options = row.at("jsonOptions");
    const bool omit_empty = absl::StrContains(json_options, "omitempty");
    EXPECT_EQ(facts.keep_empty(), !omit_empty) << where;
    EXPECT_EQ(facts.omit_zero(), absl::StrContains(json_options, "omitzero")) << where;
    EXPECT_EQ(facts.pointer(), row.at("goPresence") == "ptr" && !field->is_repeated()) << where;
    EXPECT_EQ(facts.required(), row.at("required") == "y") << where;
    // Defaults that only say that the field has no unset state are left out of the .proto.
    const std::string& value = row.at("default");
    const bool trivial = value == "\"\"" || value == "0" || value == "false" || value == "{}";
    EXPECT_EQ(facts.default_json(), trivial ? "" : value) << where;
    EXPECT_EQ(facts.patch_strategy(), row.at("patchStrategy")) << where;
    EXPECT_EQ(facts.patch_merge_key(), row.at("patchMergeKey")) << where;
    EXPECT_EQ(absl::StrJoin(facts.list_map_key(), ","), row.at("listMapKeys")) << where;
    const std::string list_type = facts.list_type() == LIST_ATOMIC ? "atomic"
                                  : facts.list_type() == LIST_SET  ? "set"
                                  : facts.list_type() == LIST_MAP  ? "map"
                                                                   : "";
    EXPECT_EQ(list_type, row.at("listType")) << where;
    EXPECT_EQ(facts.map_type() == MAP_ATOMIC, absl::StrContains(row.at("mapType"), "atomic")) << where;
  }
  for (const auto& [name, count] : fields_of)
    EXPECT_EQ(DescriptorPool::generated_pool()->FindMessageTypeByName(name)->field_count(), count) << name;
  EXPECT_GT(fields, 2000);
  RecordProperty("fields", fields);
}

TEST(Facts, ResourcesAreTheResourceTable) {
  const auto rows = Table("api-resources.tsv");
  if (rows.empty()) GTEST_SKIP() << "no ../shared/facts/api-resources.tsv";
  size_t expected = 0;
  for (const Row& row : rows) {
    if (row.at("group").starts_with("(") || row.at("servedByDefault") != "y") continue;
    ++expected;
    const Resource* found = FindResource(row.at("group"), row.at("version"), row.at("plural"));
    ASSERT_NE(found, nullptr) << row.at("plural");
    EXPECT_EQ(found, FindResourceByKind(row.at("group"), row.at("version"), row.at("kind")));
    EXPECT_EQ(found->singular, row.at("singular"));
    EXPECT_EQ(found->short_names, row.at("shortNames"));
    EXPECT_EQ(found->categories, row.at("categories"));
    EXPECT_EQ(found->namespaced, row.at("namespaced") == "y");
    EXPECT_EQ(found->verbs, row.at("verbs"));
    EXPECT_EQ(found->subresources, row.at("subresources"));
    EXPECT_EQ(found->storage_version, row.at("storageVersion"));
    EXPECT_EQ(found->etcd_prefix, row.at("etcdPrefix"));
    const TypeOps* type = TypeOf(found->gvk());
    ASSERT_NE(type, nullptr) << found->kind;
    EXPECT_EQ(type->kind, found->kind);
    if (found->HasVerb("list")) {
      ASSERT_NE(type->list, nullptr) << found->kind;
      EXPECT_EQ(type->list->kind, std::string(found->kind) + "List");
      EXPECT_NE(type->list->item_count, nullptr);
      EXPECT_NE(type->list->mutable_list_meta, nullptr);
      EXPECT_NE(type->mutable_meta, nullptr) << found->kind;
    }
    for (const Subresource& sub : SubresourcesOf(*found))
      EXPECT_NE(TypeOf({std::string(sub.group), std::string(sub.version), std::string(sub.kind)}), nullptr)
          << found->kind << "/" << sub.name << ": " << sub.kind;
  }
  EXPECT_EQ(Resources().size(), expected);
}

}  // namespace
}  // namespace skiff::api
