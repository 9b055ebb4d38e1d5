#include "base/memory.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/heap_testing.h"

namespace skiff {
namespace {

// KiB, of the line `field` of /proc/self/status.
long Resident(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(field + ":")) return std::stol(line.substr(field.size() + 1));
  }
  return -1;
}

TEST(ReleaseStartupMemory, HeapAndCodeGoBackAndTheProgramGoesOn) {
  if (kForeignHeap) GTEST_SKIP() << "a sanitizer's heap";
  // Small pieces, so that they come from the heap, the last one kept, so that its end cannot just be cut off.
  std::vector<std::unique_ptr<std::string>> pieces;
  for (int i = 0; i < 16 << 10; ++i) pieces.push_back(std::make_unique<std::string>(1000, 'x'));
  const auto kept = std::move(pieces.back());
  pieces.clear();
  const long heap = Resident("RssAnon"), files = Resident("RssFile");
  ReleaseStartupMemory();
  EXPECT_LT(Resident("RssAnon"), heap - (8 << 10));
  EXPECT_LT(Resident("RssFile"), files);
  EXPECT_EQ(*kept, std::string(1000, 'x'));
}

}  // namespace
}  // namespace skiff
