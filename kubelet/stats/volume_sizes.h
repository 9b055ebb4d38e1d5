// What volumes hold. Measuring walks them, which may take minutes, so it is done beside the readers: they get the last
// figures, and what is out of date is measured meanwhile. Upstream: volumeStatsAggPeriod. Loop only; the work is done
// on the blocking pool, of all walks together one short piece at a time. A piece that hangs (a dead server's mount
// below a volume) is left to itself, and the other volumes are measured.
#ifndef SKIFF_KUBELET_STATS_VOLUME_SIZES_H_
#define SKIFF_KUBELET_STATS_VOLUME_SIZES_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "cadvisor/filesystem.h"
#include "kubelet/stats/usage.h"

namespace skiff::kubelet {

struct VolumeFigures {
  cadvisor::FsStats fs;
  DiskUse used;
  StatsTime time{};
};

class VolumeSizes {
 public:
  struct Options {
    std::chrono::nanoseconds period = std::chrono::minutes(1);  // between measurements; 0 and less: nothing is measured
    std::chrono::nanoseconds patience = std::chrono::seconds(1);
    // Of a walk at a time: those of several volumes take turns.
    cadvisor::WalkBounds piece{.entries = 50'000, .time = std::chrono::milliseconds(100)};
    std::chrono::nanoseconds hang = std::chrono::seconds(10);  // a piece that takes longer holds up no other volume
  };
  struct Volume {
    std::string path;
    bool walked = true;  // else what its file system says is what it holds
  };

  explicit VolumeSizes(Options options);
  ~VolumeSizes();  // walks end with their piece
  VolumeSizes(const VolumeSizes&) = delete;
  VolumeSizes& operator=(const VolumeSizes&) = delete;

  // Has measured what is due; waits only for what never was measured, no longer than `patience`, and for each volume
  // once.
  Task<void> Refresh(std::vector<Volume> volumes);
  // While a walk is under way: what the last one found, or what this one has found already, if that is more. None where
  // the volume cannot be measured, or not yet.
  std::optional<VolumeFigures> Latest(const std::string& path) const;

 private:
  struct Entry;
  struct State;
  struct Walker;
  static Task<void> Walk(std::shared_ptr<State> state, std::shared_ptr<Walker> walker);
  static Task<void> AskFileSystem(std::shared_ptr<State> state, std::shared_ptr<Entry> entry);
  std::shared_ptr<State> state_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_STATS_VOLUME_SIZES_H_
