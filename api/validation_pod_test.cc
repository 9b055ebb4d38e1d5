// What upstream refuses of pods, in its words, beside what it lets through.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/patch.h"
#include "api/pod_resources.h"
#include "api/validation.h"
#include "api/validation_pod_testing.h"
#include "k8s/io/api/core/v1/container.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {
namespace {

namespace core = k8s::io::api::core::v1;

TEST(PodValidation, ClassOfService) {
  struct {
    const char *spec, *expected;
  } const cases[] = {
      {"{" PLAIN "}", "BestEffort"},
      {"{" PLAIN R"(,"resources":{"requests":{"cpu":"1"}}})", "Burstable"},
      {"{" PLAIN R"(,"resources":{"limits":{"cpu":"1","memory":"1Gi"}}})", "Guaranteed"},
      {"{" PLAIN R"(,"resources":{"limits":{"cpu":"1"}}})", "Burstable"},
      {"{" PLAIN R"(,"resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2","memory":"1Gi"}}})", "Burstable"},
      // The pod's own say all, whatever its containers have.
      {R"({"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}],)"
       R"("resources":{"limits":{"cpu":"1","memory":"1Gi"}}})",
       "Guaranteed"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}],)"
       R"("resources":{"limits":{"hugepages-2Mi":"2Mi"}}})",
       "Burstable"},  // requests come from the containers
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]})", "Guaranteed"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1","memory":"1Gi"}}},)"
       R"({"name":"d","image":"i"}]})",
       "Burstable"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"0","memory":"0"}}}]})", "BestEffort"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"example.com/x":"1"}}}]})", "BestEffort"},
  };
  for (const auto& c : cases) {
    const auto pod = PodOf(absl::StrCat(R"({"spec":)", c.spec, "}"));
    ASSERT_TRUE(pod.ok()) << pod.status();
    EXPECT_EQ(QosClassOf(pod->As<core::Pod>()->spec()), c.expected) << c.spec;
  }
}

TEST(PodValidation, ResourcesOfThePod) {
#define ASKING R"("containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}],)"
#define LIMITED R"("containers":[{"name":"c","image":"i","resources":{"limits":{"memory":"2Gi"}}}],)"
  ExpectCreates({
      {"{" ASKING R"("resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2"}}})", ""},
      {"{" LIMITED R"("resources":{"limits":{"memory":"2Gi","cpu":"1"}}})", ""},
      {"{" ASKING R"("resources":{"requests":{"cpu":"500m"}}})",
       "spec.resources.requests[cpu]: Invalid value: \"500m\": must be greater than or equal to aggregate container "
       "requests of 1"},
      {"{" LIMITED R"("resources":{"limits":{"memory":"1Gi"},"requests":{"memory":"1Gi"}}})",
       "[spec.resources.requests[memory]: Invalid value: \"1Gi\": must be greater than or equal to aggregate container "
       "requests of 2Gi, spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or "
       "equal to pod limits of 1Gi]"},
      {"{" PLAIN R"(,"resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}})",
       "spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
      {"{" PLAIN R"(,"resources":{"requests":{"ephemeral-storage":"1"}}})",
       "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: "
       "\"cpu\", \"hugepages-\", \"memory\""},
      {"{" PLAIN R"(,"resources":{"requests":{"memory":"-1"}}})",
       "spec.resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"},
      {"{" PLAIN R"(,"resources":{"claims":[{"name":"a"}]}})",
       "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level"},
      {"{" PLAIN R"(,"os":{"name":"windows"},"resources":{"requests":{"cpu":"1"}}})",
       "spec.resources: Forbidden: may not be set for a windows pod"},
  });
}

TEST(PodValidation, NamesAndAmountsOfResources) {
#define REQUESTS(amounts) R"({"containers":[{"name":"c","image":"i","resources":{"requests":{)" amounts "}}}]}"
  ExpectCreates({
      // Kubernetes' own with a prefix: as those without.
      {REQUESTS(R"("kubernetes.io/batch-cpu":"1500m")"), ""},
      {REQUESTS(R"("node.kubernetes.io/x":"1500m")"), ""},
      {REQUESTS(R"("example.com/x":"1")"),
       "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"},
      {REQUESTS(R"("cpu":"1","hugepages-2Mi":"2Mi")"),
       "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"example.com/x":"1500m"}}}]})",
       "[spec.containers[0].resources.limits[example.com/x]: Invalid value: \"1500m\": must be an integer, "
       "spec.containers[0].resources.requests[example.com/x]: Invalid value: \"1500m\": must be an integer]"},
      {R"({"containers":[{"name":"c","image":"i","resources":{"limits":{"requests.example.com/x":"1"}}}]})",
       "[spec.containers[0].resources.limits[requests.example.com/x]: Invalid value: \"requests.example.com/x\": "
       "doesn't "
       "follow extended resource name standard, spec.containers[0].resources.requests[requests.example.com/x]: Invalid "
       "value: \"requests.example.com/x\": doesn't follow extended resource name standard]"},
      {REQUESTS(R"("pods":"1500m")"),
       "[spec.containers[0].resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for "
       "containers, spec.containers[0].resources.requests[pods]: Invalid value: \"1500m\": must be an integer]"},
      {REQUESTS(R"("other":"1")"),
       "[spec.containers[0].resources.requests[other]: Invalid value: \"other\": must be a standard resource type or "
       "fully qualified, spec.containers[0].resources.requests[other]: Invalid value: \"other\": must be a standard "
       "resource for containers]"},
      {REQUESTS(R"("a b":"1")"),
       "[spec.containers[0].resources.requests[a b]: Invalid value: \"a b\": name part must consist of alphanumeric "
       "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
       "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), "
       "spec.containers[0].resources.requests[a b]: Invalid value: \"a b\": must be a standard resource for "
       "containers]"},
  });
}

TEST(PodValidation, Updates) {
  constexpr char kPod[] = R"({"spec":{)" PLAIN "}}";
  struct {
    const char *patch, *said;
    int causes;
  } const cases[] = {
      // Upstream goes twice over what an update may change, and both times says what is wrong.
      {R"({"spec":{"containers":[{"name":"c","image":" i","imagePullPolicy":"Always"}]}})",
       "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace", 2},
      {R"({"spec":{"tolerations":[{"effect":"NoSchedule"}]}})",
       "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means "
       "\"match all values and all keys\"",
       2},
      {R"({"spec":{"activeDeadlineSeconds":-1}})",
       "[spec.activeDeadlineSeconds: Invalid value: -1: must be between 1 and 2147483647, inclusive, "
       "spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647, inclusive]",
       2},
  };
  const auto before = PodOf(kPod);
  ASSERT_TRUE(before.ok());
  for (const auto& c : cases) {
    auto updated = PatchObject(*before, kMergePatchType, c.patch);
    ASSERT_TRUE(updated.ok()) << c.patch;
    SetDefaults(&*updated);
    const Status status = ValidateUpdate(*updated, *before);
    EXPECT_EQ(Said(status), c.said);
    EXPECT_EQ(ToStatusMessage(status).details().causes_size(), c.causes) << c.patch;
  }
  // A specification that an earlier server took stands in the way of no other change.
  constexpr char kOld[] = R"({"spec":{"containers":[{"name":"c","image":" i","resources":{"limits":{"a b":"1"}}}],)"
                          R"("tolerations":[{"effect":"NoSchedule"}]}})";
  for (const char* subresource : {"", "status"})
    ExpectUpdates(subresource, {{kOld, R"({"metadata":{"labels":{"a":"b"},"finalizers":["a/b"]}})", ""}});
}

TEST(PodValidation, Resizes) {
#define ONE(cpu, more) \
  R"("containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":")" cpu R"("}})" more "}]"
#define INIT(cpu, more) \
  R"("initContainers":[{"name":"s","image":"i","resources":{"requests":{"cpu":")" cpu R"("}})" more "}]"
  constexpr char kPod[] = R"({"spec":{)" ONE("1", "") "," INIT("1", "") "}}";
  constexpr char kPodLevel[] =
      R"({"spec":{)" PLAIN R"(,"resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"2"}}}})";
  constexpr char kRunning[] =
      R"({"spec":{)" ONE("1", "") R"(},"status":{"containerStatuses":[{"name":"c","state":{"running":{}}}]}})";
  ExpectUpdates(
      "resize",
      {
          {kPod, R"({"spec":{)" ONE("2", "") "}}", ""},
          {kPod, R"({"spec":{)" INIT("2", "") "}}", ""},
          {kPod, R"({"spec":{)" INIT("1", R"(,"args":["a"])") "}}",
           "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are "
           "mutable"},
          {R"({"spec":{)" PLAIN
           "," INIT("1", R"(,"resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}])") "}}",
           R"({"spec":{)" INIT("2",
                               R"(,"resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}])") "}}",
           "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer "
           "cannot be resized"},
          {kPod,
           R"({"spec":{)" ONE("1", R"(,"resizePolicy":[{"resourceName":"cpu","restartPolicy":"NotRequired"}])") "}}",
           "spec: Forbidden: only cpu and memory resources are mutable"},
          {kPod, R"({"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"memory":"1Gi"}}}]}})",
           "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"},
          {kPod, R"({"spec":{"containers":[{"name":"d","image":"i","resources":{"requests":{"cpu":"1"}}}]}})",
           "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"},
          {kPod, R"({"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]}})",
           "spec.containers: Forbidden: containers may not be added or removed on resize"},
          {kPod, R"({"spec":{"initContainers":null}})",
           "spec.initContainers: Forbidden: initContainers may not be added or removed on resize"},
          {kRunning, R"({"spec":{)" ONE("2", "") "}}",
           "spec: Forbidden: Pod running on node without support for resize"},
          // The pod's own.
          {kPodLevel, R"({"spec":{"resources":{"requests":{"cpu":"2"},"limits":{"cpu":"3"}}}})", ""},
          {kPodLevel, R"({"spec":{"resources":{"limits":{"memory":"4Gi"}}}})", ""},
          {kPodLevel, R"({"spec":{"resources":{"requests":null}}})",
           "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"},
          {kPodLevel, R"({"spec":{"resources":{"limits":null}}})",
           "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed"},
          {kPodLevel, R"({"spec":{"resources":{"limits":{"hugepages-2Mi":"2Mi"}}}})",
           "spec: Forbidden: only cpu and memory resources are mutable at pod-level"},
          {R"({"spec":{)" ONE("1", "") R"(,"resources":{"requests":{"cpu":"1"}}}})", R"({"spec":{"resources":null}})",
           "spec.resources: Forbidden: pod-level resources cannot be removed"},
          {R"({"spec":{)" ONE("1", "") "}}", R"({"spec":{"resources":{"requests":{"cpu":"2"}}}})", ""},
          {R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"a"}},"spec":{)" PLAIN R"(,"nodeName":"n1"}})",
           "{}", ": Forbidden: static pods cannot be resized"},
          {R"({"spec":{)" ONE("1",
                              "") R"(},"status":{"nodeAllocatableResourceClaimStatuses":[{"resourceClaimName":"a"}]}})",
           R"({"spec":{)" ONE("2", "") "}}",
           "spec: Forbidden: pods with node allocatable resource claims cannot be resized"},
      });
}

TEST(PodValidation, ResizePolicies) {
#define WITH_POLICY(pod, list, container, policy) \
  "{" pod list R"([{"name":"r","image":"i")" container R"(,"resizePolicy":[)" policy "]}]}"
#define RESTARTS R"({"resourceName":"cpu","restartPolicy":"RestartContainer"})"
#define KEEPS R"({"resourceName":"memory","restartPolicy":"NotRequired"})"
#define CONTAINERS R"("containers":)"
#define INITS PLAIN R"(,"initContainers":)"
  ExpectCreates({
      {WITH_POLICY("", CONTAINERS, "", RESTARTS "," KEEPS), ""},
      {WITH_POLICY(R"("restartPolicy":"Never",)", CONTAINERS, "", KEEPS), ""},
      {WITH_POLICY("", INITS, R"(,"restartPolicy":"Always")", RESTARTS), ""},
      {WITH_POLICY("", INITS, "", KEEPS), ""},
      {WITH_POLICY("", CONTAINERS, "", KEEPS "," KEEPS),
       "spec.containers[0].resizePolicy[1]: Duplicate value: \"memory\""},
      {WITH_POLICY("", CONTAINERS, "", R"({"resourceName":"disk","restartPolicy":"NotRequired"})"),
       "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""},
      {WITH_POLICY("", CONTAINERS, "", R"({"resourceName":"cpu","restartPolicy":"Maybe"})"),
       "spec.containers[0].resizePolicy: Unsupported value: \"Maybe\": supported values: \"NotRequired\", "
       "\"RestartContainer\""},
      {WITH_POLICY(R"("restartPolicy":"Never",)", CONTAINERS, "", RESTARTS),
       "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod "
       "`restartPolicy` is 'Never'"},
      {WITH_POLICY("", INITS, "", RESTARTS),
       "spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to "
       "'RestartContainer' for non-sidecar initContainers"},
  });
  // One that is there already may stay.
  ExpectUpdates("", {{R"({"spec":)" WITH_POLICY("", INITS, "", RESTARTS) "}",
                      R"({"spec":{"containers":[{"name":"c","image":"j"}]}})", ""}});
  ExpectUpdates("",
                {{R"({"spec":)" WITH_POLICY("", INITS, "", RESTARTS) "}", R"({"metadata":{"labels":{"a":"b"}}})", ""}});
}

TEST(PodValidation, GatedPodsKeepToTheirNodes) {
#define TERMS(list)                                                                                                      \
  R"({"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[)" list \
  "]}}}}}"
#define EXPRESSION(key) R"({"key":")" key R"(","operator":"Exists"})"
  constexpr char kGated[] = R"({"spec":{)" PLAIN R"(,"schedulingGates":[{"name":"a"}],"nodeSelector":{"a":"b"},)"
                            R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":)"
                            R"({"nodeSelectorTerms":[{"matchExpressions":[)" EXPRESSION("x") "]}]}}}}}";
  constexpr char kFree[] = R"({"spec":{)" PLAIN R"(,"schedulingGates":[{"name":"a"}]}})";
  ExpectUpdates(
      "",
      {
          {kGated, R"({"spec":{"nodeSelector":{"c":"d"}}})", ""},
          {kGated, R"({"spec":{"nodeSelector":{"a":"d"}}})",
           "spec.nodeSelector: Invalid value: {\"a\":\"d\"}: only additions to spec.nodeSelector are allowed (no "
           "mutations or deletions)"},
          {kGated, R"({"spec":{"nodeSelector":null}})",
           "spec.nodeSelector: Invalid value: null: only additions to spec.nodeSelector are allowed (no mutations or "
           "deletions)"},
          {kGated, TERMS(R"({"matchExpressions":[)" EXPRESSION("x") "," EXPRESSION("y") "]}"), ""},
          {kGated, TERMS(R"({"matchExpressions":[)" EXPRESSION("y") "]}"),
           "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid "
           "value: {\"MatchExpressions\":[{\"Key\":\"y\",\"Operator\":\"Exists\",\"Values\":null}],\"MatchFields\":"
           "null}: only additions are allowed (no mutations or deletions)"},
          {kGated, R"({"spec":{"affinity":null}})",
           "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid "
           "value: "
           "null: no additions/deletions to non-empty NodeSelectorTerms list are allowed"},
          {kFree, R"({"spec":{"nodeSelector":{"c":"d"}}})", ""},
          {kFree, TERMS(R"({"matchExpressions":[)" EXPRESSION("x") "]}"), ""},
      });
  // Other affinities are fixed, gated or not.
  const auto before = PodOf(kFree);
  ASSERT_TRUE(before.ok());
  const auto after =
      PatchObject(*before, kMergePatchType,
                  R"({"spec":{"affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[]}}}})");
  ASSERT_TRUE(after.ok());
  EXPECT_TRUE(absl::StrContains(ValidateUpdate(*after, *before).message(), "pod updates may not change fields"));
}

TEST(PodValidation, EphemeralContainers) {
  struct {
    const char *container, *said;  // "@" is the path of the container
  } const cases[] = {
      {R"({"name":"e","image":"i","targetContainerName":"c","tty":true,"securityContext":{"privileged":true}})", ""},
      {R"({"name":"e","image":"i","targetContainerName":"s"})", ""},
      {R"({"name":"e","image":"i","resources":{}})", ""},
      {R"({"name":"e","image":"i","volumeMounts":[{"name":"v","mountPath":"/v"}]})", ""},
      {R"({"name":"e","image":"i","targetContainerName":"first"})", "@.targetContainerName: Not found: \"first\""},
      {R"({"name":"c","image":"i"})", "@.name: Duplicate value: \"c\""},
      {R"({"name":"e","image":" i"})", "@.image: Invalid value: \" i\": must not have leading or trailing whitespace"},
      {R"({"name":"e","image":"i","resources":{"requests":{"cpu":"1"}}})",
       "@.resources: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","lifecycle":{"preStop":{"sleep":{"seconds":1}}}})",
       "@.lifecycle: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","readinessProbe":{"tcpSocket":{"port":1}}})",
       "@.readinessProbe: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","startupProbe":{"tcpSocket":{"port":1}}})",
       "@.startupProbe: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","restartPolicy":"Always"})",
       "@.restartPolicy: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","volumeMounts":[{"name":"v","mountPath":"/v","subPath":"a"}]})",
       "@.volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container"},
      {R"({"name":"e","image":"i","volumeMounts":[{"name":"w","mountPath":"/v"}]})",
       "@.volumeMounts[0].name: Not found: \"w\""},
      {R"({"name":"e","image":"i","imagePullPolicy":"Often"})",
       "@.imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\""},
      {R"({"name":"e","image":"i","env":[{"name":""}]})", "@.env[0].name: Required value"},
  };
  for (const auto& c : cases) {
    const auto before = PodOf(R"({"spec":{)" PLAIN R"(,"volumes":[{"name":"v","emptyDir":{}}],)"
                              R"("initContainers":[{"name":"s","image":"i"}],)"
                              R"("ephemeralContainers":[{"name":"first","image":"i"}]}})");
    ASSERT_TRUE(before.ok()) << before.status();
    const auto updated = PodOf(absl::StrCat(R"({"spec":{)" PLAIN R"(,"volumes":[{"name":"v","emptyDir":{}}],)"
                                            R"("initContainers":[{"name":"s","image":"i"}],)"
                                            R"("ephemeralContainers":[{"name":"first","image":"i"},)",
                                            c.container, "]}}"));
    ASSERT_TRUE(updated.ok()) << c.container << updated.status();
    const std::string said =
        c.said[0] == '@' ? absl::StrCat("spec.ephemeralContainers[1]", std::string_view(c.said).substr(1)) : c.said;
    EXPECT_EQ(Said(ValidateUpdate(*updated, *before, "ephemeralcontainers")), said) << c.container;
  }
}

TEST(PodValidation, HostnamesGatesAndRestartRules) {
  constexpr std::string_view kLong = "a123456789.b123456789.c123456789.d123456789.e123456789.f123456789";
  static_assert(kLong.size() > 64);
  ExpectCreates({
      {"{" PLAIN R"(,"hostnameOverride":"a.b"})", ""},
      {"{" PLAIN R"(,"hostnameOverride":"a","setHostnameAsFQDN":true})",
       "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"},
      {"{" PLAIN R"(,"hostnameOverride":"a","hostNetwork":true})",
       "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"},
      {"{" PLAIN R"(,"hostnameOverride":"Not-RFC1123"})",
       "spec.hostnameOverride: Invalid value: \"Not-RFC1123\": a lowercase RFC 1123 subdomain must consist of lower "
       "case "
       "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
       "'example.com', "
       "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
      {"{" PLAIN R"(,"schedulingGates":[{"name":"a/b"}]})", ""},
      {"{" PLAIN R"(,"schedulingGates":[{"name":"a/b"},{"name":"a/b"}]})",
       "spec.schedulingGates[1]: Duplicate value: \"a/b\""},
      {"{" PLAIN R"(,"nodeName":"n1","schedulingGates":[{"name":"a/b"}]})",
       "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
  });
  const auto pod = PodOf(absl::StrCat(R"({"spec":{)" PLAIN R"(,"hostnameOverride":")", kLong, "\"}}"));
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(Said(ValidateCreate(*pod)), "spec.hostnameOverride: Too long: may not be more than 64 bytes");

  constexpr char kGated[] = R"({"spec":{)" PLAIN R"(,"schedulingGates":[{"name":"a"},{"name":"b"}]}})";
  ExpectUpdates("",
                {{kGated, R"({"spec":{"schedulingGates":[{"name":"b"}]}})", ""},
                 {kGated, R"({"spec":{"schedulingGates":null}})", ""},
                 {kGated, R"({"spec":{"schedulingGates":[{"name":"a"},{"name":"c"}]}})",
                  "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate "
                  "'c'"},
                 {R"({"spec":{)" PLAIN "}}", R"({"spec":{"schedulingGates":[{"name":"a"}]}})",
                  "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
                  "'a'"}});

  struct {
    const char *rules, *said;  // "@" is the path of the container
  } const cases[] = {
      {R"("restartPolicy":"Never","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}])",
       ""},
      {R"("restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}])",
       "@.restartPolicy: Required value: must specify restartPolicy when restart rules are used"},
      {R"("restartPolicy":"Never","restartPolicyRules":[{"action":"Restart"}])",
       "@.restartPolicyRules[0].exitCodes: Required value: must be specified"},
      {R"("restartPolicy":"Never","restartPolicyRules":[{"action":"Stop","exitCodes":{"operator":"In"}}])",
       "@.restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", "
       "\"RestartAllContainers\""},
      {R"("restartPolicy":"Never","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"Is"}}])",
       "@.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\""},
      {R"("restartPolicy":"Sometimes")",
       "@.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""},
  };
  for (const auto& c : cases)
    for (const bool init : {false, true}) {
      const std::string container = absl::StrCat(R"({"name":"r","image":"i",)", c.rules, "}");
      const auto ruled = PodOf(init ? absl::StrCat(R"({"spec":{)" PLAIN R"(,"initContainers":[)", container, "]}}")
                                    : absl::StrCat(R"({"spec":{"containers":[)", container, "]}}"));
      ASSERT_TRUE(ruled.ok()) << ruled.status();
      const std::string_view at = init ? "spec.initContainers[0]" : "spec.containers[0]";
      EXPECT_EQ(Said(ValidateCreate(*ruled)),
                c.said[0] == '@' ? absl::StrCat(at, std::string_view(c.said).substr(1)) : c.said)
          << c.rules;
    }
}

TEST(PodValidation, FieldsThatVariablesMayName) {
  constexpr char kSupported[] =
      "supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
      "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"";
  const std::pair<std::string, std::string> cases[] = {
      {"spec.host", ""},
      {"spec.nodeName", ""},
      {"metadata.labels['a/b']", ""},
      {"metadata.annotations['A/b']", ""},
      {"status.phase", absl::StrCat(".fieldPath: Unsupported value: \"status.phase\": ", kSupported)},
      {"metadata.labels", absl::StrCat(".fieldPath: Unsupported value: \"metadata.labels\": ", kSupported)},
      {"spec.other",
       ".fieldPath: Invalid value: \"spec.other\": error converting fieldPath: field label not supported: spec.other"},
      {"metadata.name['a']",
       ".fieldPath: Invalid value: \"metadata.name['a']\": error converting fieldPath: field label does not support "
       "subscript: metadata.name['a']"},
  };
  for (const auto& [field, said] : cases) {
    const auto pod = PodOf(absl::StrCat(
        R"({"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":")",
        field, R"("}}}]}]}})"));
    ASSERT_TRUE(pod.ok()) << pod.status();
    EXPECT_EQ(Said(ValidateCreate(*pod)),
              said.empty() ? "" : absl::StrCat("spec.containers[0].env[0].valueFrom.fieldRef", said));
  }
}

}  // namespace
}  // namespace skiff::api
