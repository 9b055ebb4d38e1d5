#include "bpf/features.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace skiff::bpf {
namespace {

bool Yes() { return true; }
bool No() { return false; }

TEST(Features, WhatIsMissingIsNamed) {
  std::vector<Feature> features = {{"alpha", "5.4", "nothing works", true, Yes},
                                   {"beta", "5.18", "no socket is served", true, No},
                                   {"gamma", "6.2", "it is slower", false, No},
                                   {"delta", "6.3", "no packet is served", true, No}};
  std::vector<Feature> missing = Missing(features);
  ASSERT_EQ(missing.size(), 3u);
  EXPECT_STREQ(missing[1].name, "gamma");
  EXPECT_EQ(RequiredNames(missing), "beta (Linux 5.18), delta (Linux 6.3)");
  EXPECT_EQ(Explain(Internal("verifier log"), missing).message(),
            "this kernel lacks beta (Linux 5.18), delta (Linux 6.3): verifier log");
  EXPECT_EQ(Explain(Internal("verifier log"), {missing[1]}).message(), "verifier log");
  EXPECT_TRUE(Explain(absl::OkStatus(), missing).ok());
}

TEST(Features, ROOT_TheKernelHasAllThatIsRequired) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  for (const Feature& feature : Missing()) {
    EXPECT_FALSE(feature.required) << feature.name << " (Linux " << feature.since << "): " << feature.without;
    printf("feature missing: %s\n", feature.name);
  }
}

}  // namespace
}  // namespace skiff::bpf
