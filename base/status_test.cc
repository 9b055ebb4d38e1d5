#include "base/status.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace skiff {
namespace {

Status Fails() { return ErrnoStatus(ENOENT, "open /x"); }
StatusOr<int> Wraps() {
  RETURN_IF_ERROR(Fails(), "read config ", 7);
  return 1;
}

TEST(StatusTest, AnnotateKeepsCodeAndErrno) {
  const auto got = Wraps();
  EXPECT_EQ(got.status().message(), "read config 7: open /x: No such file or directory");
  EXPECT_EQ(got.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoOf(got.status()), ENOENT);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(StatusTest, AssignOrReturnMovesTheValue) {
  auto make = []() -> StatusOr<std::unique_ptr<int>> { return std::make_unique<int>(3); };
  auto use = [&]() -> StatusOr<int> {
    ASSIGN_OR_RETURN(auto p, make(), "making");
    return *p;
  };
  EXPECT_EQ(*use(), 3);
}

}  // namespace
}  // namespace skiff
