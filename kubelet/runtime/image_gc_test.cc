#include "kubelet/runtime/image_gc.h"

#include "absl/strings/str_cat.h"
#include "cri/fake_runtime.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ImageGcTest : public ::testing::Test {
 protected:
  ImageGcTest() : runtime(clock) { options.period = minutes(5); }

  void Make() {
    ImageGcHooks hooks;
    hooks.image_fs = [this]() -> Task<StatusOr<ImageGcHooks::Disk>> { return Disk(); };
    hooks.node_event = [this](std::string_view type, std::string_view reason, std::string message) {
      events.push_back(absl::StrCat(type, " ", reason, ": ", message));
    };
    hooks.count = [this](std::string_view reason) { counted.emplace_back(reason); };
    hooks.freed = [this](const std::set<std::string>& names, WallTime) { left.push_back(names); };
    gc = std::make_unique<ImageGc>(runtime, clock, options, std::move(hooks));
  }
  Task<StatusOr<ImageGcHooks::Disk>> Disk() {
    if (!disk_error.ok()) co_return disk_error;
    co_return disk;
  }
  void Add(const std::string& id, int64_t size) {
    auto& image = runtime.images[id];
    image.set_id(id);
    image.add_repo_tags(id + ":latest");
    image.set_size(static_cast<uint64_t>(size));
  }
  void Use(const std::string& id) {
    auto& c = runtime.containers["of " + id];
    c.status.set_id("of " + id);
    c.status.set_image_ref(id);
  }
  Status Run(Task<Status> task) {
    Status result = absl::UnknownError("not run");
    Spawn(loop.get_executor(), "run", Keep(std::move(task), &result));
    loop.restart();
    loop.run();
    return result;
  }
  static Task<void> Keep(Task<Status> task, Status* result) { *result = co_await std::move(task); }
  std::vector<std::string> Left() {
    std::vector<std::string> out;
    for (const auto& [id, image] : runtime.images) out.push_back(id);
    return out;
  }

  asio::io_context loop;
  FakeClock clock;
  cri::FakeRuntime runtime;
  ImageGcOptions options;
  ImageGcHooks::Disk disk{1000, 500};
  Status disk_error;
  std::vector<std::set<std::string>> left;  // as told after a pass that freed space
  std::vector<std::string> events, counted;
  std::unique_ptr<ImageGc> gc;
};

TEST_F(ImageGcTest, BelowTheHighThresholdNothingGoes) {
  Add("a", 100);
  Make();
  ASSERT_TRUE(Run(gc->Collect()).ok());
  clock.Advance(minutes(10), loop);
  disk.available = 160;  // 84 % used, 85 is the threshold
  ASSERT_TRUE(Run(gc->Collect()).ok());
  EXPECT_THAT(Left(), ElementsAre("a"));
}

TEST_F(ImageGcTest, LongestUnusedGoFirstDownToTheLowThreshold) {
  for (const char* id : {"never-used", "used-long-ago", "used-lately", "in-use", "pinned"}) Add(id, 40);
  runtime.images["pinned"].set_pinned(true);
  for (const char* id : {"used-long-ago", "used-lately", "in-use"}) Use(id);
  Make();
  ASSERT_TRUE(Run(gc->Collect()).ok());
  runtime.containers.erase("of used-long-ago");
  clock.Advance(minutes(10), loop);
  ASSERT_TRUE(Run(gc->Collect()).ok());
  runtime.containers.erase("of used-lately");
  clock.Advance(minutes(10), loop);
  disk.available = 125;  // 88 % used; 80 % is 75 bytes away
  ASSERT_TRUE(Run(gc->Collect()).ok());
  EXPECT_THAT(Left(), UnorderedElementsAre("used-lately", "in-use", "pinned"));
  EXPECT_THAT(counted, ElementsAre("space", "space"));
  EXPECT_THAT(events, IsEmpty());
}

// Records of images that somebody else removed go by this.
TEST_F(ImageGcTest, APassThatFreesSpaceNamesTheImagesThatItKnows) {
  Add("a", 100);
  Add("in-use", 100);
  Use("in-use");
  Make();
  ASSERT_TRUE(Run(gc->Collect()).ok());
  EXPECT_THAT(left, IsEmpty()) << "nothing was to be freed";
  clock.Advance(minutes(10), loop);
  ASSERT_TRUE(Run(gc->RemoveUnused()).ok());
  EXPECT_THAT(left, ElementsAre(ElementsAre("a", "a:latest", "in-use", "in-use:latest")));
  runtime.images.clear();
  ASSERT_TRUE(Run(gc->RemoveUnused()).ok());
  EXPECT_EQ(left.size(), 1u) << "a runtime that names none is not believed";
}

TEST_F(ImageGcTest, MountedImagesAreInUse) {
  for (const char* id : {"files", "program", "unused"}) Add(id, 40);
  Use("program");
  runtime.containers["of program"].status.add_mounts()->mutable_image()->set_image("files");
  Make();
  ASSERT_TRUE(Run(gc->Collect()).ok());
  clock.Advance(minutes(10), loop);
  disk.available = 0;
  (void)Run(gc->Collect());
  EXPECT_THAT(Left(), UnorderedElementsAre("files", "program"));
}

TEST_F(ImageGcTest, FreshImagesStayAndThatIsSaid) {
  Add("fresh", 40);
  Make();
  disk.available = 0;
  disk.capacity = int64_t{3} << 30;
  Status s = Run(gc->Collect());
  const std::string message =
      "Insufficient free disk space on the node's image filesystem (100% of 3.0 GiB used). Failed to free sufficient "
      "space by deleting unused images (freed 0 bytes). Investigate disk usage, as it could be used by active images, "
      "logs, volumes, or other data.";
  EXPECT_EQ(s.message(), message);
  EXPECT_THAT(events, ElementsAre("Warning FreeDiskSpaceFailed: " + message));
  EXPECT_THAT(Left(), ElementsAre("fresh"));
}

TEST_F(ImageGcTest, NoCapacityIsAnEvent) {
  Make();
  disk = {};
  EXPECT_EQ(Run(gc->Collect()).message(), "invalid capacity 0 on image filesystem");
  EXPECT_THAT(events, ElementsAre("Warning InvalidDiskCapacity: invalid capacity 0 on image filesystem"));
}

TEST_F(ImageGcTest, FailuresAreNamedAndTheRestGoesOn) {
  Add("a", 10);
  Add("b", 10);
  Make();
  ASSERT_TRUE(Run(gc->Collect()).ok());
  clock.Advance(minutes(10), loop);
  runtime.failures["RemoveImage"].push_back(absl::InternalError("read-only file system"));
  EXPECT_EQ(Run(gc->RemoveUnused()).message(),
            "wanted to free 9223372036854775807 bytes, but freed 10 bytes space with errors in image deletion: "
            "read-only file system");
  EXPECT_EQ(Left().size(), 1u);
  ASSERT_TRUE(Run(gc->RemoveUnused()).ok());
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(ImageGcTest, MaximumAge) {
  options.max_age = minutes(60);
  Add("old", 10);
  Add("in-use", 10);
  Use("old");
  Use("in-use");
  Make();
  TaskGroup group(loop.get_executor());
  group.Spawn("run", gc->Run());
  loop.poll();
  runtime.containers.erase("of old");
  for (int i = 0; i < 12; ++i) clock.Advance(minutes(5), loop);
  EXPECT_EQ(Left().size(), 2u);
  for (int i = 0; i < 2; ++i) clock.Advance(minutes(5), loop);
  EXPECT_THAT(Left(), ElementsAre("in-use"));
  EXPECT_THAT(counted, ElementsAre("age"));
  group.Cancel();
  loop.restart();
  loop.poll();
}

// Reliability row clock-jump: neither the maximum age nor that of a fresh image follows the wall clock.
TEST_F(ImageGcTest, clock_jump) {
  for (auto jump : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    options.max_age = minutes(60);
    Add("old", 10);
    Use("old");
    Make();
    TaskGroup group(loop.get_executor());
    group.Spawn("run", gc->Run());
    loop.restart();
    loop.poll();
    runtime.containers.erase("of old");
    clock.JumpWall(jump);
    for (int i = 0; i < 12; ++i) clock.Advance(minutes(5), loop);
    EXPECT_THAT(Left(), ElementsAre("old"));
    clock.JumpWall(jump);
    for (int i = 0; i < 2; ++i) clock.Advance(minutes(5), loop);
    EXPECT_THAT(Left(), IsEmpty());
    group.Cancel();
    loop.restart();
    loop.poll();

    options.max_age = minutes(0);
    Add("fresh", 100);
    Make();
    ASSERT_TRUE(Run(gc->Collect()).ok());
    clock.Advance(minutes(1), loop);
    clock.JumpWall(jump);
    ASSERT_TRUE(Run(gc->RemoveUnused()).ok());
    EXPECT_THAT(Left(), ElementsAre("fresh"));
    clock.Advance(minutes(2), loop);
    ASSERT_TRUE(Run(gc->RemoveUnused()).ok());
    EXPECT_THAT(Left(), IsEmpty());
  }
}

TEST_F(ImageGcTest, RepeatedFailureIsReportedOnTheNode) {
  Make();
  disk_error = absl::UnavailableError("failed to get image stats");
  TaskGroup group(loop.get_executor());
  group.Spawn("run", gc->Run());
  loop.poll();
  EXPECT_THAT(events, IsEmpty());
  clock.Advance(minutes(5), loop);
  EXPECT_THAT(events, ElementsAre("Warning ImageGCFailed: failed to get image stats"));
  group.Cancel();
  loop.restart();
  loop.poll();
}

}  // namespace
}  // namespace skiff::kubelet
