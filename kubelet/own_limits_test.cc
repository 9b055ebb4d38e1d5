#include "kubelet/own_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

bool LimitsAre(rlim_t soft, rlim_t hard) {
  rlimit now{};
  return getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == soft && now.rlim_max == hard;
}

// In a process of its own: limits that were lowered do not come back.
void Try() {
  const rlimit before{64, 512};
  if (setrlimit(RLIMIT_NOFILE, &before) != 0) std::_Exit(1);
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) std::_Exit(2);
  if (ErrnoOf(SetMostOpenFiles(1024)) != EPERM) std::_Exit(3);
  if (!LimitsAre(512, 512)) std::_Exit(4);
  if (!SetMostOpenFiles(256).ok() || !LimitsAre(256, 256)) std::_Exit(5);
  std::_Exit(0);
}

TEST(OwnLimits, OpenFilesAsManyAsAskedForOrAsManyAsAllowed) { EXPECT_EXIT(Try(), testing::ExitedWithCode(0), ""); }

}  // namespace
}  // namespace skiff::kubelet
