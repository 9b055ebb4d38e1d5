#include "kubelet/volume/atomic_writer.h"

#include <sys/stat.h>

#include "kubelet/volume/ownership.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using std::chrono::system_clock;

const system_clock::time_point kNow = system_clock::from_time_t(1795235070);  // 2026-11-21T04:24:30Z

std::string LinkOf(const std::string& path) {
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof(target));
  return n < 0 ? "" : std::string(target, n);
}

mode_t ModeOf(const std::string& path) {
  struct stat st {};
  return stat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
}

TEST(AtomicWriterTest, WritesUpstreamsLayout) {
  TempDir dir;
  Payload payload{{"a.conf", {"alpha\n", 0644, {}}}, {"dir/sub/a", {"x", 0755, {}}}, {"dir/b", {"y", 0400, {}}}};
  auto wrote = WriteAtomically(dir.path(), payload, nullptr, kNow);
  ASSERT_TRUE(wrote.ok()) << wrote.status();
  EXPECT_TRUE(*wrote);

  const std::string data = LinkOf(dir / "..data");
  EXPECT_EQ(data.substr(0, 22), "..2026_11_21_04_24_30.");
  EXPECT_EQ(ModeOf(dir / data), 0755u);
  EXPECT_EQ(LinkOf(dir / "a.conf"), "..data/a.conf");
  EXPECT_EQ(LinkOf(dir / "dir"), "..data/dir");
  EXPECT_EQ(*ReadFile(dir / "a.conf"), "alpha\n");
  EXPECT_EQ(*ReadFile(dir / "dir/sub/a"), "x");
  EXPECT_EQ(ModeOf(dir / "dir/sub/a"), 0755u);
  EXPECT_EQ(ModeOf(dir / "dir/b"), 0400u);
  EXPECT_EQ(ListDir(dir.path())->size(), 4u);
}

TEST(AtomicWriterTest, SameContentIsNotWrittenAgain) {
  TempDir dir;
  Payload payload{{"a", {"1", 0644, {}}}};
  ASSERT_TRUE(*WriteAtomically(dir.path(), payload, nullptr, kNow));
  const std::string before = LinkOf(dir / "..data");
  EXPECT_FALSE(*WriteAtomically(dir.path(), payload, nullptr, kNow));
  EXPECT_EQ(LinkOf(dir / "..data"), before);
}

TEST(AtomicWriterTest, ChangesReplaceTheSetAndRemoveWhatWent) {
  TempDir dir;
  ASSERT_TRUE(*WriteAtomically(dir.path(), {{"a", {"1", 0644, {}}}, {"gone/x", {"2", 0644, {}}}}, nullptr, kNow));
  const std::string before = LinkOf(dir / "..data");
  ASSERT_TRUE(*WriteAtomically(dir.path(), {{"a", {"1b", 0644, {}}}, {"new", {"3", 0644, {}}}}, nullptr, kNow));
  EXPECT_NE(LinkOf(dir / "..data"), before);
  EXPECT_EQ(*ReadFile(dir / "a"), "1b");
  EXPECT_EQ(*ReadFile(dir / "new"), "3");
  EXPECT_EQ(LinkOf(dir / "gone"), "");
  EXPECT_FALSE(Exists(dir / before));
  EXPECT_EQ(ListDir(dir.path())->size(), 4u);  // ..TIME, ..data, a, new
}

TEST(AtomicWriterTest, AFileThatGoesFromADirectoryIsNoticed) {
  TempDir dir;
  ASSERT_TRUE(*WriteAtomically(dir.path(), {{"d/a", {"1", 0644, {}}}, {"d/b", {"2", 0644, {}}}}, nullptr, kNow));
  ASSERT_TRUE(*WriteAtomically(dir.path(), {{"d/a", {"1", 0644, {}}}}, nullptr, kNow));
  EXPECT_FALSE(Exists(dir / "d/b"));
}

TEST(AtomicWriterTest, AFailureBeforeTheSwitchLeavesTheOldSet) {
  TempDir dir;
  ASSERT_TRUE(*WriteAtomically(dir.path(), {{"a", {"1", 0644, {}}}}, nullptr, kNow));
  auto fail = [] { return Internal("no"); };
  EXPECT_FALSE(WriteAtomically(dir.path(), {{"a", {"2", 0644, {}}}}, fail, kNow).ok());
  EXPECT_EQ(*ReadFile(dir / "a"), "1");
  EXPECT_EQ(ListDir(dir.path())->size(), 3u);
}

TEST(AtomicWriterTest, ALeftoverTemporaryLinkIsReplaced) {
  TempDir dir;
  ASSERT_EQ(symlink("nowhere", (dir / "..data_tmp").c_str()), 0);
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", {"1", 0644, {}}}}, nullptr, kNow).ok());
  EXPECT_EQ(*ReadFile(dir / "a"), "1");
}

TEST(AtomicWriterTest, BadPathsAreRefusedInUpstreamsWords) {
  EXPECT_EQ(ValidatePayloadPath("a/../b").message(), "invalid path: must not contain '..': a/../b");
  EXPECT_EQ(ValidatePayloadPath("/a").message(), "invalid path: must be relative path: /a");
  EXPECT_EQ(ValidatePayloadPath("..a").message(), "invalid path: must not start with '..': ..a");
  EXPECT_EQ(ValidatePayloadPath("").message(), "invalid path: must not be empty: \"\"");
  EXPECT_FALSE(ValidatePayloadPath(std::string(300, 'x')).ok());
  EXPECT_TRUE(ValidatePayloadPath("a/..b").ok());
}

TEST(AtomicWriterTest, ROOT_FsGroupOwnsWhatWasWritten) {
  if (!IsRoot()) GTEST_SKIP() << "needs root to change owners";
  TempDir dir;
  ASSERT_EQ(chmod(dir.path().c_str(), 0777), 0);
  auto own = [&] { return SetVolumeOwnership(dir.path(), 2000, true); };
  Payload payload{{"token", {"t", 0600, 1000}}, {"ro", {"r", 0400, {}}}};
  ASSERT_TRUE(WriteAtomically(dir.path(), payload, own, kNow).ok());
  struct stat st {};
  ASSERT_EQ(stat((dir / "token").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_EQ(st.st_uid, 1000u);
  EXPECT_EQ(st.st_gid, 2000u);
  EXPECT_EQ(ModeOf(dir / "ro"), 0440u);
  EXPECT_EQ(ModeOf(dir / LinkOf(dir / "..data")), 02755u);
  ASSERT_EQ(lstat((dir / "token").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 1000u);
  EXPECT_EQ(st.st_gid, 2000u);  // the directory is setgid by then
}

TEST(Ownership, FitsWhereTheRootIsAsItLeavesIt) {
  TempDir dir;
  const std::string root = dir / "volume";
  ASSERT_TRUE(MakeDirs(root, 0700).ok());
  ASSERT_TRUE(WriteFileAtomic(root + "/key", "x", 0600).ok());
  const gid_t group = getegid();
  EXPECT_FALSE(OwnershipFits(root, group, false)) << "not yet";
  ASSERT_TRUE(SetVolumeOwnership(root, group, false).ok());
  EXPECT_TRUE(OwnershipFits(root, group, false));
  EXPECT_TRUE(OwnershipFits(root, group, true)) << "more than is asked for";
  EXPECT_FALSE(OwnershipFits(root, group + 1, false));
  ASSERT_EQ(chmod(root.c_str(), 0770), 0);
  EXPECT_FALSE(OwnershipFits(root, group, false)) << "without setgid";
}

}  // namespace
}  // namespace skiff::kubelet
