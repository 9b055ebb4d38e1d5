#include "base/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff {
namespace {

using std::chrono::nanoseconds;

struct Fixture {
  Fixture() {
    flags.String("config", &config, "The `file` to read.");
    flags.Bool("enable", &enable, "Whether.");
    flags.Bool("default-on", &on, "On by default.");
    flags.Int("port", &port, "The port.");
    flags.Int32("v", &v, "Verbosity.", 'v');
    flags.Double("rate", &rate, "The rate.");
    flags.Duration("period", &period, "How often.");
    flags.Strings("names", &names, "Some names.");
    flags.Map("labels", &labels, "Some labels.");
  }
  StatusOr<std::vector<std::string>> Parse(std::vector<const char*> args) {
    args.insert(args.begin(), "prog");
    return flags.Parse(static_cast<int>(args.size()), args.data());
  }
  std::string Error(std::vector<const char*> args) {
    const auto result = Parse(std::move(args));
    return result.ok() ? "OK" : std::string(result.status().message());
  }

  FlagSet flags{"prog", "Does it."};
  std::string config;
  bool enable = false, on = true;
  int64_t port = 80;
  int32_t v = 0;
  double rate = 0.5;
  nanoseconds period = std::chrono::seconds(10);
  std::vector<std::string> names{"x"};
  std::map<std::string, std::string> labels;
};

TEST(Flags, EverySpelling) {
  Fixture f;
  const auto rest =
      f.Parse({"--config=a=b", "--enable", "--default-on=false", "--port", "0x50", "-v", "4", "one", "--rate=2",
               "--period=1m30s", "--names=a,\"b,c\"", "--names=d", "--labels=k=v,l = w", "--", "--two"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, testing::ElementsAre("one", "--two"));
  EXPECT_EQ(f.config, "a=b");
  EXPECT_TRUE(f.enable);
  EXPECT_FALSE(f.on);
  EXPECT_EQ(f.port, 80);
  EXPECT_EQ(f.v, 4);
  EXPECT_EQ(f.rate, 2);
  EXPECT_EQ(f.period, std::chrono::seconds(90));
  EXPECT_THAT(f.names, testing::ElementsAre("a", "b,c", "d"));
  EXPECT_THAT(f.labels, testing::ElementsAre(testing::Pair("k", "v"), testing::Pair("l", "w")));
  EXPECT_TRUE(f.flags.Changed("port"));
  EXPECT_FALSE(Fixture().flags.Changed("port"));
}

TEST(Flags, ShortForms) {
  for (const char* form : {"-v4", "-v=4"}) {
    Fixture f;
    ASSERT_TRUE(f.Parse({form}).ok());
    EXPECT_EQ(f.v, 4);
  }
}

TEST(Flags, UnderscoresAreDashes) {
  Fixture f;
  ASSERT_TRUE(f.Parse({"--default_on=false"}).ok());
  EXPECT_FALSE(f.on);
}

TEST(Flags, SingleDashOnRequest) {
  Fixture f;
  EXPECT_EQ(f.Error({"-port=1"}), "unknown shorthand flag: 'p' in -port=1");
  f.flags.AllowSingleDash();
  ASSERT_TRUE(f.Parse({"-port=1", "-config", "c"}).ok());
  EXPECT_EQ(f.port, 1);
  EXPECT_EQ(f.config, "c");
}

TEST(Flags, ErrorsInPflagsWords) {
  EXPECT_EQ(Fixture().Error({"--x"}), "unknown flag: --x");
  EXPECT_EQ(Fixture().Error({"--port=a"}),
            "invalid argument \"a\" for \"--port\" flag: strconv.ParseInt: parsing \"a\": invalid syntax");
  EXPECT_EQ(Fixture().Error({"-v", "a"}),
            "invalid argument \"a\" for \"-v, --v\" flag: strconv.ParseInt: parsing \"a\": invalid syntax");
  EXPECT_EQ(Fixture().Error({"--port"}), "flag needs an argument: --port");
  EXPECT_EQ(Fixture().Error({"-v"}), "flag needs an argument: 'v' in -v");
  EXPECT_EQ(Fixture().Error({"-z"}), "unknown shorthand flag: 'z' in -z");
  EXPECT_EQ(Fixture().Error({"--=x"}), "bad flag syntax: --=x");
  EXPECT_EQ(Fixture().Error({"--enable=maybe"}),
            "invalid argument \"maybe\" for \"--enable\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax");
  EXPECT_EQ(Fixture().Error({"--period=5"}),
            "invalid argument \"5\" for \"--period\" flag: time: missing unit in duration \"5\"");
  EXPECT_EQ(Fixture().Error({"--labels=a"}),
            "invalid argument \"a\" for \"--labels\" flag: malformed pair, expect string=string");
  EXPECT_EQ(Fixture().Error({"--names=a\"b"}),
            "invalid argument \"a\\\"b\" for \"--names\" flag: parse error on line 1, column 2: bare \" in "
            "non-quoted-field");
}

TEST(Flags, Help) {
  Fixture f;
  f.flags.Hide("rate");
  const auto result = f.Parse({"--help"});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(f.flags.Help(),
            "Does it.\n\nUsage:\n  prog [flags]\n\nFlags:\n"
            "      --config file              The file to read.\n"
            "      --default-on               On by default. (default true)\n"
            "      --enable                   Whether.\n"
            "      --labels mapStringString   Some labels.\n"
            "      --names strings            Some names. (default [x])\n"
            "      --period duration          How often. (default 10s)\n"
            "      --port int                 The port. (default 80)\n"
            "  -v, --v int32                  Verbosity.\n");
}

TEST(Flags, HelpWraps) {
  FlagSet flags("p");
  std::string s;
  flags.String("name", &s, "one two three four five six seven eight nine ten eleven twelve thirteen");
  EXPECT_EQ(flags.Help(60),
            "Usage:\n  p [flags]\n\nFlags:\n"
            "      --name string   one two three four five six\n"
            "                      seven eight nine ten eleven\n"
            "                      twelve thirteen\n");
}

TEST(Flags, DeprecatedWarnsAndWorks) {
  Fixture f;
  f.flags.Deprecate("port", "use --config");
  f.flags.Deprecate("old", "it does nothing");
  testing::internal::CaptureStderr();
  ASSERT_TRUE(f.Parse({"--port=5", "--old", "x"}).ok());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "Flag --port has been deprecated, use --config\nFlag --old has been deprecated, it does nothing\n");
  EXPECT_EQ(f.port, 5);
}

TEST(Flags, CustomWithBareValue) {
  FlagSet flags("p");
  std::string got;
  flags.Custom(
      "version", "version", "false", "Print it.",
      [&](std::string_view text) {
        got = text;
        return absl::OkStatus();
      },
      "true");
  const char* argv[] = {"p", "--version"};
  ASSERT_TRUE(flags.Parse(2, argv).ok());
  EXPECT_EQ(got, "true");
  EXPECT_THAT(flags.Help(), testing::HasSubstr("--version version[=true]   Print it.\n"));
}

TEST(Duration, BothWays) {
  const std::pair<const char*, int64_t> cases[] = {{"0s", 0},
                                                   {"1ns", 1},
                                                   {"1.1\xc2\xb5s", 1100},
                                                   {"2.2ms", 2200000},
                                                   {"3.3s", 3300000000},
                                                   {"4m5s", 245000000000},
                                                   {"4m5.001s", 245001000000},
                                                   {"5h6m7.001s", 18367001000000},
                                                   {"8m0.000000001s", 480000000001},
                                                   {"-1h0m0s", -3600000000000},
                                                   {"2562047h47m16.854775807s", INT64_MAX},
                                                   {"-2562047h47m16.854775808s", INT64_MIN}};
  for (const auto& [text, ns] : cases) {
    EXPECT_EQ(FormatDuration(nanoseconds(ns)), text);
    const auto parsed = ParseDuration(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->count(), ns);
  }
  EXPECT_EQ(ParseDuration("0")->count(), 0);
  EXPECT_EQ(ParseDuration("+.5s")->count(), 500000000);
  EXPECT_EQ(ParseDuration("1.s")->count(), 1000000000);
  EXPECT_EQ(ParseDuration("0.100000000000000000000h")->count(), 360000000000);
}

TEST(Duration, Errors) {
  for (const char* bad : {"", "s", ".s", "-", "3000000h", "9223372036854775808ns", "x"}) {
    EXPECT_EQ(ParseDuration(bad).status().message(), absl::StrCat("time: invalid duration \"", bad, "\""));
  }
  EXPECT_EQ(ParseDuration("3").status().message(), "time: missing unit in duration \"3\"");
  EXPECT_EQ(ParseDuration("3x").status().message(), "time: unknown unit \"x\" in duration \"3x\"");
}

TEST(FlagsTest, ValuesAsTheyAreNow) {
  FlagSet flags("x");
  std::string text = "a";
  std::vector<std::string> list;
  std::chrono::nanoseconds duration = std::chrono::seconds(90);
  bool on = false;
  flags.String("text", &text, "");
  flags.Strings("list", &list, "");
  flags.Duration("for", &duration, "");
  flags.Bool("on", &on, "");
  flags.Custom("any", "ip", "0.0.0.0", "", [](std::string_view) { return absl::OkStatus(); });
  const char* args[] = {"x", "--list=a,b", "--on", "--any=1.2.3.4"};
  ASSERT_TRUE(flags.Parse(4, args).ok());
  text = "b";
  std::vector<std::pair<std::string, std::string>> want = {{"any", "1.2.3.4"}, {"for", "1m30s"}, {"help", "false"},
                                                           {"list", "[a,b]"},  {"on", "true"},   {"text", "b"}};
  EXPECT_EQ(flags.Values(), want);
}

}  // namespace
}  // namespace skiff
