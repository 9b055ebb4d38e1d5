#include "cri/list_digest.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/v1/api.pb.h"

namespace skiff::cri {
namespace {

namespace v1 = ::runtime::v1;

// A length-delimited field; numbers below 16 and lengths below 128.
std::string Field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}

std::string Entry(const std::string& key, const std::string& value) { return Field(1, key) + Field(2, value); }

v1::ListContainersResponse Two() {
  v1::ListContainersResponse out;
  for (const char* id : {"a", "b"}) {
    auto* c = out.add_containers();
    c->set_id(id);
    c->set_pod_sandbox_id("s");
    c->set_state(v1::CONTAINER_RUNNING);
    c->set_created_at(1764000000000000000);
    (*c->mutable_labels())["io.kubernetes.pod.uid"] = "u";
  }
  return out;
}

TEST(ListDigest, OrderOfItemsAndOfMapsDoesNotCount) {
  const std::vector<std::string> labels = {Field(6, Entry("k", "v")), Field(6, Entry("l", "w"))};
  const std::string one = Field(1, "a") + labels[0] + labels[1], other = Field(1, "b");
  EXPECT_EQ(ListDigest(Field(1, one) + Field(1, other)),
            ListDigest(Field(1, other) + Field(1, Field(1, "a") + labels[1] + labels[0])));
}

TEST(ListDigest, WhateverIsSaidCounts) {
  const uint64_t before = ListDigest(Two().SerializeAsString());
  EXPECT_EQ(ListDigest(Two().SerializeAsString()), before);
  auto change = [&](auto edit) {
    v1::ListContainersResponse list = Two();
    edit(list);
    return ListDigest(list.SerializeAsString());
  };
  EXPECT_NE(change([](auto& l) { l.mutable_containers(1)->set_state(v1::CONTAINER_EXITED); }), before);
  EXPECT_NE(change([](auto& l) { l.mutable_containers()->RemoveLast(); }), before);
  EXPECT_NE(change([](auto& l) { *l.add_containers() = l.containers(0); }), before);
  EXPECT_NE(change([](auto& l) { l.mutable_containers(0)->set_created_at(1); }), before);
  EXPECT_NE(change([](auto& l) { (*l.mutable_containers(0)->mutable_labels())["io.kubernetes.pod.uid"] = "v"; }),
            before);
  // What one item says is not what another says.
  EXPECT_NE(change([](auto& l) {
              l.mutable_containers(0)->set_id("b");
              l.mutable_containers(1)->set_id("a");
              l.mutable_containers(0)->set_pod_sandbox_id("t");
            }),
            change([](auto& l) { l.mutable_containers(0)->set_pod_sandbox_id("t"); }));
}

TEST(ListDigest, WhatIsNoMessageHasOneToo) {
  for (const std::string& bytes :
       {std::string("\x0a"), std::string("\x0a\x05x"), std::string("\x0b"), std::string("\xff")}) {
    EXPECT_EQ(ListDigest(bytes), ListDigest(bytes));
    EXPECT_NE(ListDigest(bytes), ListDigest(bytes + "x"));
  }
  EXPECT_EQ(ListDigest(""), ListDigest(""));
}

}  // namespace
}  // namespace skiff::cri
