// Coroutines without which a program only looks well.
#ifndef SKIFF_BASE_VITAL_H_
#define SKIFF_BASE_VITAL_H_

#include <string>

#include "base/async.h"

namespace skiff {

// `task`, which runs as long as the program. An exception out of it (a bug) ends the process with exit code 1 and a
// line in the log: whoever supervises it starts it anew, which what it serves does not notice, while without that part
// it would go on and do half its work. Upstream's panics do the same.
Task<void> Vital(std::string name, Task<void> task);
void SpawnVital(TaskGroup& group, const std::string& name, Task<void> task);

}  // namespace skiff

#endif  // SKIFF_BASE_VITAL_H_
