// The eviction subresource, seen over HTTP: dry runs, budgets, and what the pod tells of its end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/apiserver/api_server_fixture.h"

namespace skiff::controlplane {
namespace {

using ::testing::HasSubstr;

constexpr char kPods[] = "/api/v1/namespaces/default/pods";
constexpr char kBudgets[] = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

class EvictionTest : public ApiServerTest {
 protected:
  Answered Patch(const std::string& target, const json& body) {
    return Call("PATCH", target, body, "admin", {"system:masters"}, {{"Content-Type", "application/merge-patch+json"}});
  }
  // A pod on a node that runs.
  void Running(const std::string& name, bool ready) {
    json pod = Pod(name);
    pod["metadata"]["labels"] = {{"app", "a"}};
    pod["spec"]["nodeName"] = "n1";
    ASSERT_EQ(Call("POST", kPods, pod).status, 201);
    const json status = {{"phase", "Running"},
                         {"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}}};
    ASSERT_EQ(Patch(absl::StrCat(kPods, "/", name, "/status"), {{"status", status}}).status, 200);
  }
  void Budget(const json& spec = json::object()) {
    json budget = {{"metadata", {{"name", "b"}}},
                   {"spec", {{"minAvailable", 1}, {"selector", {{"matchLabels", {{"app", "a"}}}}}}}};
    budget["spec"].update(spec);
    ASSERT_EQ(Call("POST", kBudgets, budget).status, 201);
  }
  void BudgetStatus(int allowed, int healthy, int desired) {
    const Answered patched = Patch(absl::StrCat(kBudgets, "/b/status"), {{"status",
                                                                          {{"observedGeneration", 1},
                                                                           {"disruptionsAllowed", allowed},
                                                                           {"currentHealthy", healthy},
                                                                           {"desiredHealthy", desired},
                                                                           {"expectedPods", 2}}}});
    ASSERT_EQ(patched.status, 200) << patched.body;
  }
  json BudgetStatus() { return Call("GET", absl::StrCat(kBudgets, "/b")).document["status"]; }
  Answered Evict(const std::string& name, const json& delete_options = nullptr, const std::string& query = "") {
    json eviction = {{"apiVersion", "policy/v1"}, {"kind", "Eviction"}, {"metadata", {{"name", name}}}};
    if (!delete_options.is_null()) eviction["deleteOptions"] = delete_options;
    return Call("POST", absl::StrCat(kPods, "/", name, "/eviction", query), eviction);
  }
  json Get(const std::string& name) { return Call("GET", absl::StrCat(kPods, "/", name)).document; }
  static std::string Cause(const Answered& answered) {
    return answered.document["details"]["causes"][0]["message"].get<std::string>();
  }
};

TEST_F(EvictionTest, ADryRunAskedForInTheBodyEvictsNothing) {
  MakeServiceAccount();
  Running("p", true);
  Budget();
  BudgetStatus(1, 2, 1);
  const json before = Get("p"), budget = BudgetStatus();
  EXPECT_EQ(Evict("p", {{"dryRun", {"All"}}}).status, 201);
  EXPECT_EQ(Evict("p", nullptr, "?dryRun=All").status, 201);
  EXPECT_EQ(Evict("p", {{"dryRun", {"All"}}}, "?dryRun=All").status, 201);
  EXPECT_EQ(Get("p"), before);
  EXPECT_EQ(BudgetStatus(), budget);
  EXPECT_EQ(Evict("p", {{"dryRun", {"Some"}}}).status, 422);
  constexpr char kUnsupported[] =
      "is invalid: dryRun: Unsupported value: [\"Some\",\"All\"]: supported values: \"All\"";
  EXPECT_EQ(Message(Evict("p", {{"dryRun", {"Some", "All"}}})),
            absl::StrCat("DeleteOptions.meta.k8s.io \"\" ", kUnsupported));
  EXPECT_EQ(Message(Evict("p", nullptr, "?dryRun=Some&dryRun=All")),
            absl::StrCat("CreateOptions.meta.k8s.io \"\" ", kUnsupported));
  const Answered mismatch = Evict("p", {{"dryRun", {"Some"}}}, "?dryRun=All");
  EXPECT_EQ(mismatch.status, 500);
  EXPECT_EQ(Message(mismatch), "Non-matching dry-run options in request and content: [All] and [Some]");
  EXPECT_EQ(Get("p"), before);
}

TEST_F(EvictionTest, TheBudgetCountsAndThePodSaysWhy) {
  MakeServiceAccount();
  Running("p", true);
  Running("q", true);
  Budget();
  const Answered unseen = Evict("p");
  EXPECT_EQ(unseen.status, 429);
  EXPECT_EQ(Cause(unseen), "The disruption budget b is still being processed by the server.");
  BudgetStatus(1, 2, 1);
  ASSERT_EQ(Evict("p").status, 201);
  const json gone = Get("p");
  EXPECT_TRUE(gone["metadata"].contains("deletionTimestamp"));
  const json& condition = gone["status"]["conditions"].back();
  EXPECT_EQ(condition["type"], "DisruptionTarget");
  EXPECT_EQ(condition["status"], "True");
  EXPECT_EQ(condition["reason"], "EvictionByEvictionAPI");
  EXPECT_EQ(condition["message"], "Eviction API: evicting");
  const json status = BudgetStatus();
  EXPECT_EQ(status["disruptionsAllowed"], 0);
  EXPECT_TRUE(status["disruptedPods"].contains("p"));
  EXPECT_EQ(status["conditions"][0]["reason"], "InsufficientPods");
  BudgetStatus(0, 1, 1);
  const Answered refused = Evict("q");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(Cause(refused), "The disruption budget b needs 1 healthy pods and has 1 currently");
  EXPECT_FALSE(Get("q")["metadata"].contains("deletionTimestamp"));
}

TEST_F(EvictionTest, PodsThatAreNotReadyTakeNothingFromABudget) {
  MakeServiceAccount();
  for (const char* name : {"p", "q", "r"}) Running(name, false);
  Budget();
  BudgetStatus(0, 0, 1);
  EXPECT_EQ(Evict("p").status, 429);  // the application is short of pods: none may go
  BudgetStatus(0, 1, 1);
  EXPECT_EQ(Evict("p").status, 201);
  EXPECT_FALSE(BudgetStatus().contains("disruptedPods"));
  ASSERT_EQ(Patch(absl::StrCat(kBudgets, "/b"), {{"spec", {{"unhealthyPodEvictionPolicy", "AlwaysAllow"}}}}).status,
            200);
  BudgetStatus(0, 0, 1);
  EXPECT_EQ(Evict("q").status, 201);
  EXPECT_TRUE(Get("q")["metadata"].contains("deletionTimestamp"));
  // A version that the caller asks for is kept to.
  ASSERT_EQ(Call("DELETE", absl::StrCat(kBudgets, "/b")).status, 200);
  const Answered stale = Evict("r", {{"preconditions", {{"resourceVersion", "1"}}}});
  EXPECT_EQ(stale.status, 409);
  EXPECT_FALSE(Get("r")["metadata"].contains("deletionTimestamp"));
}

}  // namespace
}  // namespace skiff::controlplane
