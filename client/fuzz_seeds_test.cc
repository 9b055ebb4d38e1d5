// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"

#include <google/protobuf/stubs/logging.h>

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput KubeconfigFuzz
#include "client/kubeconfig_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput WireFuzz
#include "client/wire_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeedsTest, Kubeconfig) { RunFuzzSeeds("client/testdata/fuzz/kubeconfig", &KubeconfigFuzz, 500); }
TEST(FuzzSeedsTest, Wire) {
  google::protobuf::SetLogHandler(nullptr);  // it has a line for every bad string
  RunFuzzSeeds("client/testdata/fuzz/wire", &WireFuzz, 5000);
}

}  // namespace
}  // namespace skiff
