// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput ParsersFuzz
#include "cadvisor/parsers_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput TreeFuzz
#include "cadvisor/tree_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeedsTest, Parsers) { RunFuzzSeeds("cadvisor/testdata/fuzz/parsers", &ParsersFuzz, 20000); }
TEST(FuzzSeedsTest, Tree) { RunFuzzSeeds("cadvisor/testdata/fuzz/tree", &TreeFuzz, 40); }

}  // namespace
}  // namespace skiff
