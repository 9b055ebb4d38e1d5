// Reliability row soak: pods come, run, crash and go, and nothing of them stays in memory, among the open files or on
// disk. SKIFF_SOAK_CYCLES says how many (500).
#include <malloc.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"
#include "base/files.h"
#include "gtest/gtest.h"
#include "kubelet/pod/node_testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing_node::Advance;
using testing_node::Life;
using testing_node::World;

size_t OpenFiles() { return ListDir("/proc/self/fd")->size(); }
int64_t HeapInUse() {
  const auto info = ::mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

Pod ShapeOf(int i) {
  Pod pod = testing_pods::MakePod({"a", "b"}, i % 2 == 0 ? std::vector<std::string>{"i"} : std::vector<std::string>{});
  pod.mutable_metadata()->set_name(absl::StrCat("p", i));
  pod.mutable_metadata()->set_uid(absl::StrCat("uid-", i));
  auto* spec = pod.mutable_spec();
  for (auto& c : *spec->mutable_initcontainers()) c.set_restartpolicy("Always");
  auto* volume = spec->add_volumes();
  volume->set_name("v");
  if (i % 3 == 0) {
    volume->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("map");
  } else {
    volume->mutable_volumesource()->mutable_emptydir();
  }
  auto* mount = spec->mutable_containers(0)->add_volumemounts();
  mount->set_name("v");
  mount->set_mountpath("/v");
  return pod;
}

TEST(Soak, soak) {
  int64_t cycles = 500;
  if (const char* text = std::getenv("SKIFF_SOAK_CYCLES")) ASSERT_TRUE(absl::SimpleAtoi(text, &cycles));
  asio::io_context loop;
  World world(loop);
  cri::FaultRates none;
  Life life(world, std::make_shared<cri::FaultPlan>(1, none));
  constexpr int kAtOnce = 4;
  struct Figures {
    int64_t heap = 0;
    size_t files = 0;
  } early, late;
  auto until = [&](const std::function<bool()>& met) {
    for (int i = 0; i < 600 && !met(); ++i) Advance(world, milliseconds(100));
    return met();
  };
  for (int64_t i = 0; i < cycles; i += kAtOnce) {
    for (int64_t j = i; j < i + kAtOnce; ++j) world.api.Create(ShapeOf(static_cast<int>(j)));
    ASSERT_TRUE(until([&] {
      for (const auto& [name, pod] : world.api.pods) {
        if (pod.status().phase() != "Running") return false;
      }
      return true;
    })) << i;
    // One crashes, so that back-offs and earlier states are kept of it.
    world.runtime.Exit(world.runtime.ContainerNamed("b"), 1);
    Advance(world, seconds(2));
    for (const auto& [name, pod] : std::map(world.api.pods)) world.api.Delete(name, 1);
    ASSERT_TRUE(until([&] { return world.api.pods.empty() && life.workers->size() == 0; })) << i;
    world.runtime.calls.clear();
    if (i == cycles / 5 / kAtOnce * kAtOnce) early = {HeapInUse(), OpenFiles()};
  }
  late = {HeapInUse(), OpenFiles()};
  std::cout << "heap in use after " << cycles / 5 << " cycles " << early.heap << " bytes, after " << cycles << " "
            << late.heap << "; open files " << early.files << ", " << late.files << "\n";
  EXPECT_LE(late.files, early.files);
  EXPECT_LE(late.heap, early.heap + 16 * (cycles - cycles / 5)) << "bytes stay of each pod";
  EXPECT_TRUE(world.runtime.sandboxes.empty());
  EXPECT_TRUE(life.objects.registered.empty());
  EXPECT_TRUE(world.mounter.mounts().empty());
  for (const char* directory : {"/pods", "/logs", "/cgroup/kubepods/besteffort"}) {
    for (const auto& entry : std::filesystem::directory_iterator(world.root + directory)) ADD_FAILURE() << entry.path();
  }
  life.Kill();
  testing_node::Settle(loop);
}

}  // namespace
}  // namespace skiff::kubelet
