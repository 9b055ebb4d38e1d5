// Paths as text: no file system is asked, so symbolic links do not count. Thread-safe.
#ifndef SKIFF_BASE_PATHS_H_
#define SKIFF_BASE_PATHS_H_

#include <string>
#include <string_view>

namespace skiff {

// The absolute path without empty, "." and ".." segments and without a slash at its end; "/" for what leads to the root
// or above it (path.Clean of Go, for absolute paths).
std::string CleanPath(std::string_view path);

}  // namespace skiff

#endif  // SKIFF_BASE_PATHS_H_
