// WriteFileAtomic in two steps, for state that is written often and read after a crash.
#ifndef SKIFF_BASE_FILES_ORDERED_H_
#define SKIFF_BASE_FILES_ORDERED_H_

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff {

// write + fsync + rename: whenever the machine crashes, the file is the old or the new one, never a part of it. Unlike
// WriteFileAtomic it may still be the old one if that is a few seconds after the call; it costs one wait for the disk
// less. Blocking; thread-safe.
Status WriteFileOrdered(const std::string& path, std::string_view data, mode_t mode = 0644);

// The wait that it saved: once this returns, a crash leaves the file as it was written last. Blocking; thread-safe.
Status SyncFileName(const std::string& path);

}  // namespace skiff

#endif  // SKIFF_BASE_FILES_ORDERED_H_
