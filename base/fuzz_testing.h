// For tests: a fuzz target over its seeds and a fixed number of mutations of them, so that every test run exercises
// what libFuzzer (the preset `fuzz`) looks at for longer. FUZZ_ROUNDS=100 looks a hundred times as far, from another
// start.
#ifndef SKIFF_BASE_FUZZ_TESTING_H_
#define SKIFF_BASE_FUZZ_TESTING_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace skiff {

// `folder` is relative to the project's root, which is where tests run.
inline void RunFuzzSeeds(const std::string& folder, int (*target)(const uint8_t*, size_t), int mutations) {
  ASSERT_TRUE(std::filesystem::exists(folder)) << folder << ": run from the project's root";
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  ASSERT_FALSE(seeds.empty());
  std::sort(seeds.begin(), seeds.end());
  const auto run = [&](const std::string& text) { target(reinterpret_cast<const uint8_t*>(text.data()), text.size()); };
  for (const std::string& seed : seeds) run(seed);
  if (const char* rounds = std::getenv("FUZZ_ROUNDS")) mutations *= std::max(1, std::atoi(rounds));
  std::mt19937 random(static_cast<unsigned>(mutations));
  constexpr std::string_view kTokens[] = {"{", "}", "[",    "]",   "null", "\"",      ":",
                                          ",", "-", "0",    "9e9", "true", "$patch",  "\n",
                                          " ", "a", "name", "*x",  "&x",   "\\u0000", "\xff"};
  for (int i = 0; i < mutations; ++i) {
    std::string text = seeds[random() % seeds.size()];
    for (unsigned step = 0, steps = 1 + random() % 4; step < steps && !text.empty(); ++step) {
      const size_t at = random() % text.size();
      switch (random() % 6) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 16); break;
        case 2: text.insert(at, kTokens[random() % std::size(kTokens)]); break;
        case 3: text.insert(at, text.substr(random() % text.size(), random() % 32)); break;
        case 4: text.resize(at); break;
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

}  // namespace skiff

#endif  // SKIFF_BASE_FUZZ_TESTING_H_
