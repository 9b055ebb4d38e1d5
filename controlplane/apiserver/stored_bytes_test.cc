#include "controlplane/apiserver/stored_bytes.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "k8s/io/api/core/v1/config.pb.h"

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

}  // namespace
}  // namespace skiff::controlplane
