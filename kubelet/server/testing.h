// A ServerHost for tests: one pod golden/lg with containers a and b, and set answers.
#ifndef SKIFF_KUBELET_SERVER_TESTING_H_
#define SKIFF_KUBELET_SERVER_TESTING_H_

#include <memory>
#include <string>
#include <vector>

#include "api/codec.h"
#include "kubelet/server/host.h"

namespace skiff::kubelet {

struct FakeServerHost : ServerHost {
  FakeServerHost() {
    auto pod = std::make_shared<Pod>();
    api::FromJson(R"({"metadata":{"name":"lg","namespace":"golden","uid":"u1"},
                      "spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                  pod.get())
        .IgnoreError();
    pods.push_back(pod);
  }
  const std::string& NodeName() override { return node; }
  std::vector<std::shared_ptr<const Pod>> Pods() override { return pods; }
  std::shared_ptr<const Pod> PodByName(const std::string& ns, const std::string& name) override {
    for (const auto& pod : pods) {
      if (pod->metadata().name() == name && pod->metadata().namespace_() == ns) return pod;
    }
    return nullptr;
  }
  Task<StatusOr<std::vector<RunningPod>>> RunningPods() override {
    co_return std::vector<RunningPod>{{"golden", "lg", "u1", {{"a", "sha256:1"}}}, {"golden", "empty", "u2", {}}};
  }
  StatusOr<std::string> RunningContainerId(const Pod&, const std::string& container) override {
    return absl::StrCat("id-", container);
  }
  StatusOr<std::string> SandboxId(const Pod&) override { return std::string("sandbox"); }
  Task<StatusOr<ContainerLog>> LogOf(const Pod&, const std::string& container, bool previous) override {
    if (previous) {
      co_return InvalidArgument("previous terminated container \"", container, "\" in pod \"lg\" not found");
    }
    co_return ContainerLog{absl::StrCat("id-", container), absl::StrCat(logs, "/", container, ".log"), false};
  }
  Task<StatusOr<bool>> IsRunning(std::string) override { co_return false; }
  Task<StatusOr<std::string>> ExecUrl(std::string, StreamOptions options) override {
    last_options = options;
    co_return url;
  }
  Task<StatusOr<std::string>> AttachUrl(std::string, StreamOptions) override { co_return url; }
  Task<StatusOr<std::string>> PortForwardUrl(std::string, std::vector<int32_t>) override { co_return url; }
  Task<StatusOr<RunResult>> RunInContainer(std::string, std::vector<std::string> command,
                                           std::chrono::nanoseconds) override {
    if (command[0] == "false") co_return RunResult{1, ""};
    co_return RunResult{0, "uid=0(root) gid=0(root) groups=0(root)\n"};
  }
  Task<Status> Checkpoint(std::string, std::string location, int64_t) override {
    checkpoint_location = location;
    co_return checkpoint_status;
  }
  std::string ConfigJson() override { return "{\"kind\":\"KubeletConfiguration\"}"; }
  Task<StatusOr<std::string>> Metrics() override { co_return std::string("metrics\n"); }
  Task<StatusOr<std::string>> CadvisorMetrics() override { co_return std::string("cadvisor\n"); }
  Task<StatusOr<std::string>> ResourceMetrics() override { co_return std::string("resource\n"); }
  Task<StatusOr<std::string>> ProbeMetrics() override { co_return std::string("probes\n"); }
  Task<StatusOr<std::string>> StatsSummary(bool only) override { co_return std::string(only ? "{\"cpu\":1}" : "{}"); }
  std::chrono::steady_clock::time_point LastSync() override { return last_sync; }

  std::string node = "n1", url = "http://127.0.0.1:1/x", logs;
  std::vector<std::shared_ptr<const Pod>> pods;
  std::chrono::steady_clock::time_point last_sync;
  StreamOptions last_options;
  std::string checkpoint_location;
  Status checkpoint_status;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_TESTING_H_
