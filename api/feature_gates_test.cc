#include "api/feature_gates.h"

#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "base/files.h"

namespace skiff::api {
namespace {

TEST(FeatureGates, TableIsSortedAndAsTheFacts) {
  auto gates = KnownFeatureGates();
  for (size_t i = 1; i < gates.size(); i++) EXPECT_LT(std::string(gates[i - 1].name), gates[i].name);
  auto table = ReadFile("../shared/facts/feature-gates.tsv");
  if (!table.ok()) GTEST_SKIP() << "no facts here";
  FeatureGates set;
  size_t rows = 0;
  for (absl::string_view line : absl::StrSplit(*table, '\n', absl::SkipEmpty())) {
    std::vector<std::string> cells = absl::StrSplit(line, '\t');
    if (cells[0] == "name") continue;
    EXPECT_EQ(set.Enabled(cells[0]), cells[1] == "true") << cells[0];
    rows++;
  }
  EXPECT_EQ(rows, gates.size());
}

TEST(FeatureGates, Set) {
  FeatureGates gates;
  EXPECT_TRUE(gates.Set({{"NoSuchGate", true}, {"AllowServiceExternalIPs", false}}).ok());
  EXPECT_FALSE(gates.Enabled("AllowServiceExternalIPs"));
  EXPECT_FALSE(gates.Enabled("NoSuchGate"));
  EXPECT_EQ(gates.Set({{"PreferSameTrafficDistribution", false}}).message(),
            "cannot set feature gate PreferSameTrafficDistribution to false, feature is locked to true");
  EXPECT_FALSE(gates.Enabled("AllowServiceExternalIPs")) << "an error changes nothing";
  EXPECT_TRUE(gates.Set({{"AllAlpha", true}, {"NativeHistograms", false}}).ok());
  EXPECT_TRUE(gates.Enabled("ShardedListAndWatch"));
  EXPECT_FALSE(gates.Enabled("NativeHistograms"));
  EXPECT_EQ(gates.Set({{"APIServerIdentity", false}}).message(),
            "UnknownVersionInteroperabilityProxy is enabled, but depends on features that are disabled: "
            "[APIServerIdentity]");
  int on = 0;
  gates.Each([&](const char* name, const char* stage, bool value) {
    if (std::string(name) == "SidecarContainers") EXPECT_STREQ(stage, "");
    on += value;
  });
  EXPECT_GT(on, 100);
}

}  // namespace
}  // namespace skiff::api
