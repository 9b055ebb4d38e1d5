#include "kubelet/volume/subpath.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

TEST(SubPathTest, LinksInsideTheVolumeAreFollowedOthersNot) {
  TempDir dir;
  ASSERT_TRUE(MakeDirs(dir / "vol/real").ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "vol/real/f", "in").ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "secret", "out").ok());
  ASSERT_EQ(symlink("real", (dir / "vol/link").c_str()), 0);
  ASSERT_EQ(symlink("../secret", (dir / "vol/up").c_str()), 0);
  ASSERT_EQ(symlink((dir / "secret").c_str(), (dir / "vol/absolute").c_str()), 0);
  const Fd volume(open((dir / "vol").c_str(), O_PATH));
  EXPECT_TRUE(OpenBeneath(volume.get(), "link/f").ok());
  EXPECT_EQ(ErrnoOf(OpenBeneath(volume.get(), "up").status()), EXDEV);
  EXPECT_EQ(ErrnoOf(OpenBeneath(volume.get(), "absolute").status()), EXDEV);
  EXPECT_EQ(ErrnoOf(OpenBeneath(volume.get(), "../secret").status()), EXDEV);

  // An absolute link, but one that stays inside. A volume whose name begins alike is another one.
  ASSERT_TRUE(MakeDirs(dir / "volume2").ok());
  ASSERT_EQ(symlink((dir / "vol/real").c_str(), (dir / "vol/current").c_str()), 0);
  ASSERT_EQ(symlink((dir / "volume2").c_str(), (dir / "vol/other").c_str()), 0);
  ASSERT_EQ(symlink((dir / "vol/current").c_str(), (dir / "vol/twice").c_str()), 0);
  ASSERT_EQ(symlink(dir.path().c_str(), (dir / "vol/over").c_str()), 0);
  EXPECT_TRUE(OpenBeneath(volume.get(), "current/f").ok());
  EXPECT_TRUE(OpenBeneath(volume.get(), "twice").ok());
  EXPECT_EQ(ErrnoOf(OpenBeneath(volume.get(), "other").status()), EXDEV);
  EXPECT_EQ(ErrnoOf(OpenBeneath(volume.get(), "over/secret").status()), EXDEV);
  EXPECT_TRUE(MakeDirsBeneath(volume.get(), "current/made", 0755).ok());
  EXPECT_TRUE(Exists(dir / "vol/real/made"));
  EXPECT_FALSE(MakeDirsBeneath(volume.get(), "other/made", 0755).ok());
  EXPECT_FALSE(Exists(dir / "volume2/made"));
}

TEST(SubPathTest, MissingDirectoriesGetTheVolumesMode) {
  TempDir dir;
  ASSERT_TRUE(MakeDirs(dir / "vol").ok());
  const Fd volume(open((dir / "vol").c_str(), O_PATH));
  ASSERT_TRUE(MakeDirsBeneath(volume.get(), "made/up", 0777).ok());
  struct stat st {};
  ASSERT_EQ(stat((dir / "vol/made/up").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0777u);
  ASSERT_EQ(symlink("..", (dir / "vol/out").c_str()), 0);
  EXPECT_FALSE(MakeDirsBeneath(volume.get(), "out/made", 0777).ok());
  EXPECT_FALSE(Exists(dir / "made"));
}

TEST(SubPathTest, BindIsMadeOnceAndRemoved) {
  TempDir dir;
  FakeMounter mounter;
  ASSERT_TRUE(MakeDirs(dir / "vol").ok());
  ASSERT_TRUE(WriteFileAtomic(dir / "vol/file", "x").ok());
  const SubPath sub{dir / "vol", "file", dir / "pod/volume-subpaths/v/c/0"};
  ASSERT_TRUE(BindSubPath(sub, mounter).ok());
  EXPECT_EQ(mounter.mounts().at(sub.target), absl::StrCat("bind ", dir / "vol/file"));
  ASSERT_TRUE(CleanSubPaths(dir / "pod", mounter).ok());
  EXPECT_TRUE(mounter.mounts().empty());
  EXPECT_FALSE(Exists(dir / "pod/volume-subpaths"));
  EXPECT_TRUE(Exists(dir / "vol/file"));
}

// Security row subpath-symlink-race (CVE-2017-1002101, CVE-2021-25741): a container swaps a directory for a symbolic
// link to the host's root while its subPath is being mounted. It may get an error, never something outside its volume.
TEST(SubPathTest, ROOT_subpath_symlink_race) {
  if (!IsRoot()) GTEST_SKIP() << "needs root to mount";
  TempDir dir;
  const bool allowed = InMountNamespace([&] {
    const auto mounter = NewMounter();
    ASSERT_TRUE(MakeDirs(dir / "vol/dir/sub").ok());
    ASSERT_TRUE(WriteFileAtomic(dir / "vol/dir/sub/mine", "inside").ok());
    ASSERT_TRUE(MakeDirs(dir / "host/sub").ok());
    ASSERT_TRUE(WriteFileAtomic(dir / "host/sub/mine", "outside").ok());
    ASSERT_EQ(symlink((dir / "host").c_str(), (dir / "vol/absolute").c_str()), 0);
    ASSERT_EQ(symlink("../host", (dir / "vol/relative").c_str()), 0);

    std::atomic<bool> stop = false;
    std::thread attacker([&] {
      const std::string vol = dir / "vol";
      const int fd = open(vol.c_str(), O_PATH);
      for (int i = 0; !stop; ++i) {
        const char* evil = i % 2 == 0 ? "absolute" : "relative";
        renameat2(fd, "dir", fd, evil, RENAME_EXCHANGE);
        renameat2(fd, "dir", fd, evil, RENAME_EXCHANGE);
      }
      close(fd);
    });
    int mounted = 0;
    for (int i = 0; i < 300; ++i) {
      const SubPath sub{dir / "vol", "dir/sub", dir / absl::StrCat("pod/volume-subpaths/v/c/", i)};
      const Status status = BindSubPath(sub, *mounter);
      if (!status.ok()) continue;
      ++mounted;
      const auto content = ReadFile(absl::StrCat(sub.target, "/mine"));
      EXPECT_TRUE(!content.ok() || *content == "inside") << *content;
    }
    stop = true;
    attacker.join();
    EXPECT_GT(mounted, 0);
    EXPECT_EQ(*ReadFile(dir / "host/sub/mine"), "outside");
    EXPECT_TRUE(CleanSubPaths(dir / "pod", *mounter).ok());
    EXPECT_TRUE(Exists(dir / "vol"));
  });
  if (!allowed) GTEST_SKIP() << "no mount namespace allowed here";
}

TEST(MounterTest, ROOT_TmpfsAndBinds) {
  if (!IsRoot()) GTEST_SKIP() << "needs root to mount";
  TempDir dir;
  const bool allowed = InMountNamespace([&] {
    const auto mounter = NewMounter();
    ASSERT_TRUE(MakeDirs(dir / "p/a b").ok());
    ASSERT_TRUE(MakeDirs(dir / "p/bound").ok());
    EXPECT_FALSE(*mounter->IsMountPoint(dir / "p/a b"));
    EXPECT_FALSE(*mounter->IsMountPoint(dir / "absent"));
    std::string options = "size=1048576";
    if (mounter->TmpfsNoswap()) options += ",noswap";
    ASSERT_TRUE(mounter->MountTmpfs(dir / "p/a b", options).ok());
    EXPECT_TRUE(*mounter->IsMountPoint(dir / "p/a b"));
    const Fd source(open((dir / "p/a b").c_str(), O_PATH));
    ASSERT_TRUE(mounter->BindFd(source.get(), dir / "p/bound").ok());
    EXPECT_EQ(*mounter->MountsBelow(dir / "p"), (std::vector<std::string>{dir / "p/bound", dir / "p/a b"}));
    EXPECT_TRUE(mounter->Unmount(dir / "p/bound").ok());
    EXPECT_TRUE(mounter->Unmount(dir / "p/bound").ok());
    EXPECT_TRUE(mounter->Unmount(dir / "p/a b").ok());
    EXPECT_TRUE(mounter->MountsBelow(dir / "p")->empty());
  });
  if (!allowed) GTEST_SKIP() << "no mount namespace allowed here";
}

TEST(MounterTest, ROOT_AMountHasOptionsOfItsOwn) {
  if (!IsRoot()) GTEST_SKIP() << "needs root to mount";
  TempDir dir;
  const bool allowed = InMountNamespace([&] {
    const auto mounter = NewMounter();
    ASSERT_TRUE(MakeDirs(dir / "source").ok());
    ASSERT_TRUE(MakeDirs(dir / "bound").ok());
    ASSERT_EQ(mount("tmpfs", (dir / "source").c_str(), "tmpfs", MS_NOSUID, ""), 0);
    const Fd source(open((dir / "source").c_str(), O_PATH));
    ASSERT_TRUE(mounter->BindFd(source.get(), dir / "bound").ok());
    EXPECT_TRUE(mounter->SetOptions(dir / "bound", {"hard"}).ok());
    const Status status = mounter->SetOptions(dir / "bound", {"noatime", "nodev", "noexec", "ro"});
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(absl::StrContains(*ReadFile("/proc/thread-self/mountinfo"),
                                  absl::StrCat(" ", dir / "bound", " ro,nosuid,nodev,noexec,noatime ")));
    EXPECT_FALSE(mounter->SetOptions(dir / "absent", {"ro"}).ok());
    EXPECT_TRUE(mounter->Unmount(dir / "bound").ok());
    EXPECT_TRUE(mounter->Unmount(dir / "source").ok());
  });
  if (!allowed) GTEST_SKIP() << "no mount namespace allowed here";
}

TEST(MounterTest, ROOT_ADirectoryOnAPrivateMountIsSharedOnce) {
  if (!IsRoot()) GTEST_SKIP() << "needs root to mount";
  TempDir dir;
  const bool allowed = InMountNamespace([&] {
    const auto mounter = NewMounter();
    ASSERT_TRUE(MakeDirs(dir / "root/pods").ok());
    ASSERT_TRUE(mounter->MakeShared(dir / "root").ok());
    EXPECT_TRUE(*mounter->IsMountPoint(dir / "root"));
    ASSERT_TRUE(mounter->MountTmpfs(dir / "root/pods", "size=4096").ok());
    ASSERT_TRUE(mounter->MakeShared(dir / "root").ok());  // a kubelet started again: nothing is hidden
    EXPECT_EQ(*mounter->MountsBelow(dir / "root"), std::vector<std::string>{dir / "root/pods"});
    EXPECT_TRUE(mounter->Unmount(dir / "root/pods").ok());
    EXPECT_EQ(rmdir((dir / "root/pods").c_str()), 0);
    // What is mounted below a private mount stays in sight.
    ASSERT_TRUE(MakeDirs(dir / "old/pods").ok());
    ASSERT_TRUE(mounter->MountTmpfs(dir / "old/pods", "size=4096").ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(mounter->MakeShared(dir / "old")));
    EXPECT_FALSE(*mounter->IsMountPoint(dir / "old"));
  });
  if (!allowed) GTEST_SKIP() << "no mount namespace allowed here";
}

}  // namespace
}  // namespace skiff::kubelet
