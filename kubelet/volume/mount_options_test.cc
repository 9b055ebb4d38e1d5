#include "kubelet/volume/mount_options.h"

#include <sys/mount.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::kubelet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(MountOptionsTest, TheAnnotationComesFirst) {
  PersistentVolume volume;
  EXPECT_THAT(MountOptionsOf(volume), IsEmpty());
  for (const char* option : {"nosuid", "noexec", "nosuid", ""}) volume.mutable_spec()->add_mountoptions(option);
  EXPECT_THAT(MountOptionsOf(volume), ElementsAre("noexec", "nosuid"));
  std::string& annotation =
      (*volume.mutable_metadata()->mutable_annotations())["volume.beta.kubernetes.io/mount-options"];
  annotation = "ro,nodev";
  EXPECT_THAT(MountOptionsOf(volume), ElementsAre("nodev", "ro"));
  annotation = "";
  EXPECT_THAT(MountOptionsOf(volume), IsEmpty());
}

TEST(MountOptionsTest, AsAttributesOfTheMount) {
  const auto both = AttributesOf({"noatime", "noexec", "ro", "suid"});
  EXPECT_EQ(both.set, MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY);
  EXPECT_EQ(both.clear, MOUNT_ATTR__ATIME | MOUNT_ATTR_NOSUID);
  const auto last = AttributesOf({"noatime", "relatime", "ro", "rw"});
  EXPECT_EQ(last.set, uint64_t{MOUNT_ATTR_RELATIME});
  EXPECT_EQ(last.clear, MOUNT_ATTR__ATIME | MOUNT_ATTR_RDONLY);
  // mount(8) makes a bind mount with those too, without a word.
  EXPECT_THAT(AttributesOf({"bind", "hard", "nfsvers=4.1"}).ignored, ElementsAre("hard", "nfsvers=4.1"));
}

}  // namespace
}  // namespace skiff::kubelet
