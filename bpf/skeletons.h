// The kernel programs that are built into this library, by the name of their source file.
#ifndef SKIFF_BPF_SKELETONS_H_
#define SKIFF_BPF_SKELETONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"

struct bpf_object;

namespace skiff::bpf {

enum class ProgramSet { kSocket, kUdpSockets, kPacket, kXdp };
inline constexpr ProgramSet kAllProgramSets[] = {ProgramSet::kSocket, ProgramSet::kUdpSockets, ProgramSet::kPacket,
                                                 ProgramSet::kXdp};

// Loaded programs of one set; they go when this goes, unless links hold them.
class Programs {
 public:
  // Maps are made or taken over below `maps_dir`, as Load in bpf/objects.h says.
  static StatusOr<Programs> Load(ProgramSet set, const std::string& maps_dir);
  Programs() = default;

  // Every program of the set, each by a link pinned as links_dir/PROGRAM.
  Status AttachCgroup(int cgroup_fd, const std::string& links_dir);
  // A descriptor of one program, which keeps it loaded.
  StatusOr<Fd> Take(const std::string& program);
  Status AttachIterator(const std::string& program, int map_fd, const std::string& pin);

 private:
  friend StatusOr<std::vector<struct VerifierStats>> Verify(ProgramSet set);
  static StatusOr<Programs> Open(ProgramSet set);

  std::shared_ptr<void> skeleton_;
  bpf_object* object_ = nullptr;
};

// What this kernel's verifier counted for a program that it accepted. The kernel gives up at a million processed.
struct VerifierStats {
  std::string program;
  uint64_t instructions = 0;  // as compiled
  uint64_t processed = 0, total_states = 0, peak_states = 0;
};

// Loads the set beside whatever runs, with maps of its own that go again at the end.
StatusOr<std::vector<VerifierStats>> Verify(ProgramSet set);

}  // namespace skiff::bpf

#endif  // SKIFF_BPF_SKELETONS_H_
