// Tells that the entries of a directory changed (inotify), so that what it holds is read again: a level to look at, not
// a list of what happened. Loop only.
#ifndef SKIFF_BASE_DIR_WATCH_H_
#define SKIFF_BASE_DIR_WATCH_H_

#include <memory>
#include <string>

#include "base/async.h"

namespace skiff {

// Notifies `changed` when an entry of `path` was made, written and closed, moved, removed, or got other attributes; not
// while one is being written. Ends with kNotFound when the directory is not there or goes away, with kCancelled when
// cancelled, and with what the kernel says when it has no watches left. Notifies once when the watch is in place: what
// changed before that is for the caller to see.
Task<Status> WatchDirectory(std::string path, std::shared_ptr<Wakeup> changed);

}  // namespace skiff

#endif  // SKIFF_BASE_DIR_WATCH_H_
