// For fuzz targets: a new folder below $TMPDIR (a tmpfs is many times faster here than a disk) or /tmp.
#ifndef SKIFF_BASE_FUZZ_DIR_H_
#define SKIFF_BASE_FUZZ_DIR_H_

#include <stdlib.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace skiff {

inline std::string MakeFuzzDir() {
  const char* parent = getenv("TMPDIR");
  std::string name = std::string(parent != nullptr ? parent : "/tmp") + "/skiff-fuzz-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) abort();
  return name;
}

inline void WriteFuzzFile(const std::string& path, std::string_view text) {
  FILE* out = fopen(path.c_str(), "w");
  if (out == nullptr || fwrite(text.data(), 1, text.size(), out) != text.size() || fclose(out) != 0) abort();
}

}  // namespace skiff

#endif  // SKIFF_BASE_FUZZ_DIR_H_
