#include "cri/encode.h"

#include <gtest/gtest.h>

#include "runtime/v1/api.pb.h"

namespace skiff::cri {
namespace {

TEST(Encode, StringsThatAreNoUtf8AreRefusedByName) {
  ::runtime::v1::CreateContainerRequest request;
  request.set_pod_sandbox_id("s");
  auto* config = request.mutable_config();
  config->add_command("é");
  (*config->mutable_annotations())["good"] = "";
  EXPECT_EQ(*Encode(request), request.SerializeAsString());

  const auto refused = [&] { return std::string(Encode(request).status().message()); };
  const std::string words = "grpc: error while marshaling: string field contains invalid UTF-8: ";
  (*config->mutable_annotations())["bad"] = "\xff";
  EXPECT_EQ(refused(), words + "config.annotations[\"bad\"]");
  EXPECT_EQ(Encode(request).status().code(), absl::StatusCode::kInternal);
  config->mutable_annotations()->erase("bad");
  (*config->mutable_annotations())["\xff"] = "";
  EXPECT_EQ(refused(), words + "config.annotations[\"\\xff\"]");
  config->clear_annotations();
  config->add_envs()->set_value("any bytes: \xff");
  config->add_envs()->set_key("cut \xc3");
  EXPECT_EQ(refused(), words + "config.envs[1].key");
  config->clear_envs();
  config->add_args("a");
  config->add_args("\xed\xa0\x80");
  EXPECT_EQ(refused(), words + "config.args[1]");
  config->clear_args();
  config->mutable_image()->set_image("\x80");
  EXPECT_EQ(refused(), words + "config.image.image");
  // Why it matters: what is written unchecked is no message to whoever reads it.
  EXPECT_FALSE(::runtime::v1::CreateContainerRequest().ParseFromString(request.SerializeAsString()));
}

}  // namespace
}  // namespace skiff::cri
