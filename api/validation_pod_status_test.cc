// What upstream refuses of a pod's status, beside what it lets through.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "api/validation_pod_testing.h"

namespace skiff::api {
namespace {

TEST(PodValidation, Statuses) {
#define ENDED(code)                                                                                               \
  R"("status":{"qosClass":"BestEffort","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":)" code \
  "}}}]}"
  constexpr char kWaits[] = R"({"status":{"containerStatuses":[{"name":"c","state":{"waiting":{}}}]}})";
  constexpr char kNot[] =
      "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
  constexpr char kBound[] = R"({"spec":{)" PLAIN R"(,"nodeName":"n1"},"status":{"qosClass":"BestEffort"}})";
  constexpr char kFree[] = R"({"spec":{)" PLAIN R"(},"status":{"qosClass":"BestEffort","nominatedNodeName":"a"}})";
  ExpectUpdates(
      "status",
      {
          {kBound, R"({"status":{"qosClass":"Burstable"}})",
           "status.qosClass: Invalid value: \"Burstable\": field is immutable"},
          {kBound, R"({"status":{"nominatedNodeName":"n2"}})",
           "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"},
          {kFree, R"({"status":{"nominatedNodeName":"n2"}})", ""},
          {kFree, R"({"status":{"nominatedNodeName":"N_2"}})",
           "status.nominatedNodeName: Invalid value: \"N_2\": a lowercase RFC 1123 subdomain must consist of lower "
           "case "
           "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
           "'example.com', regex used for validation is "
           "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
          {kFree, R"({"status":{"observedGeneration":-1}})",
           "status.observedGeneration: Invalid value: -1: must be a non-negative integer"},
          {kFree, R"({"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"a/b","status":"True"}]}})", ""},
          {kFree, R"({"status":{"podIPs":[{"ip":"1.2.3.4"},{"ip":"fd00::1"}]}})", ""},
          {kFree, R"({"status":{"podIPs":[{"ip":"1.2.3"}]}})",
           "status.podIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"},
          {kFree, R"({"status":{"podIPs":[{"ip":"010.0.0.1"}]}})",
           "status.podIPs[0]: Invalid value: \"010.0.0.1\": must not have leading 0s"},
          {kFree, R"({"status":{"podIPs":[{"ip":"1.2.3.4"},{"ip":"1.2.3.5"}]}})",
           "status.podIPs: Invalid value: [{\"IP\":\"1.2.3.4\"},{\"IP\":\"1.2.3.5\"}]: may specify no more than one IP "
           "for each IP family"},
          {kFree, R"({"status":{"hostIP":"1.2.3.4","hostIPs":[{"ip":"1.2.3.5"}]}})",
           "status.hostIPs[0].ip: Invalid value: \"1.2.3.5\": must be equal to `hostIP`"},
          {kFree, R"({"status":{"resourceClaimStatuses":[{"name":"a"}]}})",
           "status.resourceClaimStatuses[0].name: Invalid value: \"a\": must match the name of an entry in "
           "`spec.resourceClaims`"},
          // Ended containers.
          {R"({"spec":{)" PLAIN "}," ENDED("0") "}", kWaits, ""},
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"Never"},)" ENDED("1") "}", kWaits, kNot},
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"Never"},)" ENDED("1") "}",
           R"({"status":{"phase":"Failed","containerStatuses":[]}})", ""},
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"OnFailure"},)" ENDED("1") "}", kWaits, ""},
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"OnFailure"},)" ENDED("0") "}", kWaits, kNot},
          // A container's own policy and rules.
          {R"({"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i","restartPolicy":"Always"}]},)" ENDED(
               "0") "}",
           kWaits, ""},
          {R"({"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i","restartPolicy":"Never",)"
           R"("restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]}]},)" ENDED(
               "42") "}",
           kWaits, ""},
          {R"({"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i","restartPolicy":"Never",)"
           R"("restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"NotIn","values":[42]}}]}]},)" ENDED(
               "42") "}",
           kWaits, kNot},
          // Any rule that restarts all lets all of them.
          {R"({"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"},{"name":"d","image":"i",)"
           R"("restartPolicy":"Never","restartPolicyRules":[{"action":"RestartAllContainers",)"
           R"("exitCodes":{"operator":"In","values":[42]}}]}]},)" ENDED("1") "}",
           kWaits, ""},
          // Init containers: sidecars start again, the others do not in a pod that never restarts.
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"Never","initContainers":[{"name":"s","image":"i",)"
           R"("restartPolicy":"Always"}]},"status":{"initContainerStatuses":[{"name":"s","state":{"terminated":{}}}]}})",
           R"({"status":{"initContainerStatuses":[{"name":"s","state":{"running":{}}}]}})", ""},
          {R"({"spec":{)" PLAIN R"(,"restartPolicy":"Never","initContainers":[{"name":"s","image":"i"}]},)"
           R"("status":{"initContainerStatuses":[{"name":"s","state":{"terminated":{}}}]}})",
           R"({"status":{"initContainerStatuses":[{"name":"s","state":{"running":{}}}]}})",
           "status.initContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"},
          {R"({"spec":{)" PLAIN
           R"(},"status":{"ephemeralContainerStatuses":[{"name":"e","state":{"terminated":{}}}]}})",
           R"({"status":{"ephemeralContainerStatuses":[{"name":"e","state":{"running":{}}}]}})",
           "status.ephemeralContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"},
      });
}

TEST(PodValidation, ClaimsUsersAndHealthInStatuses) {
#define WITH(status) R"({"status":)" status "}"
#define RESOURCES(more) WITH(R"({"containerStatuses":[{"name":"c","allocatedResourcesStatus":[)" more "]}]}")
  constexpr char kPod[] =
      R"({"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"a/b":"1"},"limits":{"a/b":"1"},)"
      R"("claims":[{"name":"d"},{"name":"e","request":"f"}]}}],"resourceClaims":[{"name":"d"},{"name":"e"}]}})";
  constexpr char kAt[] = "status.containerStatuses[0].allocatedResourcesStatus[0]";
  const std::string no_request =
      absl::StrCat(kAt, ".name: Invalid value: \"x\": must match one of the container's resource requests");
  const std::string no_claim = absl::StrCat(kAt,
                                            ".name: Invalid value: \"claim:e\": must match one of the container's "
                                            "resource claims in a format 'claim:<claimName>/<request>' or "
                                            "'claim:<claimName>' if request is empty");
  const std::string health = absl::StrCat(kAt,
                                          ".resources[0].health: Unsupported value: \"Fine\": supported values: "
                                          "\"Healthy\", \"Unhealthy\", \"Unknown\"");
  const std::string twice = absl::StrCat(kAt, ".resources[1].resourceID: Duplicate value: \"1\"");
  const std::string message =
      absl::StrCat(kAt, ".resources[0].message: Required value: must be non-empty if specified");
  ExpectUpdates(
      "status",
      {
          {kPod, WITH(R"({"resourceClaimStatuses":[{"name":"d","resourceClaimName":"made"}]})"), ""},
          {kPod, WITH(R"({"resourceClaimStatuses":[{"name":"d","resourceClaimName":"Made"}]})"),
           "status.resourceClaimStatuses[0].resourceClaimName: Invalid value: \"Made\": a lowercase RFC 1123 subdomain "
           "must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
           "alphanumeric character (e.g. 'example.com', regex used for validation is "
           "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
          {kPod, WITH(R"({"initContainerStatuses":[{"name":"c","user":{"linux":{"uid":0,"gid":1}}}]})"), ""},
          {kPod,
           WITH(R"({"containerStatuses":[{"name":"c","user":{"linux":{"uid":-1,"gid":1,)"
                R"("supplementalGroups":[1,2147483648]}}}]})"),
           "[status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647, "
           "inclusive, "
           "status.containerStatuses[0].user.linux.supplementalGroups[1]: Invalid value: 2147483648: must be between 0 "
           "and 2147483647, inclusive]"},
          {kPod, RESOURCES(R"({"name":"a/b","resources":[{"resourceID":"1","health":"Unknown"}]})"), ""},
          {kPod, RESOURCES(R"({"name":"claim:d"},{"name":"claim:e/f"})"), ""},
          {kPod, RESOURCES(R"({"name":"x"})"), no_request.c_str()},
          {kPod, RESOURCES(R"({"name":"claim:e"})"), no_claim.c_str()},
          {kPod, WITH(R"({"containerStatuses":[{"name":"other","allocatedResourcesStatus":[{"name":"x"}]}]})"), ""},
          {kPod, RESOURCES(R"({"name":"a/b","resources":[{"resourceID":"1","health":"Fine"}]})"), health.c_str()},
          {kPod,
           RESOURCES(R"({"name":"a/b","resources":[{"resourceID":"1","health":"Healthy"},)"
                     R"({"resourceID":"1","health":"Healthy"}]})"),
           twice.c_str()},
          {kPod, RESOURCES(R"({"name":"a/b","resources":[{"resourceID":"1","health":"Healthy","message":""}]})"),
           message.c_str()},
          {kPod, WITH(R"({"ephemeralContainerStatuses":[{"name":"e","allocatedResourcesStatus":[{"name":"a/b"}]}]})"),
           "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in "
           "container "
           "status"},
      });
}

TEST(PodValidation, ClaimsForExtendedResources) {
#define EXTENDED(mappings, more) \
  R"({"status":{"extendedResourceClaimStatus":{"requestMappings":[)" mappings "]" more "}}}"
#define MAPPING(container, resource, request) \
  R"({"containerName":")" container R"(","resourceName":")" resource R"(","requestName":")" request R"("})"
#define CLAIM R"(,"resourceClaimName":"made")"
  constexpr char kPod[] = R"({"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"a/b":"1"}}}],)"
                          R"("initContainers":[{"name":"s","image":"i"}]}})";
  ExpectUpdates(
      "status",
      {
          {kPod, EXTENDED(MAPPING("c", "a/b", "r") "," MAPPING("c", "a/b", "s"), CLAIM), ""},
          {kPod, EXTENDED("", CLAIM),
           "status.extendedResourceClaimStatus.requestMappings: Required value: at least one request mapping is "
           "required"},
          {kPod, EXTENDED(MAPPING("c", "a/b", "r"), ""),
           "status.extendedResourceClaimStatus.resourceClaimName: Required value"},
          {kPod, EXTENDED(MAPPING("d", "a/b", "r"), CLAIM),
           "status.extendedResourceClaimStatus.requestMappings[0].containerName: Invalid value: \"d\": must match the "
           "name of an entry in spec.initContainers.name or spec.containers.name"},
          {kPod, EXTENDED(MAPPING("s", "a/b", "r"), CLAIM),
           "status.extendedResourceClaimStatus.requestMappings[0].resourceName: Invalid value: \"a/b\": must match the "
           "extended resource name of an entry in spec.initContainers.resources.requests or "
           "spec.containers.resources.requests"},
          {kPod, EXTENDED(MAPPING("c", "a/b", "r") "," MAPPING("c", "a/b", "r"), CLAIM),
           "[status.extendedResourceClaimStatus.requestMappings[1].containerName: Duplicate value: \"c\", "
           "status.extendedResourceClaimStatus.requestMappings[1].resourceName: Duplicate value: \"a/b\", "
           "status.extendedResourceClaimStatus.requestMappings[1].requestName: Duplicate value: \"r\"]"},
      });
}

}  // namespace
}  // namespace skiff::api
