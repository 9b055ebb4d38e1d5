// What was posted, with our defaults, is what upstream answered, but for what its strategies and admission add.
#include "api/defaults.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "api/codec.h"
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

// Not defaulting: what the server's strategies fill in and admission adds.
bool ByOthers(const std::string& kind, const std::string& path) {
  for (const char* field : {"managedFields", "uid", "creationTimestamp", "generation", "resourceVersion", "namespace",
                            "selfLink", "generateName", "name"})
    if (path == std::string("/metadata/") + field) return true;
  if (path.starts_with("/status"))
    return kind != "PersistentVolumeClaim" && (kind != "PersistentVolume" || path == "/status/lastPhaseTransitionTime");
  if (kind == "VolumeAttributesClass") return path == "/metadata/finalizers";
  const auto any = [&](std::initializer_list<const char*> prefixes) {
    for (const char* prefix : prefixes)
      if (path.starts_with(prefix)) return true;
    return false;
  };
  if (kind == "Pod")
    return any({"/spec/volumes", "/spec/serviceAccount", "/spec/priority", "/spec/preemptionPolicy",
                "/spec/tolerations"}) ||
           absl::StrContains(path, "/volumeMounts");
  if (kind == "Service")
    return any({"/spec/clusterIP", "/spec/ipFamil", "/spec/healthCheckNodePort"}) || path.ends_with("/nodePort");
  if (kind == "Job") return any({"/spec/selector", "/metadata/labels", "/spec/template/metadata/labels"});
  if (kind == "PersistentVolume" || kind == "PersistentVolumeClaim")
    return any({"/metadata/finalizers", "/spec/dataSourceRef"});
  if (kind == "Namespace") return any({"/spec"});
  if (kind == "CertificateSigningRequest") return any({"/spec/username", "/spec/groups", "/spec/uid", "/spec/extra"});
  if (kind == "PriorityLevelConfiguration" || kind == "IPAddress") return false;
  if (kind == "APIService") return false;
  if (kind == "DaemonSet") return any({"/metadata/annotations"});
  if (kind == "Node") return any({"/spec/taints"});
  if (kind == "EndpointSlice" || kind == "Endpoints") return any({"/metadata/labels", "/metadata/annotations"});
  return false;
}

TEST(Defaults, EqualTheRecordings) {
  const fs::path folder = "../shared/goldens/apiserver/02-defaulting";
  if (!fs::exists(folder)) GTEST_SKIP() << "no recordings at " << folder;
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const json recording = Read(entry.path());
    const json& answer = recording["response"]["body"];
    const json& body = recording["request"]["body"];
    if (!body.is_object() || !answer.contains("apiVersion") || recording["response"]["status"] != 201) continue;
    const auto gv = *GroupVersion::Parse(answer["apiVersion"].get<std::string>());
    const std::string kind = answer["kind"];
    const GroupVersionKind gvk{gv.group, gv.version, kind};
    const TypeOps* type = TypeOf(gvk);
    if (type == nullptr) continue;
    auto message = type->New();
    std::string text;
    AppendJson(body, &text);
    if (absl::StrContains(text, "scrubbed")) continue;
    ASSERT_TRUE(FromJson(text, message.get()).ok()) << entry.path();
    SetDefaults(message.get());
    auto again = type->New();
    again->CopyFrom(*message);
    SetDefaults(again.get());
    EXPECT_TRUE(Equal(*again, *message)) << entry.path() << " is not idempotent";
    const json got = ToJsonValue(*message, &gvk);
    std::string left;
    for (const json& step : json::diff(got, answer))
      if (!ByOthers(kind, step["path"].get<std::string>())) left += step.dump() + "\n";
    EXPECT_EQ(left, "") << entry.path();
    ++compared;
  }
  EXPECT_GT(compared, 70);
}

TEST(Defaults, PodsAlone) {
  k8s::io::api::core::v1::Pod pod, same;
  pod.mutable_spec()->add_containers()->set_image("host:5000/x");
  same = pod;
  SetPodDefaults(&pod);
  SetDefaults(&same);
  EXPECT_TRUE(Equal(pod, same));
  EXPECT_EQ(pod.spec().containers(0).imagepullpolicy(), "Always");
  EXPECT_EQ(pod.spec().terminationgraceperiodseconds(), 30);
}

}  // namespace
}  // namespace skiff::api
