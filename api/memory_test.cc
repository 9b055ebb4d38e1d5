// What descriptors, plans and messages cost: the agents' budgets are a few megabytes.
#include <malloc.h>

#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/plan.h"
#include "api/scheme.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::api {
namespace {

size_t InUse() { return mallinfo2().uordblks; }

// Run alone for true figures: what other tests built already is not counted again.
TEST(Memory, DescriptorsAndPlansAreSmall) {
  const size_t start = InUse();
  k8s::io::api::core::v1::Pod pod;
  (void)ToJson(pod);
  const size_t one = InUse() - start;
  std::set<const google::protobuf::Descriptor*> seen;
  std::function<void(const google::protobuf::Descriptor*)> visit = [&](const google::protobuf::Descriptor* descriptor) {
    if (!seen.insert(descriptor).second) return;
    for (const auto& field : internal::Plan::Of(descriptor).fields())
      if (field.value_type == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) visit(field.message().descriptor());
  };
  visit(pod.GetDescriptor());
  const size_t pods = InUse() - start;
  for (const TypeOps* type : AllTypes()) visit(type->prototype().GetDescriptor());
  const size_t all = InUse() - start;
  printf("first pod %zu KiB, everything under pods %zu KiB, all %zu messages %zu KiB\n", one / 1024, pods / 1024,
         seen.size(), all / 1024);
  EXPECT_LT(all, 16u << 20);
}

TEST(Memory, DecodingKeepsNoSecondFormOfMaps) {
  k8s::io::api::core::v1::Pod pod;
  for (int i = 0; i < 1000; ++i) (*pod.mutable_metadata()->mutable_labels())["key-" + std::to_string(i)] = "a value";
  (void)ToJson(pod);
  const size_t before = pod.SpaceUsedLong();
  (void)ToJson(pod);
  (void)Equal(pod, pod);
  EXPECT_EQ(pod.SpaceUsedLong(), before);
}

}  // namespace
}  // namespace skiff::api
