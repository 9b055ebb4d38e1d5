#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff {
namespace {

std::string* g_lines = nullptr;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    g_lines = &lines_;
    log::SetSink([](std::string_view line) { g_lines->append(line); });
  }
  ~LogTest() override {
    log::SetSink(nullptr);
    log::SetFormat(log::Format::kText);
    log::SetVerbosity(0);
  }
  std::string lines_;
};

TEST_F(LogTest, TextAsKlog) {
  LOG_INFO("Started \"x\"", {"pod", "ns/n"}, {"count", 3}, {"ok", true});
  EXPECT_THAT(lines_,
              testing::MatchesRegex("I[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6} +[0-9]+ log_test\\.cc:[0-9]+\\] "
                                    "\"Started \\\\\"x\\\\\"\" pod=\"ns/n\" count=3 ok=true\n"));
}

TEST_F(LogTest, ErrorsComeFirstAndLinesAreIndented) {
  LOG_ERROR(NotFound("gone"), "Failed", {"output", "a\nb"});
  EXPECT_THAT(lines_, testing::StartsWith("E"));
  EXPECT_THAT(lines_, testing::EndsWith("] \"Failed\" err=\"gone\" output=<\n\ta\n\tb\n >\n"));
}

TEST_F(LogTest, Json) {
  log::SetFormat(log::Format::kJson);
  LOG_INFO("Started", {"pod", "ns/\"n\""}, {"count", 3});
  LOG_ERROR(NotFound("gone"), "Failed", {"a", "b"});
  EXPECT_THAT(lines_, testing::MatchesRegex(
                          "\\{\"ts\":[0-9.]+,\"caller\":\"base/log_test\\.cc:[0-9]+\",\"msg\":\"Started\",\"v\":0,"
                          "\"pod\":\"ns/\\\\\"n\\\\\"\",\"count\":3\\}\n"
                          "\\{\"ts\":[0-9.]+,\"caller\":\"base/log_test\\.cc:[0-9]+\",\"msg\":\"Failed\",\"a\":\"b\","
                          "\"err\":\"gone\"\\}\n"));
}

TEST_F(LogTest, VerbosityFilters) {
  VLOG(2, "hidden");
  EXPECT_EQ(lines_, "");
  log::SetVerbosity(2);
  VLOG(2, "shown");
  EXPECT_THAT(lines_, testing::HasSubstr("\"shown\""));
}

}  // namespace
}  // namespace skiff
