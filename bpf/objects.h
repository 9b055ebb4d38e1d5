// Kernel objects by libbpf: bpffs, pinned maps, programs loaded with the verifier's log in the error, links that are
// pinned and replaced atomically. Blocking (milliseconds); any thread, one at a time for an object.
#ifndef SKIFF_BPF_OBJECTS_H_
#define SKIFF_BPF_OBJECTS_H_

#include <functional>
#include <string>

#include "base/files.h"
#include "base/status.h"

struct bpf_object;
struct bpf_program;

namespace skiff::bpf {

// `dir` exists and lies on a bpffs afterwards. Where it does not yet, a bpffs is mounted: at /sys/fs/bpf for a path
// below it, at `dir` itself otherwise.
Status EnsureBpffs(const std::string& dir);
// Removes `dir`, empty by now, and the bpffs if one is mounted at `dir` itself. kNotFound is OK.
Status RemoveBpffsDir(const std::string& dir);

// Where the cgroup v2 hierarchy is mounted (its root, if several mounts show parts). kNotFound if nowhere.
StatusOr<std::string> FindCgroup2(const std::string& mountinfo = "/proc/self/mountinfo");

// The cookie of the calling thread's network namespace, as bpf_get_netns_cookie gives it.
StatusOr<uint64_t> NetnsCookie();

// Loads what `open` opened (a skeleton's object). Each map is pinned below `dir` by its name, or taken from there if
// one with the same definition is pinned already ("": nothing is pinned). Errors hold libbpf's messages with the
// verifier's log.
Status Load(bpf_object* object, const std::string& dir);

// The program is attached to the cgroup by a link pinned at `pin`. A link that is there already is switched to the
// program atomically; one that belongs to another cgroup or to a removed one is replaced.
Status AttachCgroup(bpf_program* program, int cgroup_fd, const std::string& pin);
// The same for an iterator over a map; the link is always made anew.
Status AttachIterator(bpf_program* program, int map_fd, const std::string& pin);

StatusOr<Fd> OpenPinned(const std::string& path);

// Runs a pinned iterator and hands over what it writes.
Status RunIterator(const std::string& link_pin, const std::function<void(std::string_view)>& data);

}  // namespace skiff::bpf

#endif  // SKIFF_BPF_OBJECTS_H_
