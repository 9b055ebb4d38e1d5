// The recorded 422 answers that come from validation alone, and that no recorded object is refused.
#include "api/validation.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "api/codec.h"
#include "api/defaults.h"
#include "api/patch.h"
#include "api/scheme.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api {
namespace {

namespace fs = std::filesystem;

json Read(const fs::path& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return ParseJson(text).value_or(json());
}

StatusOr<Object> Decode(json value, const std::string& api_version, const std::string& kind, const std::string& ns) {
  ASSIGN_OR_RETURN(const GroupVersion gv, GroupVersion::Parse(api_version));
  const TypeOps* type = TypeOf({gv.group, gv.version, kind});
  if (type == nullptr) return NotFound(kind);
  Object out = Object::New(*type);
  RETURN_IF_ERROR(out.AssignJson(value));
  if (!ns.empty()) out.mutable_meta()->set_namespace_(ns);
  SetDefaults(&out);
  return out;
}

TEST(Validation, CreatesAreRefusedInUpstreamsWords) {
  const fs::path folder = "../shared/goldens/apiserver/05-errors";
  if (!fs::exists(folder)) GTEST_SKIP() << "no recordings at " << folder;
  int checked = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem();
    if (!name.starts_with("422-")) continue;
    // Allocation, custom resources and request options are the server's.
    bool ours = true;
    for (const char* other : {"taken", "nodeport-outside", "422-cr-", "fieldvalidation", "scale"})
      ours = ours && !absl::StrContains(name, other);
    const json recording = Read(entry.path());
    if (!ours || recording["request"]["method"] != "POST" || !recording["request"].contains("body") ||
        !recording["request"]["body"].is_object())
      continue;
    const json& details = recording["response"]["body"]["details"];
    const std::string group = details.value("group", ""), kind = details["kind"];
    const std::string path = recording["request"]["path"];
    const StatusOr<Object> object = Decode(recording["request"]["body"], group.empty() ? "v1" : group + "/v1", kind,
                                           absl::StrContains(path, "/namespaces/") ? "golden-api" : "");
    ASSERT_TRUE(object.ok()) << name << object.status();
    const Status status = ValidateCreate(*object);
    const GroupVersionKind gvk{"", "v1", "Status"};
    EXPECT_EQ(ToJsonValue(ToStatusMessage(status), &gvk), recording["response"]["body"]) << name;
    ++checked;
  }
  EXPECT_GE(checked, 9);
}

TEST(Validation, RecordedObjectsPass) {
  int checked = 0;
  for (const char* folder : {"02-defaulting", "02-protobuf", "10-bootstrap"}) {
    const fs::path root = fs::path("../shared/goldens/apiserver") / folder;
    if (!fs::exists(root)) GTEST_SKIP() << "no recordings at " << root;
    for (const auto& entry : fs::directory_iterator(root)) {
      const json recording = Read(entry.path());
      if (!recording.is_object()) continue;
      std::vector<json> objects;
      const json body = recording.value("/response/body"_json_pointer, json());
      if (body.is_object() && body.contains("items"))
        for (json item : body["items"]) {
          item["apiVersion"] = body["apiVersion"];
          const std::string list = body["kind"];
          item["kind"] = list.substr(0, list.size() - 4);
          objects.push_back(item);
        }
      else
        objects.push_back(body);
      for (const json& object : objects) {
        if (!object.is_object() || !object.contains("apiVersion") || object["kind"] == "Status") continue;
        std::string text;
        AppendJson(object, &text);
        if (absl::StrContains(text, "scrubbed")) continue;
        const StatusOr<Object> decoded = Decode(object, object["apiVersion"], object["kind"], "");
        if (!decoded.ok()) continue;
        EXPECT_EQ(ValidateCreate(*decoded), absl::OkStatus()) << entry.path();
        Object old = decoded->Clone(), updated = decoded->Clone();
        updated.mutable_meta()->set_resourceversion("1");
        EXPECT_EQ(ValidateUpdate(updated, old), absl::OkStatus()) << entry.path();
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 150);
}

TEST(Validation, UpdatesOfWhatMayNotChange) {
  static constexpr struct {
    const char *api_version, *kind, *before, *patch, *message;
  } kCases[] = {
      {"v1", "ConfigMap", R"({"immutable":true,"data":{"a":"b"}})", R"({"data":{"a":"c"}})",
       "ConfigMap \"x\" is invalid: data: Forbidden: field is immutable when `immutable` is set"},
      {"v1", "Secret", "{}", R"({"type":"other"})",
       "Secret \"x\" is invalid: type: Invalid value: \"other\": field is immutable"},
      {"scheduling.k8s.io/v1", "PriorityClass", R"({"value":1})", R"({"value":9})",
       "PriorityClass.scheduling.k8s.io \"x\" is invalid: value: Forbidden: may not be changed in an update."},
      {"storage.k8s.io/v1", "StorageClass", R"({"provisioner":"p"})", R"({"provisioner":"x"})",
       "StorageClass.storage.k8s.io \"x\" is invalid: provisioner: Invalid value: \"x\": field is immutable"},
      {"v1", "Service", R"({"spec":{"ports":[{"port":80}],"clusterIP":"10.96.1.1","clusterIPs":["10.96.1.1"]}})",
       R"({"spec":{"clusterIP":"10.96.9.9"}})",
       "Service \"x\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.9.9\"]: may not change once set"},
      {"rbac.authorization.k8s.io/v1", "RoleBinding", R"({"roleRef":{"kind":"Role","name":"r"}})",
       R"({"roleRef":{"name":"zz"}})",
       "RoleBinding.rbac.authorization.k8s.io \"x\" is invalid: roleRef: Invalid value: "
       "{\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"zz\"}: cannot change roleRef"},
      {"v1", "Pod", R"({"spec":{"containers":[{"name":"c","image":"i"}]}})",
       R"({"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]}})",
       "Pod \"x\" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers"},
      {"v1", "Pod", R"({"spec":{"containers":[{"name":"c","image":"i"}]}})",
       R"({"spec":{"containers":[{"name":"c","image":"j"}],"tolerations":[{"operator":"Exists"}]}})", ""},
  };
  for (const auto& c : kCases) {
    const StatusOr<Object> before = Decode(*ParseJson(c.before), c.api_version, c.kind, "");
    ASSERT_TRUE(before.ok()) << c.kind << before.status();
    Object old = before->Clone();
    old.mutable_meta()->set_name("x");
    old.mutable_meta()->set_resourceversion("1");
    StatusOr<Object> updated = PatchObject(old, kMergePatchType, c.patch);
    ASSERT_TRUE(updated.ok()) << updated.status();
    SetDefaults(&*updated);
    EXPECT_EQ(ValidateUpdate(*updated, old).message(), c.message);
  }
}

TEST(Validation, MetadataUpdates) {
  k8s::io::api::core::v1::Pod pod;
  pod.mutable_spec()->add_containers()->set_name("c");
  pod.mutable_spec()->mutable_containers(0)->set_image("i");
  pod.mutable_metadata()->set_name("p");
  pod.mutable_metadata()->set_namespace_("n");
  pod.mutable_metadata()->set_uid("1");
  pod.mutable_metadata()->set_resourceversion("1");
  SetDefaults(&pod);
  const Object old = Object::Of(pod);
  pod.mutable_metadata()->set_uid("2");
  const Status status = ValidateUpdate(Object::Of(pod), old);
  EXPECT_EQ(status.message(), "Pod \"p\" is invalid: metadata.uid: Invalid value: \"2\": field is immutable");
  EXPECT_EQ(ToStatusMessage(status).details().causes_size(), 2);  // reported twice, as upstream does
}

TEST(Validation, NamesOfSysctls) {
  k8s::io::api::core::v1::Pod pod;
  pod.mutable_spec()->add_containers()->set_name("c");
  pod.mutable_spec()->mutable_containers(0)->set_image("i");
  pod.mutable_metadata()->set_name("p");
  pod.mutable_metadata()->set_namespace_("n");
  SetDefaults(&pod);
  auto* sysctl = pod.mutable_spec()->mutable_securitycontext()->add_sysctls();
  for (const char* good : {"kernel.shm_rmid_forced", "net/ipv4/ip_unprivileged_port_start", "a-b.c_d"}) {
    sysctl->set_name(good);
    EXPECT_TRUE(ValidateCreate(Object::Of(pod)).ok()) << good;
  }
  for (const char* bad : {"foo-", "bar..", "_a", ".a", "A.b", ""}) {
    sysctl->set_name(bad);
    EXPECT_FALSE(ValidateCreate(Object::Of(pod)).ok()) << bad;
  }
}

}  // namespace
}  // namespace skiff::api
