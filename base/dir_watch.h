// Tells that the entries of a directory changed (inotify), so that what it holds is read again: a level to look at, not
// a list of what happened, but for removals, which a look afterwards may not show. Loop only.
#ifndef SKIFF_BASE_DIR_WATCH_H_
#define SKIFF_BASE_DIR_WATCH_H_

#include <functional>
#include <memory>
#include <string>

#include "base/async.h"

namespace skiff {

// Notifies `changed` when an entry of `path` was made, written and closed, moved, removed, or got other attributes; not
// while one is being written. Ends with kNotFound when the directory is not there or goes away, with kCancelled when
// cancelled, and with what the kernel says when it has no watches left. Notifies once when the watch is in place: what
// changed before that is for the caller to see. `removed` gets the name of each entry that was removed or moved away,
// in order, before `changed` is notified: it may have come back meanwhile.
Task<Status> WatchDirectory(std::string path, std::shared_ptr<Wakeup> changed,
                            std::function<void(const std::string& name)> removed = {});

}  // namespace skiff

#endif  // SKIFF_BASE_DIR_WATCH_H_
