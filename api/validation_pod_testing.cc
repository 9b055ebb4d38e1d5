#include "api/validation_pod_testing.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/patch.h"
#include "api/validation.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {

namespace core = k8s::io::api::core::v1;

StatusOr<Object> PodOf(std::string_view text) {
  core::Pod pod;
  RETURN_IF_ERROR(FromJson(text, &pod));
  pod.mutable_metadata()->set_name("x");
  pod.mutable_metadata()->set_namespace_("n");
  pod.mutable_metadata()->set_resourceversion("1");
  Object out = Object::Of(pod);
  SetDefaults(&out);
  return out;
}

std::string Said(const Status& status) {
  constexpr std::string_view kPrefix = "Pod \"x\" is invalid: ";
  const std::string message(status.message());
  return message.starts_with(kPrefix) ? message.substr(kPrefix.size()) : message;
}

void ExpectCreates(std::initializer_list<CreateCase> cases) {
  for (const CreateCase& c : cases) {
    const StatusOr<Object> pod = PodOf(absl::StrCat(R"({"spec":)", c.spec, "}"));
    ASSERT_TRUE(pod.ok()) << c.spec << pod.status();
    EXPECT_EQ(Said(ValidateCreate(*pod)), c.said) << c.spec;
  }
}

void ExpectUpdates(std::string_view subresource, std::initializer_list<UpdateCase> cases) {
  for (const UpdateCase& c : cases) {
    const StatusOr<Object> before = PodOf(c.before);
    ASSERT_TRUE(before.ok()) << c.before << before.status();
    StatusOr<Object> updated = PatchObject(*before, kMergePatchType, c.patch);
    ASSERT_TRUE(updated.ok()) << c.patch << updated.status();
    SetDefaults(&*updated);
    EXPECT_EQ(Said(ValidateUpdate(*updated, *before, subresource)), c.said) << c.before << c.patch;
  }
}

}  // namespace skiff::api
