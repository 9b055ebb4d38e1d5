// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include "base/fuzz_testing.h"

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput CertificatesFuzz
#include "base/certificates_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput GrpcFuzz
#include "base/grpc_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput HttpFuzz
#include "base/http_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput TextFuzz
#include "base/text_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput WebsocketFuzz
#include "base/websocket_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace skiff {
namespace {

TEST(FuzzSeedsTest, Certificates) { RunFuzzSeeds("base/testdata/fuzz/certificates", &CertificatesFuzz, 50); }
TEST(FuzzSeedsTest, Grpc) { RunFuzzSeeds("base/testdata/fuzz/grpc", &GrpcFuzz, 5000); }
TEST(FuzzSeedsTest, Http) { RunFuzzSeeds("base/testdata/fuzz/http", &HttpFuzz, 5000); }
TEST(FuzzSeedsTest, Text) { RunFuzzSeeds("base/testdata/fuzz/text", &TextFuzz, 3000); }
TEST(FuzzSeedsTest, Websocket) { RunFuzzSeeds("base/testdata/fuzz/websocket", &WebsocketFuzz, 5000); }

}  // namespace
}  // namespace skiff
