#include "api/selector.h"

#include <gtest/gtest.h>

namespace skiff::api {
namespace {

Labels Make(std::initializer_list<std::pair<const char*, const char*>> pairs) {
  Labels out;
  for (const auto& [key, value] : pairs) out[key] = value;
  return out;
}

TEST(LabelSelector, Matches) {
  const Labels labels = Make({{"a", "b"}, {"n", "3"}, {"in", "x"}});
  static constexpr struct {
    const char* text;
    bool matches;
    const char* printed;
  } kCases[] = {
      {"", true, ""},
      {"a=b", true, "a=b"},
      {"a==b", true, "a==b"},
      {"a!=b", false, "a!=b"},
      {"z!=b", true, "z!=b"},
      {"a in (b, c)", true, "a in (b,c)"},
      {"a notin (c,b)", false, "a notin (b,c)"},
      {"a,n", true, "a,n"},
      {"!z", true, "!z"},
      {"!a", false, "!a"},
      {"n>2", true, "n>2"},
      {"n<2", false, "n<2"},
      {"a>2", false, "a>2"},
      {"n=3,a=b", true, "a=b,n=3"},
      {"in in (x)", true, "in in (x)"},
      {"a in ()", false, "a in ()"},
      {"a in (,b)", true, "a in (,b)"},
      {"a=", false, "a="},
  };
  for (const auto& c : kCases) {
    const auto selector = LabelSelector::Parse(c.text);
    ASSERT_TRUE(selector.ok()) << c.text << selector.status();
    EXPECT_EQ(selector->Matches(labels), c.matches) << c.text;
    EXPECT_EQ(selector->ToString(), c.printed);
    EXPECT_EQ(LabelSelector::Parse(selector->ToString())->ToString(), selector->ToString()) << c.text;
  }
}

TEST(LabelSelector, ErrorsAreUpstreams) {
  EXPECT_EQ(LabelSelector::Parse("a in").status().message(), "unable to parse requirement: found '' expected: '('");
  EXPECT_EQ(LabelSelector::Parse("a=b,").status().message(), "found '', expected: identifier after ','");
  EXPECT_EQ(LabelSelector::Parse("a=b c").status().message(), "found 'c', expected: ',' or 'end of string'");
  EXPECT_EQ(LabelSelector::Parse(",").status().message(), "found ',', expected: !, identifier, or 'end of string'");
  EXPECT_EQ(
      LabelSelector::Parse("a > x").status().message(),
      "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an "
      "integer");
  for (const char* text : {"a in (b", "a in b", "a = )", "(a)", "=a", "a ! b", "a/b/c=d", "a=..", "!a=b", "a in (b,=)"})
    EXPECT_FALSE(LabelSelector::Parse(text).ok()) << text;
}

TEST(LabelSelector, FromMessage) {
  const Labels labels = Make({{"a", "b"}});
  EXPECT_FALSE(LabelSelector::From(nullptr)->Matches(labels));
  LabelSelectorProto proto;
  EXPECT_TRUE(LabelSelector::From(&proto)->Matches(labels));
  (*proto.mutable_matchlabels())["a"] = "b";
  auto* expression = proto.add_matchexpressions();
  expression->set_key("z");
  expression->set_operator_("DoesNotExist");
  EXPECT_TRUE(LabelSelector::From(&proto)->Matches(labels));
  expression->set_operator_("Exists");
  EXPECT_FALSE(LabelSelector::From(&proto)->Matches(labels));
  expression->set_operator_("Sometimes");
  EXPECT_EQ(LabelSelector::From(&proto).status().message(), "\"Sometimes\" is not a valid label selector operator");
  expression->set_operator_("In");
  EXPECT_FALSE(LabelSelector::From(&proto).ok());
}

TEST(FieldSelector, ParsesAndMatches) {
  const auto value_of = [](std::string_view field) -> std::string { return field == "metadata.name" ? "x" : ""; };
  EXPECT_TRUE(FieldSelector::Parse("")->Matches(value_of));
  EXPECT_TRUE(FieldSelector::Parse("metadata.name=x")->Matches(value_of));
  EXPECT_TRUE(FieldSelector::Parse("metadata.name==x,spec.nodeName!=n")->Matches(value_of));
  EXPECT_FALSE(FieldSelector::Parse("metadata.name!=x")->Matches(value_of));
  EXPECT_EQ(*FieldSelector::Parse("spec.nodeName=n,metadata.name=x")->RequiresExactMatch("metadata.name"), "x");
  EXPECT_EQ(FieldSelector::Parse("a=b\\,c\\=d")->terms()[0].value, "b,c=d");
  EXPECT_EQ(FieldSelector::Parse("a=b\\,c")->ToString(), "a=b\\,c");
  EXPECT_EQ(FieldSelector::Parse("foo").status().message(), "invalid selector: 'foo'; can't understand 'foo'");
  EXPECT_FALSE(FieldSelector::Parse("a=b=c").ok());
  EXPECT_FALSE(FieldSelector::Parse("a=b\\").ok());
}

}  // namespace
}  // namespace skiff::api
