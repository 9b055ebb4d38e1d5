// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput PeerFuzz
#include "cni/agent/peer_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput RequestFuzz
#include "cni/plugin/request_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput StateFuzz
#include "cni/plugin/state_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeedsTest, Peer) { RunFuzzSeeds("cni/testdata/fuzz/peer", &PeerFuzz, 5000); }
TEST(FuzzSeedsTest, Request) { RunFuzzSeeds("cni/testdata/fuzz/request", &RequestFuzz, 5000); }
TEST(FuzzSeedsTest, State) { RunFuzzSeeds("cni/testdata/fuzz/state", &StateFuzz, 100); }

}  // namespace
}  // namespace skiff
