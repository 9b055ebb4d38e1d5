// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include <google/protobuf/stubs/logging.h>

#include "base/fuzz_testing.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput BodyFuzz
#include "controlplane/apiserver/body_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput CelFuzz
#include "controlplane/apiserver/custom/cel_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput DefinitionFuzz
#include "controlplane/apiserver/custom/definition_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput RequestFuzz
#include "controlplane/apiserver/request_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput TokenFuzz
#include "controlplane/apiserver/token_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeedsTest, Body) {
  google::protobuf::SetLogHandler(nullptr);  // it has a line for every bad string
  RunFuzzSeeds("controlplane/testdata/fuzz/body", &BodyFuzz, 1500);
}
TEST(FuzzSeedsTest, Cel) { RunFuzzSeeds("controlplane/testdata/fuzz/cel", &CelFuzz, 5000); }
TEST(FuzzSeedsTest, Definition) { RunFuzzSeeds("controlplane/testdata/fuzz/definition", &DefinitionFuzz, 500); }
TEST(FuzzSeedsTest, Request) { RunFuzzSeeds("controlplane/testdata/fuzz/request", &RequestFuzz, 3000); }
TEST(FuzzSeedsTest, Token) { RunFuzzSeeds("controlplane/testdata/fuzz/token", &TokenFuzz, 500); }

}  // namespace
}  // namespace skiff
