#include "api/go_dump.h"

#include <set>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/go_layout.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "skiff/api/options.pb.h"

namespace skiff::api {
namespace {

namespace core = k8s::io::api::core::v1;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const FieldDescriptor* Find(const Descriptor& message, const GoField& go) {
  for (int i = 0; i < message.field_count(); ++i) {
    const auto* field = message.field(i);
    if (absl::EqualsIgnoreCase(field->name(), go.json_key.empty() ? go.name : go.json_key)) return field;
  }
  return nullptr;
}

void Compare(const GoLayout& layout, std::string_view type, const Descriptor& message,
             std::set<std::string_view>* seen) {
  if (!seen->insert(type).second) return;
  const auto found = layout.find(type);
  ASSERT_NE(found, layout.end()) << type << " for " << message.full_name();
  int known = 0;
  for (const GoField& go : found->second) {
    const auto* field = Find(message, go);
    ASSERT_NE(field, nullptr) << type << "." << go.name;
    ++known;
    EXPECT_EQ(go.type[0] == '*', field->options().GetExtension(skiff::api::field).pointer()) << type << "." << go.name;
    EXPECT_EQ(absl::StartsWith(go.type, "[]"), field->is_repeated() && !field->is_map()) << type << "." << go.name;
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const size_t start = go.type.find_first_not_of("*[]");
    if (go.type.substr(start) == "v1.Time" || go.type.substr(start) == "resource.Quantity") continue;
    if (go.type.substr(start) == "v1.FieldsV1") continue;
    Compare(layout, go.type.substr(start), *field->message_type(), seen);
  }
  EXPECT_EQ(known, message.field_count()) << type;
}

TEST(GoDump, TheServedLayoutHasEveryFieldOfTheInterface) {
  std::set<std::string_view> seen;
  const GoLayout layout = ServedGoLayout();
  Compare(layout, "PodTemplateSpec", *core::PodTemplateSpec::descriptor(), &seen);
  EXPECT_GT(seen.size(), 100u);
}

TEST(GoDump, TheInternalLayoutHasItToo) {
  // What differs by intent: flags of host namespaces are in the security context, the old service account is gone.
  const GoLayout served = ServedGoLayout(), internal = InternalGoLayout();
  for (const auto& [type, fields] : internal) {
    const auto found = served.find(type);
    if (found == served.end() || type == "PodSpec" || type == "PodSecurityContext") continue;
    EXPECT_EQ(found->second.size(), fields.size()) << type;
  }
  EXPECT_EQ(internal.at("PodSpec").size() + 6, served.at("PodSpec").size());
  EXPECT_EQ(internal.at("PodSecurityContext").size(), served.at("PodSecurityContext").size() + 5);
}

core::Pod Decoded(const json& document) {
  core::Pod pod;
  EXPECT_TRUE(FromJsonValue(document, &pod).ok());
  SetPodDefaults(&pod);
  return pod;
}

bool Has(const core::Pod& pod, const json& document, std::string_view text) {
  return absl::StrContains(GoDump(pod, document), text);
}

TEST(GoDump, EmptyListsAreNotAbsentOnes) {
  const json document = *ParseJson(R"({"metadata": {"name": "p", "labels": {}},
    "spec": {"containers": [{"name": "c", "image": "i", "args": [], "resources": {"limits": {}}}]}})");
  const core::Pod pod = Decoded(document);
  EXPECT_TRUE(Has(pod, document, "Labels:(map[string]string)map[] Annotations:(map[string]string)<nil>"));
  EXPECT_TRUE(Has(pod, document, "Command:([]string)<nil> Args:([]string)[]"));
  EXPECT_TRUE(Has(pod, document, "Limits:(core.ResourceList)map[] Requests:(core.ResourceList)map[]"));
}

TEST(GoDump, QuantitiesAreAsUpstreamsParserHoldsThem) {
  const struct {
    const char* text;  // JSON
    const char* print;
  } rows[] = {
      {R"("100m")",
       "i:(resource.int64Amount){value:(int64)100 scale:(resource.Scale)-3} "
       "d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string)100m Format:(resource.Format)DecimalSI"},
      {"0.5",
       "i:(resource.int64Amount){value:(int64)5 scale:(resource.Scale)-1} "
       "d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string) Format:(resource.Format)DecimalSI"},
      {R"("64Mi")",
       "i:(resource.int64Amount){value:(int64)67108864 scale:(resource.Scale)0} "
       "d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string) Format:(resource.Format)BinarySI"},
      {R"("1.5Gi")",
       "i:(resource.int64Amount){value:(int64)0 scale:(resource.Scale)0} "
       "d:(resource.infDecAmount){Dec:(*inf.Dec){unscaled:(big.Int){neg:(bool)false "
       "abs:(big.nat)[1610612736000]} scale:(inf.Scale)3}} s:(string) Format:(resource.Format)BinarySI"},
      {R"("100u")",
       "i:(resource.int64Amount){value:(int64)1 scale:(resource.Scale)-3} "
       "d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string) Format:(resource.Format)DecimalSI"},
  };
  for (const auto& row : rows) {
    const json document = *ParseJson(
        absl::StrCat(R"({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": )", row.text, "}}}]}}"));
    const std::string both = absl::StrCat("Limits:(core.ResourceList)map[cpu:{", row.print,
                                          "}] Requests:(core.ResourceList)map[cpu:{", row.print, "}]");
    EXPECT_TRUE(Has(Decoded(document), document, both)) << row.text << "\n" << GoDump(Decoded(document), document);
  }
}

}  // namespace
}  // namespace skiff::api
