#include "controlplane/apiserver/stored_bytes.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

using k8s::io::api::core::v1::ConfigMap;

StoredValue Stored(const ConfigMap& object) {
  return {.data = api::ToProtobuf(object, {"", "v1", "ConfigMap"}), .create_revision = 3, .mod_revision = 7};
}

TEST(StoredBytesTest, IdentityIsReadPastEverythingElse) {
  ConfigMap object;
  auto* meta = object.mutable_metadata();
  meta->set_name("a");
  meta->set_namespace_("ns");
  meta->set_generation(1ll << 40);
  meta->mutable_creationtimestamp()->set_seconds(1700000000);
  (*meta->mutable_annotations())["labels"] = "none";
  (*meta->mutable_labels())["app"] = "web";
  (*meta->mutable_labels())["empty"] = "";
  meta->add_finalizers("x/y");
  meta->add_managedfields()->set_manager("m");
  (*object.mutable_data())["k"] = "v";
  const StoredValue value = Stored(object);
  const auto identity = StoredIdentity::Read(value);
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity->name, "a");
  EXPECT_EQ(identity->ns, "ns");
  EXPECT_EQ(identity->labels.size(), 2u);
  EXPECT_EQ(identity->labels.at("app"), "web");
  EXPECT_EQ(identity->labels.at("empty"), "");
}

TEST(StoredBytesTest, WhatIsNoProtobufOrCutOffHasNone) {
  EXPECT_FALSE(StoredIdentity::Read({.data = R"({"metadata":{"name":"a"}})"}));
  ConfigMap object;
  object.mutable_metadata()->set_name("a");
  (*object.mutable_metadata()->mutable_labels())["app"] = "web";
  const StoredValue whole = Stored(object);
  for (size_t size = 0; size < whole.data.size(); ++size) {
    StoredValue cut = whole;
    cut.data.resize(size);
    const auto identity = StoredIdentity::Read(cut);  // must not read past its end
    if (identity) EXPECT_EQ(identity->labels.size(), 1u) << size;
  }
}

TEST(StoredBytesTest, AFieldIsReadByItsNumbers) {
  using k8s::io::api::core::v1::Pod;
  Pod pod;
  pod.mutable_metadata()->set_name("a");
  auto stored = [&] { return StoredValue{.data = api::ToProtobuf(pod, {"", "v1", "Pod"})}; };
  StoredValue value = stored();
  EXPECT_EQ(StoredField(value, {2, 10}), "");
  pod.mutable_spec()->add_containers()->set_name("c");
  pod.mutable_spec()->set_terminationgraceperiodseconds(30);
  pod.mutable_spec()->set_nodename("n1");
  pod.mutable_spec()->set_hostnetwork(true);
  pod.mutable_status()->set_phase("Running");
  value = stored();
  EXPECT_EQ(StoredField(value, {2, 10}), "n1");
  EXPECT_EQ(StoredField(value, {3, 1}), "Running");
  EXPECT_EQ(StoredField(value, {2}), pod.spec().SerializeAsString());
  const StoredValue whole = value;
  for (size_t size = 0; size < whole.data.size(); ++size) {
    StoredValue cut = whole;
    cut.data.resize(size);
    EXPECT_EQ(StoredField(cut, {2, 10}).value_or("n1"), "n1") << size;  // must not read past its end
  }
  // Protobuf would put two of a message together.
  pod.mutable_spec()->add_containers()->set_name("d");
  value = stored();
  EXPECT_FALSE(StoredField(value, {2, 2}));
  EXPECT_FALSE(StoredField({.data = R"({"spec":{"nodeName":"n1"}})"}, {2, 10}));
}

}  // namespace
}  // namespace skiff::controlplane
