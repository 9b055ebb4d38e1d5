#include "base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/files_ordered.h"

namespace skiff {
namespace {

using testing::ElementsAre;

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    char name[] = "/tmp/skiff-files-XXXXXX";
    path_ = mkdtemp(name);
    dir_.emplace(*Dir::Open(path_));
  }
  ~FilesTest() override { RemoveAll(path_).IgnoreError(); }
  std::string path_;
  std::optional<Dir> dir_;
};

TEST_F(FilesTest, WritesBesideWhatACrashedProcessOfTheSameNumberLeft) {
  ASSERT_TRUE(dir_->WriteAtomic("f", "one", 0600, Durable::kNo).ok());
  // Wherever the counter is by now, below a few hundred.
  for (int block = 0; block < 600; block += 50) {
    for (int i = block; i < block + 25; ++i)
      ASSERT_TRUE(dir_->MakeDirs(absl::StrCat(".f.", getpid(), ".", i, ".tmp")).ok());
  }
  for (int i = 0; i < 60; ++i) {
    const Status written = dir_->WriteAtomic("f", absl::StrCat(i), 0644, Durable::kNo);
    ASSERT_TRUE(written.ok()) << written;
    EXPECT_EQ(*dir_->Read("f"), absl::StrCat(i));
  }
}

TEST_F(FilesTest, WritesInOrder) {
  ASSERT_TRUE(WriteFileOrdered(path_ + "/f", "one", 0600).ok());
  ASSERT_TRUE(WriteFileOrdered(path_ + "/f", "two", 0640).ok());
  EXPECT_EQ(*dir_->Read("f"), "two");
  EXPECT_EQ(dir_->Stat("f")->st_mode & 0777, 0640u);
  EXPECT_THAT(*dir_->List(), ElementsAre("f"));
  EXPECT_EQ(ErrnoOf(WriteFileOrdered(path_ + "/none/f", "x")), ENOENT);
  EXPECT_TRUE(SyncFileName(path_ + "/f").ok());
  EXPECT_EQ(ErrnoOf(SyncFileName(path_ + "/none/f")), ENOENT);
}

TEST_F(FilesTest, WritesAndReads) {
  ASSERT_TRUE(dir_->MakeDirs("a/b").ok());
  ASSERT_TRUE(dir_->WriteAtomic("a/b/f", "one", 0600).ok());
  ASSERT_TRUE(dir_->WriteAtomic("a/b/f", "two", 0640).ok());
  EXPECT_EQ(*dir_->Read("a/b/f"), "two");
  EXPECT_THAT(*dir_->List("a/b"), ElementsAre("f"));
  EXPECT_EQ(dir_->Stat("a/b/f")->st_mode & 0777, 0640u);
  ASSERT_TRUE(dir_->Write("a/b/f", "X").ok());
  EXPECT_EQ(*dir_->Read("a/b/f"), "Xwo");
  EXPECT_TRUE(dir_->Exists("a/b"));
  EXPECT_FALSE(dir_->Exists("a/c"));
  EXPECT_EQ(ErrnoOf(dir_->Read("a/c").status()), ENOENT);
  EXPECT_EQ(ErrnoOf(dir_->Read("a").status()), EISDIR);
  EXPECT_EQ(ErrnoOf(dir_->Write("a/c", "x")), ENOENT);
}

TEST_F(FilesTest, ReadHasALimit) {
  const std::string data(10000, 'x');
  ASSERT_TRUE(dir_->WriteAtomic("f", data).ok());
  EXPECT_EQ(*dir_->Read("f", 10000), data);
  EXPECT_EQ(dir_->Read("f", 9999).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(dir_->Read("f", 0).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(FilesTest, ReadsKernelFiles) {
  const auto proc = Dir::Open("/proc");
  ASSERT_TRUE(proc.ok());
  const auto text = proc->Read("meminfo");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, testing::HasSubstr("MemTotal"));
}

TEST_F(FilesTest, SymlinksAndDotDotStopAtTheDirectory) {
  ASSERT_TRUE(MakeDirs(path_ + "/in/real").ok());
  ASSERT_TRUE(WriteFileAtomic(path_ + "/secret", "s").ok());
  const auto in = Dir::Open(path_ + "/in");
  ASSERT_TRUE(in.ok());
  ASSERT_TRUE(in->Symlink("../secret", "out").ok());
  ASSERT_TRUE(in->Symlink("real", "link").ok());
  EXPECT_EQ(ErrnoOf(in->Read("out").status()), ELOOP);
  EXPECT_EQ(ErrnoOf(in->Read("../secret").status()), EXDEV);
  EXPECT_EQ(ErrnoOf(in->Read("/etc/passwd").status()), EXDEV);
  EXPECT_EQ(ErrnoOf(in->OpenDir("link").status()), ELOOP);
  EXPECT_TRUE(in->FollowDir("link").ok());
  EXPECT_FALSE(in->WriteAtomic("link/f", "x").ok());
  EXPECT_FALSE(in->MakeDirs("link/d").ok());
  EXPECT_FALSE(in->Exists("out"));
  EXPECT_EQ(*in->ReadLink("out"), "../secret");
  // Replacing a symlink replaces the link, not its target.
  ASSERT_TRUE(in->WriteAtomic("out", "x").ok());
  EXPECT_EQ(*ReadFile(path_ + "/secret"), "s");
}

TEST_F(FilesTest, AFifoDoesNotHoldTheReader) {
  ASSERT_EQ(mkfifo((path_ + "/fifo").c_str(), 0600), 0);
  EXPECT_THAT(dir_->Read("fifo").status().message(), testing::HasSubstr("not a regular file"));
}

TEST_F(FilesTest, RemoveAll) {
  ASSERT_TRUE(MakeDirs(path_ + "/keep").ok());
  ASSERT_TRUE(WriteFileAtomic(path_ + "/keep/f", "x").ok());
  ASSERT_TRUE(dir_->MakeDirs("t/a/b").ok());
  ASSERT_TRUE(dir_->WriteAtomic("t/a/f", "x").ok());
  ASSERT_TRUE(dir_->Symlink("../../keep", "t/a/link").ok());
  ASSERT_TRUE(dir_->RemoveAll("t").ok());
  EXPECT_FALSE(dir_->Exists("t"));
  EXPECT_TRUE(dir_->Exists("keep/f"));
  EXPECT_TRUE(dir_->RemoveAll("t").ok());
  EXPECT_TRUE(dir_->RemoveAll("no/such").ok());
  EXPECT_FALSE(dir_->RemoveAll("..").ok());
  EXPECT_FALSE(dir_->RemoveAll("").ok());
}

TEST_F(FilesTest, RemoveAllOfAVeryDeepTree) {
  auto current = dir_->OpenDir(".");
  for (int i = 0; i < 3000; i++) {
    ASSERT_TRUE(current->MakeDirs("directory").ok());
    current = current->OpenDir("directory");
    ASSERT_TRUE(current.ok());
  }
  const Status status = dir_->RemoveAll("directory");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(dir_->Exists("directory"));
}

TEST_F(FilesTest, ROOT_RemoveAllStopsAtMounts) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(dir_->MakeDirs("t/mnt").ok());
  if (mount("tmpfs", (path_ + "/t/mnt").c_str(), "tmpfs", 0, nullptr) != 0) GTEST_SKIP() << "cannot mount here";
  ASSERT_TRUE(WriteFileAtomic(path_ + "/t/mnt/f", "x").ok());
  const Status status = dir_->RemoveAll("t");
  EXPECT_EQ(ErrnoOf(status), EBUSY) << status;
  EXPECT_TRUE(Exists(path_ + "/t/mnt/f"));
  ASSERT_EQ(umount((path_ + "/t/mnt").c_str()), 0);
  EXPECT_TRUE(dir_->RemoveAll("t").ok());
}

TEST_F(FilesTest, RenameAndUnlink) {
  ASSERT_TRUE(dir_->WriteAtomic("a", "x").ok());
  ASSERT_TRUE(dir_->Rename("a", "b").ok());
  EXPECT_FALSE(dir_->Exists("a"));
  ASSERT_TRUE(dir_->Unlink("b").ok());
  EXPECT_EQ(ErrnoOf(dir_->Unlink("b")), ENOENT);
}

TEST_F(FilesTest, PlainPaths) {
  ASSERT_TRUE(MakeDirs(path_ + "/x/y").ok());
  ASSERT_TRUE(MakeDirs(path_ + "/x/y").ok());
  ASSERT_TRUE(WriteFileAtomic(path_ + "/x/y/f", "data").ok());
  EXPECT_EQ(*ReadFile(path_ + "/x/y/f"), "data");
  EXPECT_THAT(*ListDir(path_ + "/x"), ElementsAre("y"));
  EXPECT_FALSE(MakeDirs(path_ + "/x/y/f/g").ok());
  EXPECT_TRUE(RemoveAll(path_ + "/x").ok());
  EXPECT_TRUE(RemoveAll(path_ + "/x").ok());
  EXPECT_FALSE(Exists(path_ + "/x"));
}

TEST(JoinPath, Forms) {
  EXPECT_EQ(JoinPath("/a", "b"), "/a/b");
  EXPECT_EQ(JoinPath("/a/", "/b"), "/a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("a", ""), "a");
  EXPECT_EQ(JoinPath("a", "."), "a");
}

}  // namespace
}  // namespace skiff
