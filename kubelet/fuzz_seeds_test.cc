// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"
#include "base/log.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput ConfigFuzz
#include "kubelet/config_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput CriLogLineFuzz
#include "kubelet/logs/cri_log_line_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput CredentialsFuzz
#include "kubelet/runtime/credentials_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput ManifestFuzz
#include "kubelet/pod/manifest_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput NodeFilesFuzz
#include "kubelet/node_files_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput SpdyFuzz
#include "kubelet/server/spdy_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

// Unknown fields warn.
class FuzzSeedsTest : public testing::Test {
 public:
  FuzzSeedsTest() {
    log::SetSink([](std::string_view) {});
  }
  ~FuzzSeedsTest() override { log::SetSink(nullptr); }
};

TEST_F(FuzzSeedsTest, Config) { RunFuzzSeeds("kubelet/testdata/fuzz/config", &ConfigFuzz, 500); }
TEST_F(FuzzSeedsTest, CriLogLine) { RunFuzzSeeds("kubelet/testdata/fuzz/cri_log_line", &CriLogLineFuzz, 20000); }
TEST_F(FuzzSeedsTest, Credentials) { RunFuzzSeeds("kubelet/testdata/fuzz/credentials", &CredentialsFuzz, 3000); }
TEST_F(FuzzSeedsTest, Manifest) { RunFuzzSeeds("kubelet/testdata/fuzz/manifest", &ManifestFuzz, 500); }
TEST_F(FuzzSeedsTest, NodeFiles) { RunFuzzSeeds("kubelet/testdata/fuzz/node_files", &NodeFilesFuzz, 3000); }
TEST_F(FuzzSeedsTest, Spdy) { RunFuzzSeeds("kubelet/testdata/fuzz/spdy", &SpdyFuzz, 20000); }

}  // namespace
}  // namespace skiff
