// For tests of the plugin and the agent that change the kernel: a folder for state, and a network namespace for the
// test's thread, which leaves it again.
#ifndef SKIFF_CNI_ROOT_TESTING_H_
#define SKIFF_CNI_ROOT_TESTING_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "base/files.h"

namespace skiff::cni {

class RootTest : public ::testing::Test {
 protected:
  // A test that sets up more returns first where IsSkipped().
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    char path[] = "/tmp/skiff-cni-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    dir_ = path;
    home_ = ThisNamespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
  }
  void TearDown() override {
    if (home_.valid()) EXPECT_EQ(setns(home_.get(), CLONE_NEWNET), 0);
    if (!dir_.empty()) EXPECT_TRUE(RemoveAll(dir_).ok());
  }
  static Fd ThisNamespace() { return Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }
  static Fd NewNamespace() {
    Fd out;
    std::thread([&] {
      if (unshare(CLONE_NEWNET) == 0) out = ThisNamespace();
    }).join();
    return out;
  }

  std::string dir_;
  Fd home_;
};

// With rules of nftables.
class NftTest : public RootTest {
 protected:
  void SetUp() override {
    if (system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "needs nft";
    RootTest::SetUp();
  }
};

}  // namespace skiff::cni

#endif  // SKIFF_CNI_ROOT_TESTING_H_
