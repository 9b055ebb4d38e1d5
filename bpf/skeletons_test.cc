#include "bpf/skeletons.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace skiff::bpf {
namespace {

// Every program on the running kernel. The lines are the table in docs/kube-proxy.md, which e2e/vm fills for the
// kernels of Debian's releases.
TEST(Skeletons, ROOT_TheVerifierTakesEveryProgramWithRoomToSpare) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  utsname kernel;
  uname(&kernel);
  int programs = 0;
  bool refused = false;
  for (ProgramSet set : kAllProgramSets) {
    auto all = Verify(set);
    if (set == ProgramSet::kUdpSockets && ErrnoOf(all.status()) == EPERM) {
      refused = true;  // programs that look into the kernel may be forbidden to all
      continue;
    }
    ASSERT_TRUE(all.ok()) << all.status();
    for (const VerifierStats& stats : *all) {
      programs++;
      printf("verifier %s %s instructions=%lu processed=%lu total_states=%lu peak_states=%lu\n", kernel.release,
             stats.program.c_str(), static_cast<unsigned long>(stats.instructions),
             static_cast<unsigned long>(stats.processed), static_cast<unsigned long>(stats.total_states),
             static_cast<unsigned long>(stats.peak_states));
      EXPECT_GT(stats.processed, 0u);
      // The kernel's limit is a million; kernels differ by a small factor.
      EXPECT_LT(stats.processed, 250'000u) << stats.program;
    }
  }
  EXPECT_GE(programs, 13);
  if (refused) GTEST_SKIP() << "all but stale_udp: this machine lets nobody load tracing programs";
}

}  // namespace
}  // namespace skiff::bpf
