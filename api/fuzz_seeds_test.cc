// The fuzz targets over their seeds and a fixed number of mutations of them, in every test run.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <gtest/gtest.h>

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

namespace {

void Mutate(const char* name, int (*target)(const uint8_t*, size_t), int mutations) {
  const std::filesystem::path folder = std::filesystem::path("api/testdata/fuzz") / name;
  ASSERT_TRUE(std::filesystem::exists(folder)) << folder << ": run from the project's root";
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  std::sort(seeds.begin(), seeds.end());
  const auto run = [&](const std::string& text) { target(reinterpret_cast<const uint8_t*>(text.data()), text.size()); };
  for (const std::string& seed : seeds) run(seed);
  // FUZZ_ROUNDS=100 looks a hundred times as far, from another start.
  if (const char* rounds = std::getenv("FUZZ_ROUNDS")) mutations *= std::max(1, std::atoi(rounds));
  std::mt19937 random(static_cast<unsigned>(mutations));
  constexpr std::string_view kTokens[] = {"{", "}", "[",    "]",   "null", "\"",      ":",
                                          ",", "-", "0",    "9e9", "true", "$patch",  "\n",
                                          " ", "a", "name", "*x",  "&x",   "\\u0000", "\xff"};
  for (int i = 0; i < mutations; ++i) {
    std::string text = seeds[random() % seeds.size()];
    for (unsigned step = 0, steps = 1 + random() % 4; step < steps && !text.empty(); ++step) {
      const size_t at = random() % text.size();
      switch (random() % 5) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 8); break;
        case 2: text.insert(at, kTokens[random() % std::size(kTokens)]); break;
        case 3: text.insert(at, text.substr(random() % text.size(), random() % 32)); break;
        default: {
          // A value replaced by one of another type.
          const size_t end = text.find_first_of(",}]", at);
          if (end != std::string::npos) text.replace(at, end - at, kTokens[random() % std::size(kTokens)]);
        }
      }
    }
    run(text);
  }
}

TEST(FuzzSeeds, Quantity) { Mutate("quantity", &QuantityFuzz, 20000); }
TEST(FuzzSeeds, Selector) { Mutate("selector", &SelectorFuzz, 20000); }
TEST(FuzzSeeds, Json) { Mutate("json", &JsonFuzz, 3000); }
TEST(FuzzSeeds, Envelope) { Mutate("envelope", &EnvelopeFuzz, 3000); }
TEST(FuzzSeeds, Yaml) { Mutate("yaml", &YamlFuzz, 3000); }
TEST(FuzzSeeds, Patch) { Mutate("patch", &PatchFuzz, 1500); }

}  // namespace
