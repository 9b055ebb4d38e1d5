// A volume manager on a directory of its own, with objects and mounts in memory and a clock that only the test moves.
#ifndef SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_TESTING_H_
#define SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_TESTING_H_

#include "kubelet/volume/volume_manager.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/codec.h"
#include "base/async_testing.h"
#include "kubelet/pod/admission.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {

// A container "c" with those mounts, and another that mounts all volumes: what nobody uses is not set up.
inline std::shared_ptr<const Pod> PodFrom(std::string_view volumes, std::string_view mounts = "[]",
                                          std::string_view extra = "") {
  auto pod = std::make_shared<Pod>();
  const std::string json = absl::StrCat(
      R"({"metadata":{"name":"p","namespace":"ns","uid":"uid-1","labels":{"a":"1"}},"spec":{"serviceAccountName":"sa",)",
      extra, R"("volumes":)", volumes, R"(,"containers":[{"name":"c","volumeMounts":)", mounts, "}]}}");
  const Status status = api::FromJson(json, pod.get());
  EXPECT_TRUE(status.ok()) << status << json;
  auto* all = pod->mutable_spec()->add_containers();
  all->set_name("all");
  for (const auto& volume : pod->spec().volumes()) {
    auto* mount = all->add_volumemounts();
    mount->set_name(volume.name());
    mount->set_mountpath("/all/" + volume.name());
  }
  return pod;
}

inline std::shared_ptr<Pod> WithUid(const std::shared_ptr<const Pod>& pod, std::string_view uid) {
  auto out = std::make_shared<Pod>(*pod);
  out->mutable_metadata()->set_uid(std::string(uid));
  return out;
}

// A claim bound to a volume of that source (JSON).
inline void Bind(FakeObjects& objects, const std::string& claim, const std::string& source) {
  ASSERT_TRUE(
      api::FromJson(absl::StrCat(R"({"metadata":{"name":")", claim, R"(","uid":"c1"},"spec":{"volumeName":"pv"},)",
                                 R"("status":{"phase":"Bound"}})"),
                    &objects.claims[claim])
          .ok());
  ASSERT_TRUE(api::FromJson(absl::StrCat(R"({"metadata":{"name":"pv"},"spec":{"claimRef":{"uid":"c1"},)", source, "}}"),
                            &objects.volumes["pv"])
                  .ok());
}

inline constexpr char kClaim[] = R"([{"name":"v","persistentVolumeClaim":{"claimName":"x"}}])";
inline constexpr char kClaimMount[] = R"([{"name":"v","mountPath":"/v"}])";

inline Task<void> Remember(VolumeManager& manager, std::shared_ptr<const Pod> pod, std::optional<Status>* out) {
  *out = co_await manager.WaitForMounts(pod);
}

inline Task<void> RunManager(VolumeManager& manager) { co_await manager.Run(); }

struct VolumeManagerTest : testing::Test {
  TempDir root;
  asio::io_context loop;
  FakeClock clock;
  FakeObjects objects;
  FakeMounter mounter;
  std::vector<std::string> events;
  std::unique_ptr<VolumeManager> manager;
  bool recursive_read_only = false;
  google::protobuf::Map<std::string, std::string> labels;  // the node's

  VolumeManagerTest() {
    VolumeOptions options;
    options.root_dir = root.path();
    options.allocatable_memory = [] { return int64_t{1} << 30; };
    options.recursive_read_only = [this](const Pod&) { return recursive_read_only; };
    options.matches_node = [this](const NodeSelector& nodes) { return MatchesTerms(nodes, labels, nullptr); };
    manager = std::make_unique<VolumeManager>(
        loop.get_executor(), options, objects, mounter, clock,
        [this](const Pod&, std::string_view type, std::string_view reason, std::string_view message) {
          events.push_back(absl::StrCat(type, " ", reason, ": ", message));
        });
  }
  std::string Volume(std::string_view rest) { return root / absl::StrCat("pods/uid-1/volumes/", rest); }
  Status Mount(const std::shared_ptr<const Pod>& pod) { return RunTask(loop, manager->WaitForMounts(pod)); }
  StatusOr<std::vector<ContainerMount>> Mounts(const std::shared_ptr<const Pod>& pod) {
    return RunTask(loop, manager->ContainerMounts(pod, "c", {{"SUB", "x"}}));
  }
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_VOLUME_MANAGER_TESTING_H_
