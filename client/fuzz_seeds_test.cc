// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <gtest/gtest.h>

// Each target under a name of its own.
#define LLVMFuzzerTestOneInput KubeconfigFuzz
#include "client/kubeconfig_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput WireFuzz
#include "client/wire_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace {

void Mutate(const char* name, int (*target)(const uint8_t*, size_t), int mutations) {
  const std::filesystem::path folder = std::filesystem::path("client/testdata/fuzz") / name;
  ASSERT_TRUE(std::filesystem::exists(folder)) << folder << ": run from the project's root";
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  std::sort(seeds.begin(), seeds.end());
  ASSERT_FALSE(seeds.empty());
  google::protobuf::SetLogHandler(nullptr);  // it has a line for every bad string
  std::minstd_rand random(20260101);
  const auto run = [&](const std::string& text) { target(reinterpret_cast<const uint8_t*>(text.data()), text.size()); };
  for (const std::string& seed : seeds) run(seed);
  for (int i = 0; i < mutations; ++i) {
    std::string text = seeds[random() % seeds.size()];
    for (int changes = 1 + static_cast<int>(random() % 4); changes > 0 && !text.empty(); --changes) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 16); break;
        case 2: text.insert(at, text.substr(random() % text.size(), random() % 32)); break;
        case 3: text.resize(at); break;
      }
    }
    run(text);
  }
}

TEST(FuzzSeedsTest, Kubeconfig) { Mutate("kubeconfig", KubeconfigFuzz, 500); }
TEST(FuzzSeedsTest, Wire) { Mutate("wire", WireFuzz, 5000); }

}  // namespace
