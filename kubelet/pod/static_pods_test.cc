#include "kubelet/pod/static_pods.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "api/codec.h"

namespace skiff::kubelet {
namespace {

using ::testing::HasSubstr;

constexpr char kWeb[] = R"(
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: c, image: "img:1"}]
)";

StatusOr<Pod> Parse(std::string_view text, ManifestOrigin origin = {true, "/m/web.yaml", "N1"}) {
  ASSIGN_OR_RETURN(auto pods, ParseManifest(text, origin));
  return pods.at(0);
}

TEST(StaticPodsTest, AManifestIsCompletedForItsNode) {
  auto pod = Parse(kWeb);
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(pod->metadata().name(), "web-n1");
  EXPECT_EQ(pod->metadata().namespace_(), "default");
  EXPECT_EQ(pod->spec().nodename(), "N1");
  EXPECT_EQ(pod->metadata().uid().size(), 32u);
  EXPECT_EQ(Annotation(*pod, kHashAnnotation), pod->metadata().uid());
  EXPECT_EQ(pod->status().phase(), "Pending");
  ASSERT_EQ(pod->spec().tolerations_size(), 1);
  EXPECT_EQ(pod->spec().tolerations(0).operator_(), "Exists");
  EXPECT_EQ(pod->spec().tolerations(0).effect(), "NoExecute");
  EXPECT_EQ(pod->spec().containers(0).terminationmessagepath(), "/dev/termination-log") << "defaults are set";
  EXPECT_EQ(pod->spec().dnspolicy(), "ClusterFirst");
}

// The API server makes the mirror's class of what the mirror says.
TEST(StaticPodsTest, EmptyResourcesOfThePodAreResourcesOfThePod) {
  const auto pod = Parse(R"(
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  resources: {}
  containers: [{name: c, image: "img:1", resources: {requests: {cpu: 10m}}}]
)");
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(QosClass(*pod), "BestEffort");
  EXPECT_TRUE(api::ToJsonValue(*pod)["spec"].contains("resources"));
}

// The numbers are what upstream's own decoding, defaulting, conversion and hashing of 1.36.2 make of these files.
TEST(StaticPodsTest, UidsAreUpstreams) {
  const struct {
    const char* name;
    const char* of_file;
    const char* of_url;
  } rows[] = {
      {"kube-apiserver", "561e733c013b914e3bc59ba94121b13a", "a20a2d7458eb1c66fd08f033822c1eb3"},
      {"quantities", "48022c3f3a31eb2ef14956318c714e18", "c0e8a7898162d7ef6302b2e01e7a2f2b"},
      {"wide", "1c0bb69c80268f6e221b94665b82aafd", "a4ae629519ff5d0229a4eb26ba09a250"},
  };
  for (const auto& row : rows) {
    std::ifstream in(absl::StrCat("kubelet/pod/testdata/", row.name, ".yaml"));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    ASSERT_FALSE(text.empty()) << row.name;
    const auto file = Parse(text, {true, absl::StrCat("/etc/kubernetes/manifests/", row.name, ".yaml"), "N1"});
    ASSERT_TRUE(file.ok()) << row.name << ": " << file.status();
    EXPECT_EQ(file->metadata().uid(), row.of_file) << row.name;
    EXPECT_EQ(Parse(text, {false, "http://manifests/", "N1"})->metadata().uid(), row.of_url) << row.name;
  }
}

TEST(StaticPodsTest, TheUidFollowsFromContentNodeAndOrigin) {
  const std::string uid = Parse(kWeb)->metadata().uid();
  EXPECT_EQ(Parse(kWeb)->metadata().uid(), uid);
  EXPECT_EQ(Parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"web"},"name":"web"},
                      "spec":{"containers":[{"image":"img:1","name":"c"}]}})")
                ->metadata()
                .uid(),
            uid)
      << "JSON and YAML of the same pod are the same pod";
  EXPECT_NE(Parse(kWeb, {true, "/m/web.yaml", "n2"})->metadata().uid(), uid);
  EXPECT_NE(Parse(kWeb, {true, "/m/other.yaml", "N1"})->metadata().uid(), uid);
  EXPECT_NE(Parse(kWeb, {false, "/m/web.yaml", "N1"})->metadata().uid(), uid);
  std::string changed = kWeb;
  changed.replace(changed.find("img:1"), 5, "img:2");
  EXPECT_NE(Parse(changed)->metadata().uid(), uid);
  auto own = Parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","uid":"mine"},
                      "spec":{"containers":[{"image":"i","name":"c"}]}})");
  EXPECT_EQ(own->metadata().uid(), "mine");
  EXPECT_EQ(Annotation(*own, kHashAnnotation), "mine");
}

TEST(StaticPodsTest, BadManifestsNameFileAndField) {
  auto error = [](std::string_view text) { return std::string(Parse(text).status().message()); };
  EXPECT_THAT(error("{a: ["), HasSubstr("/m/web.yaml"));
  EXPECT_THAT(error("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}"), HasSubstr("kind \"ConfigMap\""));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: i}]}"),
              HasSubstr("name is needed for the pod"));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {}"), HasSubstr("spec.containers"));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nmetadata: {name: X_y}\nspec: {containers: [{name: c, image: i}]}"),
              HasSubstr("metadata.name: Invalid value"));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i}, "
                    "{name: c, image: i}]}"),
              HasSubstr("spec.containers[1].name: Duplicate value: \"c\""));
  EXPECT_THAT(error("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, "
                    "volumeMounts: [{name: v, mountPath: /v}]}]}"),
              HasSubstr("volumeMounts[0].name: Not found: \"v\""));
  EXPECT_THAT(error(std::string(100000, '[')), HasSubstr("/m/web.yaml")) << "deep nesting is bounded";
}

TEST(StaticPodsTest, ListsComeFromUrlsOnly) {
  const char list[] = R"({"apiVersion":"v1","kind":"PodList","items":[
      {"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}},
      {"metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i"}]}}]})";
  auto pods = ParseManifest(list, {false, "http://x/", "n1"});
  ASSERT_TRUE(pods.ok()) << pods.status();
  ASSERT_EQ(pods->size(), 2u);
  EXPECT_EQ(pods->at(1).metadata().name(), "b-n1");
  EXPECT_EQ(pods->at(1).spec().tolerations_size(), 0);
  EXPECT_FALSE(ParseManifest(list, {true, "/f", "n1"}).ok());
}

// security.md: a static pod that names API objects is refused.
TEST(StaticPodsTest, static_pod_references) {
  auto with = [](const char* spec, const char* container = "") {
    return std::string(Parse(absl::StrCat("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {", spec,
                                          "containers: [{name: c, image: i", container, "}]}"))
                           .status()
                           .message());
  };
  const std::string none = with("");
  EXPECT_EQ(none, "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {with("serviceAccountName: default, "), "serviceaccounts"},
      {with("serviceAccount: default, "), "serviceaccounts"},
      {with("imagePullSecrets: [{name: s}], "), "secrets"},
      {with("", ", envFrom: [{secretRef: {name: s}}]"), "secrets"},
      {with("", ", envFrom: [{configMapRef: {name: s}}]"), "configmaps"},
      {with("", ", env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]"), "secrets"},
      {with("", ", env: [{name: A, valueFrom: {configMapKeyRef: {name: s, key: k}}}]"), "configmaps"},
      {with("initContainers: [{name: i, image: i, envFrom: [{secretRef: {name: s}}]}], "), "secrets"},
      {with("volumes: [{name: v, secret: {secretName: s}}], "), "secrets"},
      {with("volumes: [{name: v, configMap: {name: s}}], "), "configmaps"},
      {with("volumes: [{name: v, persistentVolumeClaim: {claimName: s}}], "), "persistentvolumeclaims"},
      {with("volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {}}}}], "),
       "persistentvolumeclaims (via ephemeral volumes)"},
      {with("volumes: [{name: v, csi: {driver: d}}], "), "csidrivers (via CSI volumes)"},
      {with("volumes: [{name: v, projected: {sources: [{secret: {name: s}}]}}], "), "secrets"},
      {with("volumes: [{name: v, projected: {sources: [{configMap: {name: s}}]}}], "), "configmaps"},
      {with("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], "),
       "serviceaccounts (via projected volumes)"},
      {with("volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {path: t, name: bundle}}]}}], "),
       "clustertrustbundles"},
      {with("resourceClaims: [{name: r, resourceClaimName: c}], "), "resourceclaims"},
  };
  for (const auto& [message, what] : cases) {
    EXPECT_THAT(message, HasSubstr(absl::StrCat("static pods may not reference ", what)));
  }
  // What needs no API is fine.
  EXPECT_EQ(with("volumes: [{name: v, emptyDir: {}}, {name: h, hostPath: {path: /}}, {name: d, downwardAPI: {}}, "
                 "{name: p, projected: {sources: [{downwardAPI: {}}]}}], "),
            "");
}

TEST(StaticPodsTest, AMirrorIsOwnedByTheNodeAndKnowsItsHash) {
  Pod pod = *Parse(kWeb);
  Pod mirror = MirrorOf(pod, "N1", "node-uid");
  EXPECT_TRUE(IsMirror(mirror));
  EXPECT_TRUE(IsMirrorOf(mirror, pod));
  EXPECT_TRUE(mirror.metadata().uid().empty()) << "the API server gives its own";
  ASSERT_EQ(mirror.metadata().ownerreferences_size(), 1);
  const auto& owner = mirror.metadata().ownerreferences(0);
  EXPECT_EQ(owner.apiversion() + "/" + owner.kind() + "/" + owner.name() + "/" + owner.uid(), "v1/Node/N1/node-uid");
  EXPECT_TRUE(owner.controller());
  EXPECT_FALSE(owner.has_blockownerdeletion());
  (*mirror.mutable_metadata()->mutable_annotations())[kMirrorAnnotation] = "other";
  EXPECT_FALSE(IsMirrorOf(mirror, pod));
}

}  // namespace
}  // namespace skiff::kubelet
