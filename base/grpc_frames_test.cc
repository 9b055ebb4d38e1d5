#include "base/grpc_frames.h"

#include <gtest/gtest.h>

namespace skiff {
namespace {

using namespace std::chrono_literals;

TEST(GrpcMessageReader, CutsMessagesWhereverTheBytesAreCut) {
  const std::string bytes = FrameGrpcMessage("one") + FrameGrpcMessage("") + FrameGrpcMessage(std::string(300, 'x'));
  for (size_t step = 1; step <= bytes.size(); ++step) {
    GrpcMessageReader reader(300);
    std::string seen;
    for (size_t i = 0; i < bytes.size(); i += step) {
      ASSERT_TRUE(reader.Feed(std::string_view(bytes).substr(i, step)).ok());
      while (reader.HasMessage()) seen += "[" + reader.TakeMessage() + "]";
    }
    EXPECT_EQ(seen, "[one][][" + std::string(300, 'x') + "]") << step;
    EXPECT_FALSE(reader.InsideMessage());
  }
}

TEST(GrpcMessageReader, RefusesBeforeItReserves) {
  GrpcMessageReader reader(10);
  EXPECT_EQ(reader.Feed(std::string("\0\xff\xff\xff\xff", 5)).message(),
            "grpc: received message larger than max (4294967295 vs. 10)");
  GrpcMessageReader compressed(10);
  EXPECT_EQ(compressed.Feed(std::string("\1\0\0\0\0", 5)).code(), absl::StatusCode::kUnimplemented);
  GrpcMessageReader half(10);
  ASSERT_TRUE(half.Feed(std::string("\0\0\0\0\2a", 6)).ok());
  EXPECT_TRUE(half.InsideMessage());
}

TEST(Grpc, Escapes) {
  EXPECT_EQ(PercentDecodeGrpc("a%20b%C3%A9%"), "a b\xc3\xa9%");
  EXPECT_EQ(PercentDecodeGrpc("100%zz%4"), "100%zz%4");
}

TEST(Grpc, TimeoutsHaveAtMostEightDigitsAndNeverEndEarly) {
  EXPECT_EQ(GrpcTimeout(1ns), "1n");
  EXPECT_EQ(GrpcTimeout(2s), "2000000u");
  EXPECT_EQ(GrpcTimeout(100s + 1ns), "100001m");
  EXPECT_EQ(GrpcTimeout(48h), "172800S");
  EXPECT_EQ(GrpcTimeout(-1ns), "0n");
}

TEST(Grpc, Statuses) {
  EXPECT_TRUE(GrpcStatusOfTrailers("0", "").ok());
  EXPECT_EQ(GrpcStatusOfTrailers("5", "no%20such").ToString(), "NOT_FOUND: no such");
  EXPECT_EQ(GrpcStatusOfTrailers("17", "").code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(GrpcStatusOfTrailers("x", "").code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(GrpcStatusOfHttp(503).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GrpcStatusOfReset(8).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace skiff
