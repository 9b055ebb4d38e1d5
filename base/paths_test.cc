#include "base/paths.h"

#include <gtest/gtest.h>

namespace skiff {
namespace {

TEST(Paths, Clean) {
  for (auto [path, clean] : {std::pair{"/a/b", "/a/b"},
                             {"/a/b/", "/a/b"},
                             {"//a/./b//", "/a/b"},
                             {"/a/../../b", "/b"},
                             {"/a/..", "/"},
                             {"a", "/a"},
                             {"/", "/"},
                             {"", "/"},
                             {"/..a/...", "/..a/..."}}) {
    EXPECT_EQ(CleanPath(path), clean) << path;
  }
}

}  // namespace
}  // namespace skiff
