#include "kubelet/runtime/user_namespaces.h"

#include <stdlib.h>

#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "base/files.h"

namespace skiff::kubelet {
namespace {

class UserNamespacesTest : public ::testing::Test {
 protected:
  UserNamespacesTest() {
    char name[] = "/tmp/skiff-userns-XXXXXX";
    root = ::mkdtemp(name);
    EXPECT_TRUE(MakeDirs(root + "/pods").ok());
  }
  ~UserNamespacesTest() override { std::filesystem::remove_all(root); }
  StatusOr<uint32_t> Of(const std::string& uid) { return UserNamespaceOf(root, uid, ids, kUserNamespaceUnit); }
  void Write(const std::string& uid, std::string_view text) {
    ASSERT_TRUE(MakeDirs(root + "/pods/" + uid).ok());
    ASSERT_TRUE(WriteFileAtomic(root + "/pods/" + uid + "/userns", text).ok());
  }

  std::string root;
  IdRange ids{65536, 4 * 65536};
};

TEST_F(UserNamespacesTest, EachPodHasARangeOfItsOwnAndKeepsIt) {
  std::set<uint32_t> seen;
  for (const char* uid : {"a", "b", "c", "d"}) {
    const auto first = Of(uid);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(*first % 65536, 0u);
    EXPECT_GE(*first, 65536u);
    EXPECT_LT(*first, 5u * 65536);
    EXPECT_TRUE(seen.insert(*first).second) << "two pods share " << *first;
    EXPECT_EQ(*Of(uid), *first);
  }
  EXPECT_EQ(Of("e").status().message(), "could not find an empty slot to allocate a user namespace");
  const uint32_t freed = *Of("b");
  std::filesystem::remove_all(root + "/pods/b");  // as when the pod is gone
  EXPECT_EQ(*Of("e"), freed);
}

TEST_F(UserNamespacesTest, FilesAreUpstreams) {
  Write("theirs", R"({"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],)"
                  R"("gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]})");
  EXPECT_EQ(*Of("theirs"), 131072u);
  const uint32_t first = *Of("ours");
  EXPECT_NE(first, 131072u);
  const std::string mapping = "[{\"containerId\":0,\"hostId\":" + std::to_string(first) + ",\"length\":65536}]";
  EXPECT_EQ(*ReadFile(root + "/pods/ours/userns"), "{\"gidMappings\":" + mapping + ",\"uidMappings\":" + mapping + "}");
}

TEST_F(UserNamespacesTest, AMappingThatIsNotUsableIsAnErrorNotANewOne) {
  const struct {
    const char* text;
    const char* error;
  } rows[] = {
      {"{", "invalid user namespace mappings file"},
      {"{}", "invalid user namespace configuration: no more than one mapping allowed."},
      {R"({"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}]})",
       "invalid user namespace configuration: GID and UID mapping should be identical"},
      {R"({"uidMappings":[{"hostId":131072,"containerId":1,"length":65536}],)"
       R"("gidMappings":[{"hostId":131072,"containerId":1,"length":65536}]})",
       "invalid user namespace configuration: UID 0 must be mapped"},
      {R"({"uidMappings":[{"hostId":131072,"containerId":0,"length":1}],)"
       R"("gidMappings":[{"hostId":131072,"containerId":0,"length":1}]})",
       "wrong user namespace length 1"},
      {R"({"uidMappings":[{"hostId":0,"containerId":0,"length":65536}],)"
       R"("gidMappings":[{"hostId":0,"containerId":0,"length":65536}]})",
       "id 0 is out of range"},
  };
  for (const auto& row : rows) {
    Write("p", row.text);
    EXPECT_EQ(Of("p").status().message(), row.error) << row.text;
  }
}

TEST_F(UserNamespacesTest, AnEmptyFileStopsNoOtherPod) {
  Write("torn", "");
  const auto first = Of("p");
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = Of("torn");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_NE(*first, *again);
}

TEST_F(UserNamespacesTest, ConfiguredIds) {
  const auto ids = ParseSubIds("0: kubelet 65536 7208960\n");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->first, 65536u);
  EXPECT_EQ(ids->length, 7208960u);
  EXPECT_TRUE(CheckIds(*ids, 65536, 110).ok());
  EXPECT_EQ(CheckIds(*ids, 65536, 111).message(), "kubelet user assigned IDs are not enough to support 111 pods");
  EXPECT_FALSE(CheckIds({1000, 65536}, 65536, 1).ok());
  EXPECT_FALSE(CheckIds({0, 65536}, 65536, 1).ok()) << "the host's root is never mapped";
  EXPECT_FALSE(ParseSubIds("0: kubelet 65536 65536\n1: kubelet 231072 65536\n").ok());
  EXPECT_FALSE(ParseSubIds("").ok());
}

}  // namespace
}  // namespace skiff::kubelet
