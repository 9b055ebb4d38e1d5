#include "kubelet/state/layout.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "api/codec.h"
#include "base/async_testing.h"
#include "kubelet/runtime/pull_records.h"
#include "kubelet/server/server.h"
#include "kubelet/server/testing.h"
#include "kubelet/volume/testing.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {
namespace {

TEST(LayoutTest, PathsAreUpstreams) {
  const std::string pod = layout::Pod("/var/lib/kubelet", "uid");
  EXPECT_EQ(pod, "/var/lib/kubelet/pods/uid");
  EXPECT_EQ(layout::Volume(pod, "kubernetes.io/configmap", "cm"), pod + "/volumes/kubernetes.io~configmap/cm");
  EXPECT_EQ(layout::Subpath(pod, "v", "c", 2), pod + "/volume-subpaths/v/c/2");
  EXPECT_EQ(layout::Container(pod, "c"), pod + "/containers/c");
  EXPECT_EQ(layout::ImagesPulled("/r"), "/r/image_manager/pulled");
}

// Everything that a file is, but for when it was read.
std::map<std::string, std::string> Snapshot(const std::string& root) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat st {};
    const std::string path = entry.path();
    EXPECT_EQ(lstat(path.c_str(), &st), 0);
    std::string content;
    if (S_ISREG(st.st_mode)) content = *ReadFile(path);
    if (S_ISLNK(st.st_mode)) content = std::filesystem::read_symlink(path);
    // A directory's time changes with what is added beside.
    const int64_t changed = S_ISDIR(st.st_mode) ? 0 : st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    out[path] = absl::StrCat(st.st_ino, " ", absl::Hex(st.st_mode), " ", changed, " ", content);
  }
  return out;
}

// What upstream's kubelet leaves is used as it is, and nothing else is touched.
TEST(LayoutTest, NothingThatUpstreamLeftIsDisturbed) {
  TempDir root;
  const auto put = [&](const std::string& path, const std::string& text, mode_t mode = 0644) {
    const std::string whole = root / path;
    ASSERT_TRUE(MakeDirs(std::string(std::filesystem::path(whole).parent_path())).ok());
    ASSERT_TRUE(WriteFileAtomic(whole, text, mode).ok());
  };
  const std::string cm = "pods/uid-1/volumes/kubernetes.io~configmap/cm/";
  put(cm + "..2026_11_21_05_04_30.1106148120/a.conf", "a = 1\n");
  ASSERT_EQ(symlink("..2026_11_21_05_04_30.1106148120", (root / (cm + "..data")).c_str()), 0);
  ASSERT_EQ(symlink("..data/a.conf", (root / (cm + "a.conf")).c_str()), 0);
  ASSERT_EQ(chmod((root / cm).c_str(), 0777), 0);
  put("pods/uid-1/volumes/kubernetes.io~empty-dir/ed/made/file", "the pod's\n", 0600);
  ASSERT_EQ(chmod((root / "pods/uid-1/volumes/kubernetes.io~empty-dir/ed").c_str(), 0777), 0);
  put("pods/uid-1/plugins/kubernetes.io~empty-dir/ed/ready", "", 0750);
  put("pods/uid-1/plugins/kubernetes.io~empty-dir/wrapped_cm/ready", "", 0750);
  put("pods/uid-1/etc-hosts", "# Kubernetes-managed hosts file.\n");
  put("pods/uid-1/containers/c/1a2b3c4d", "last words", 0666);
  put("pods/uid-2/volumes/kubernetes.io~csi/pvc/vol_data.json", "{}");
  put("plugins/csi.example/globalmount/data", "theirs");
  put("plugins_registry/csi.example-reg.sock", "");
  put("device-plugins/kubelet_internal_checkpoint", "{\"Data\":{}}", 0600);
  for (const char* name : {"cpu_manager_state", "memory_manager_state", "dra_manager_state", "allocated_pods_state",
                           "actuated_pods_state", "graceful_node_shutdown_state"}) {
    put(name, "{}", 0600);
  }
  put("image_manager/pulled/sha256-00", "{}", 0600);
  put("seccomp/p.json", "{}");
  put("config.yaml", "kind: KubeletConfiguration\n");
  CertificateRequest request;
  request.common_name = "n1";
  request.server_auth = true;
  const KeyPair pair = *SelfSigned(request);
  put("pki/kubelet.crt", pair.cert_pem);
  put("pki/kubelet.key", pair.key_pem, 0600);
  const auto before = Snapshot(root.path());

  asio::io_context loop;
  FakeClock clock;
  FakeObjects objects;
  FakeMounter mounter;
  (*objects.config_maps["cm"].mutable_data())["a.conf"] = "a = 1\n";
  VolumeOptions options;
  options.root_dir = root.path();
  VolumeManager volumes(loop.get_executor(), options, objects, mounter, clock,
                        [](const Pod&, std::string_view, std::string_view, std::string_view) {});
  auto pod = std::make_shared<Pod>();
  ASSERT_TRUE(api::FromJson(R"({"metadata":{"name":"p","namespace":"ns","uid":"uid-1"},"spec":{
      "volumes":[{"name":"cm","configMap":{"name":"cm"}},{"name":"ed","emptyDir":{}}],"containers":[{"name":"c",
      "volumeMounts":[{"name":"cm","mountPath":"/cm"},{"name":"ed","mountPath":"/ed"}]}]}})",
                            pod.get())
                  .ok());
  ASSERT_TRUE(RunTask(loop, volumes.WaitForMounts(pod)).ok());
  ASSERT_TRUE(RunTask(loop, volumes.ContainerMounts(pod, "c", {})).ok());
  PullRecords records(root.path(), PullVerification::kNeverVerifyPreloadedImages, {}, clock);
  EXPECT_EQ(records.CountPulled(), 1u);
  FakeServerHost host;
  KubeletServerOptions server_options;
  server_options.root_dir = root.path();
  server_options.address = "127.0.0.1";
  server_options.port = 0;
  server_options.healthz_port = 0;
  KubeletServer server(loop.get_executor(), server_options, host, nullptr, clock);
  ASSERT_TRUE(server.Start().ok());

  const auto after = Snapshot(root.path());
  for (const auto& [path, what] : before) {
    ASSERT_TRUE(after.contains(path)) << path << " is gone";
    EXPECT_EQ(after.at(path), what) << path;
  }
}

}  // namespace
}  // namespace skiff::kubelet
