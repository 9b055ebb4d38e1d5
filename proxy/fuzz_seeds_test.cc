// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include <google/protobuf/stubs/logging.h>

#include "base/fuzz_testing.h"
#include "base/log.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput ConfigFuzz
#include "proxy/config_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput ObjectsFuzz
#include "proxy/objects_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

void Silent(std::string_view) {}

TEST(FuzzSeedsTest, Config) {
  log::SetSink(&Silent);  // unknown fields warn
  RunFuzzSeeds("proxy/testdata/fuzz/config", &ConfigFuzz, 500);
  log::SetSink(nullptr);
}
TEST(FuzzSeedsTest, Objects) {
  google::protobuf::SetLogHandler(nullptr);  // it has a line for every bad string
  RunFuzzSeeds("proxy/testdata/fuzz/objects", &ObjectsFuzz, 2000);
}

}  // namespace
}  // namespace skiff
