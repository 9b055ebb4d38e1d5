// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput QuantityFuzz
#include "api/quantity_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput SelectorFuzz
#include "api/selector_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput JsonFuzz
#include "api/json_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput EnvelopeFuzz
#include "api/envelope_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput YamlFuzz
#include "api/yaml_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput PatchFuzz
#include "api/patch_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeeds, Quantity) { RunFuzzSeeds("api/testdata/fuzz/quantity", &QuantityFuzz, 20000); }
TEST(FuzzSeeds, Selector) { RunFuzzSeeds("api/testdata/fuzz/selector", &SelectorFuzz, 20000); }
TEST(FuzzSeeds, Json) { RunFuzzSeeds("api/testdata/fuzz/json", &JsonFuzz, 3000); }
TEST(FuzzSeeds, Envelope) { RunFuzzSeeds("api/testdata/fuzz/envelope", &EnvelopeFuzz, 3000); }
TEST(FuzzSeeds, Yaml) { RunFuzzSeeds("api/testdata/fuzz/yaml", &YamlFuzz, 3000); }
TEST(FuzzSeeds, Patch) { RunFuzzSeeds("api/testdata/fuzz/patch", &PatchFuzz, 1500); }

}  // namespace
}  // namespace skiff
