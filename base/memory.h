// Memory that only the start of a program needed. Thread-safe; takes well under a millisecond.
#ifndef SKIFF_BASE_MEMORY_H_
#define SKIFF_BASE_MEMORY_H_

#include "base/async.h"

namespace skiff {

// Gives free heap back to the kernel and lets go of the pages of code and constants that were mapped in so far: what is
// used from now on comes back from the page cache one window at a time, what only the start used (flags, descriptors,
// libraries' initialisation) stays out. Called when a program has settled.
void ReleaseStartupMemory();

// Does so half a minute after the start and every ten minutes from then on, for what is needed once in a while (a TLS
// handshake). Until cancelled. Part of RunProgram.
Task<void> StaySmall();

}  // namespace skiff

#endif  // SKIFF_BASE_MEMORY_H_
