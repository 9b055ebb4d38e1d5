#include "kubelet/resources/kernel_tunables.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;

class KernelTunablesTest : public ::testing::Test {
 protected:
  KernelTunablesTest() {
    Make("vm/overcommit_memory", "0\n");
    Make("vm/panic_on_oom", "0\n");
    Make("kernel/panic", "10\n");
    Make("kernel/panic_on_oops", "1\n");
    Make("kernel/keys/root_maxkeys", "200\n");
    Make("kernel/keys/root_maxbytes", "25000000\n");
  }
  void Make(const std::string& name, std::string_view text) {
    ASSERT_TRUE(sys_.MakeDirs(name.substr(0, name.rfind('/'))).ok());
    ASSERT_TRUE(sys_.WriteAtomic(name, text).ok());
  }
  TempDir dir_;
  Dir sys_ = *Dir::Open(dir_.path());
};

TEST_F(KernelTunablesTest, DifferencesAreWritten) {
  ASSERT_TRUE(SetUpKernelTunables(sys_, false).ok());
  EXPECT_EQ(*sys_.Read("vm/overcommit_memory"), "1\n");  // one write, as /proc takes it
  EXPECT_EQ(*sys_.Read("kernel/keys/root_maxkeys"), "1000000");
  EXPECT_EQ(*sys_.Read("kernel/panic"), "10\n");
}

TEST_F(KernelTunablesTest, DifferencesAreErrorsWhereTheyAreProtected) {
  const Status s = SetUpKernelTunables(sys_, true);
  EXPECT_EQ(s.message(),
            "[invalid kernel flag: vm/overcommit_memory, expected value: 1, actual value: 0, invalid kernel flag: "
            "kernel/keys/root_maxkeys, expected value: 1000000, actual value: 200]");
  EXPECT_EQ(*sys_.Read("vm/overcommit_memory"), "0\n");
}

TEST_F(KernelTunablesTest, WhatCannotBeReadIsToldOnlyWhereItIsProtected) {
  ASSERT_TRUE(sys_.Unlink("kernel/panic").ok());
  EXPECT_TRUE(SetUpKernelTunables(sys_, false).ok());
  EXPECT_THAT(std::string(SetUpKernelTunables(sys_, true).message()), HasSubstr("kernel/panic: No such file"));
}

}  // namespace
}  // namespace skiff::kubelet
