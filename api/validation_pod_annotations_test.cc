// Annotations that upstream refuses, of pods and of templates.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/validation.h"
#include "api/validation_pod_testing.h"
#include "k8s/io/api/apps/v1/generated.pb.h"

namespace skiff::api {
namespace {

namespace apps = k8s::io::api::apps::v1;

TEST(PodValidation, AnnotationsOfNodesStayAsTheyAre) {
  constexpr char kPlain[] = R"({"spec":{)" PLAIN R"(,"nodeName":"n1"}})";
  constexpr char kMirror[] =
      R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"a"}},"spec":{)" PLAIN R"(,"nodeName":"n1"}})";
  constexpr char kArmored[] =
      R"({"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/c":"unconfined"}},)"
      R"("spec":{)" PLAIN "}}";
  for (const char* subresource : {"", "status", "ephemeralcontainers"})
    ExpectUpdates(
        subresource,
        {{kPlain, R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}}})",
          "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation"},
         {kPlain, R"({"metadata":{"annotations":{"a/b":"x","controller.kubernetes.io/pod-deletion-cost":"-1"}}})", ""},
         {kArmored, R"({"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/c":null}}})",
          "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Forbidden: may not remove "
          "or update AppArmor annotations"}});
  for (const char* subresource : {"", "status"})
    ExpectUpdates(subresource, {{kMirror, R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"b"}}})",
                                 "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or "
                                 "update mirror pod annotation"},
                                {kMirror, R"({"metadata":{"annotations":null}})",
                                 "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or "
                                 "update mirror pod annotation"},
                                {kMirror, R"({"metadata":{"annotations":{"a/b":"x"}}})", ""}});
  ExpectUpdates("ephemeralcontainers",
                {{kMirror, "{}", ": Forbidden: static pods do not support ephemeral containers"}});
}

TEST(PodValidation, AnnotationsAtCreate) {
  struct {
    const char *annotations, *said;
  } const cases[] = {
      {R"({"kubernetes.io/config.mirror":"a"})",
       "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"a\": must set spec.nodeName if mirror pod "
       "annotation is set"},
      {R"({"controller.kubernetes.io/pod-deletion-cost":"+1"})",
       "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit "
       "integer"},
      {R"({"controller.kubernetes.io/pod-deletion-cost":"0"})", ""},
      {R"({"container.apparmor.security.beta.kubernetes.io/d":"runtime/default"})",
       "metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: \"d\": container not "
       "found"},
      {R"({"container.apparmor.security.beta.kubernetes.io/c":"x"})",
       "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: \"x\": invalid AppArmor "
       "profile name: \"x\""},
      {R"({"seccomp.security.alpha.kubernetes.io/pod":"x"})",
       "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": must be a valid seccomp "
       "profile"},
      {R"({"seccomp.security.alpha.kubernetes.io/pod":"localhost/a/b"})", ""},
  };
  for (const auto& c : cases) {
    const auto pod = PodOf(absl::StrCat(R"({"metadata":{"annotations":)", c.annotations, R"(},"spec":{)" PLAIN "}}"));
    ASSERT_TRUE(pod.ok()) << pod.status();
    EXPECT_EQ(Said(ValidateCreate(*pod)), c.said) << c.annotations;
  }
}

TEST(PodValidation, AnnotationsAgreeWithFields) {
  struct {
    const char *annotation, *context, *said;  // "@" is the path of the pod's context
  } const pods[] = {
      {R"("seccomp.security.alpha.kubernetes.io/pod":"runtime/default")", R"("seccompProfile":{"type":"Unconfined"})",
       "@.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"},
      {R"("seccomp.security.alpha.kubernetes.io/pod":"docker/default")",
       R"("seccompProfile":{"type":"RuntimeDefault"})", ""},
      {R"("seccomp.security.alpha.kubernetes.io/pod":"localhost/a")",
       R"("seccompProfile":{"type":"Localhost","localhostProfile":"a"})", ""},
      {R"("seccomp.security.alpha.kubernetes.io/pod":"localhost/a")",
       R"("seccompProfile":{"type":"Localhost","localhostProfile":"b"})",
       "@.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match"},
      {R"("container.apparmor.security.beta.kubernetes.io/c":"unconfined")",
       R"("appArmorProfile":{"type":"Unconfined"})", ""},
      {R"("container.apparmor.security.beta.kubernetes.io/c":"unconfined")",
       R"("appArmorProfile":{"type":"RuntimeDefault"})",
       "spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must "
       "match"},
  };
  for (const auto& c : pods) {
    const auto pod = PodOf(absl::StrCat(R"({"metadata":{"annotations":{)", c.annotation,
                                        R"(}},"spec":{)" PLAIN R"(,"securityContext":{)", c.context, "}}}"));
    ASSERT_TRUE(pod.ok()) << pod.status();
    EXPECT_EQ(Said(ValidateCreate(*pod)),
              c.said[0] == '@' ? absl::StrCat("spec.securityContext", std::string_view(c.said).substr(1)) : c.said)
        << c.annotation << c.context;
  }
  const auto pod = PodOf(
      R"({"metadata":{"annotations":{"container.seccomp.security.alpha.kubernetes.io/s":"unconfined"}},"spec":{)" PLAIN
      R"(,"initContainers":[{"name":"s","image":"i","securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}]}})");
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(
      Said(ValidateCreate(*pod)),
      "spec.initContainers[0].securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field "
      "must match");
}

TEST(PodValidation, AnnotationsThatAreStoredMayStay) {
  constexpr char kOld[] = R"({"metadata":{"annotations":{"seccomp.security.alpha.kubernetes.io/pod":"x",)"
                          R"("container.apparmor.security.beta.kubernetes.io/gone":"y",)"
                          R"("kubernetes.io/config.mirror":"z"}},"spec":{)" PLAIN "}}";
  constexpr char kWrong[] =
      "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"w\": must be a valid seccomp "
      "profile";
  for (const char* subresource : {"", "status"})
    ExpectUpdates(subresource,
                  {{kOld, R"({"metadata":{"labels":{"a":"b"},"annotations":{"c/d":"e"}}})", ""},
                   {kOld, R"({"metadata":{"annotations":{"seccomp.security.alpha.kubernetes.io/pod":"w"}}})", kWrong}});
}

// Refused where the template is written, not first of its pods.
TEST(PodValidation, TemplatesAreCheckedAsTheirPods) {
  const auto deployment = [](std::string_view annotations, std::string_view spec) {
    apps::Deployment out;
    const Status read = FromJson(
        absl::StrCat(
            R"({"metadata":{"name":"x","namespace":"n","resourceVersion":"1"},"spec":{"selector":{"matchLabels":)"
            R"({"a":"b"}},"template":{"metadata":{"labels":{"a":"b"},"annotations":)",
            annotations, R"(},"spec":)", spec, "}}}"),
        &out);
    EXPECT_TRUE(read.ok()) << read;
    Object object = Object::Of(out);
    SetDefaults(&object);
    return object;
  };
  constexpr std::string_view kRefused = "Deployment.apps \"x\" is invalid: ";
  struct {
    const char *annotations, *spec, *said;
  } const cases[] = {
      {"{}", "{" PLAIN "}", nullptr},
      {"{}",
       "{" PLAIN R"(,"initContainers":[{"name":"r","image":"i","resizePolicy":[{"resourceName":"cpu",)"
       R"("restartPolicy":"RestartContainer"}]}]})",
       "spec.template.spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must "
       "not "
       "be set to 'RestartContainer' for non-sidecar initContainers"},
      {R"({"seccomp.security.alpha.kubernetes.io/pod":"x"})", "{" PLAIN "}",
       "spec.template.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": must be a valid "
       "seccomp profile"},
      {R"({"seccomp.security.alpha.kubernetes.io/pod":"unconfined"})",
       "{" PLAIN R"(,"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}})",
       "spec.template.spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must "
       "match"},
  };
  for (const auto& c : cases) {
    const Object object = deployment(c.annotations, c.spec);
    EXPECT_EQ(ValidateCreate(object).message(), c.said ? absl::StrCat(kRefused, c.said) : "")
        << c.annotations << c.spec;
    // What an earlier server took does not stand in the way of another change.
    Object scaled = object.Clone();
    scaled.As<apps::Deployment>()->mutable_spec()->set_replicas(3);
    EXPECT_EQ(ValidateUpdate(scaled, object).message(), "") << c.annotations << c.spec;
  }
}

}  // namespace
}  // namespace skiff::api
