#include "kubelet/runtime/env_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::kubelet {
namespace {

TEST(EnvFileTest, Values) {
  constexpr char kFile[] =
      "# a comment\n\n  A='one' # said\nB='two\nlines = \"and\" more'\nC= 'not'\nD='#not a "
      "comment'\nA='again'\r\nE=''\n";
  EXPECT_EQ(*ValueFromEnvFile(kFile, "A"), "one");
  EXPECT_EQ(*ValueFromEnvFile(kFile, "B"), "two\nlines = \"and\" more");
  EXPECT_EQ(*ValueFromEnvFile(kFile, "C"), "");
  EXPECT_EQ(*ValueFromEnvFile(kFile, "D"), "#not a comment");
  EXPECT_EQ(*ValueFromEnvFile(kFile, "E"), "");
  EXPECT_EQ(*ValueFromEnvFile(kFile, "none"), "");
  EXPECT_EQ(*ValueFromEnvFile("", "A"), "");
}

TEST(EnvFileTest, BadLines) {
  auto error = [](std::string_view text) { return std::string(ValueFromEnvFile(text, "K").status().message()); };
  EXPECT_EQ(error("A"), "invalid environment variable format at line 1: missing '='");
  EXPECT_EQ(error("A='x'\n='y'"), "invalid environment variable format at line 2: empty variable name");
  EXPECT_EQ(error("A ='x'"), "invalid environment variable format at line 1: whitespace before '=' is not allowed");
  EXPECT_EQ(error("A=x"), "invalid environment variable format at line 1: value must be enclosed in single quotes");
  EXPECT_EQ(error("A='x' y"), "invalid environment variable format at line 1: unexpected content after closing quote");
  EXPECT_EQ(error("\nA='x\ny"), "invalid environment variable format starting at line 2: unclosed single quote");
}

}  // namespace
}  // namespace skiff::kubelet
