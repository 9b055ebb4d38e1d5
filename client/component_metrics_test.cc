#include "client/component_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::client {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ComponentMetrics, VersionAndFeatures) {
  metrics::Registry registry;
  api::FeatureGates gates;
  ASSERT_TRUE(gates.Set({{"ContextualLogging", false}}).ok());
  AddComponentMetrics(registry, gates);
  const std::string text = registry.Expose();
  EXPECT_THAT(text, HasSubstr("git_version=\"v1.36.2\",go_version=\"\",major=\"1\",minor=\"36\","));
  EXPECT_THAT(text, HasSubstr("kubernetes_feature_enabled{name=\"APIServerTracing\",stage=\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("kubernetes_feature_enabled{name=\"ContextualLogging\",stage=\"BETA\"} 0\n"));
}

TEST(HealthSlis, FollowsTheChecks) {
  HealthSlis slis;
  EXPECT_THAT(slis.Expose(), HasSubstr("process_start_time_seconds "));
  EXPECT_THAT(slis.Expose(), Not(HasSubstr("healthcheck")));
  slis.Observe("ping", "healthz", true);
  slis.Observe("syncloop", "healthz", true);
  slis.Observe("syncloop", "healthz", false);
  const std::string text = slis.Expose();
  EXPECT_THAT(text, HasSubstr("kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1\n"
                              "kubernetes_healthcheck{name=\"syncloop\",type=\"healthz\"} 0\n"));
  EXPECT_THAT(text,
              HasSubstr("kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 1\n"
                        "kubernetes_healthchecks_total{name=\"syncloop\",status=\"error\",type=\"healthz\"} 1\n"
                        "kubernetes_healthchecks_total{name=\"syncloop\",status=\"success\",type=\"healthz\"} 1\n"));
  slis.Reset();
  EXPECT_THAT(slis.Expose(), Not(HasSubstr("healthcheck")));
}

}  // namespace
}  // namespace skiff::client
