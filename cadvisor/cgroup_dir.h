// One cgroup's open directories and the formats of the files in them. Used by the two readers, for v1 and v2.
#ifndef SKIFF_CADVISOR_CGROUP_DIR_H_
#define SKIFF_CADVISOR_CGROUP_DIR_H_

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "cadvisor/stats.h"

namespace skiff::cadvisor {

class Cgroup {
 public:
  // `controller` is "" on v2.
  void Add(std::string controller, Dir dir) { dirs_.emplace(std::move(controller), std::move(dir)); }
  bool Has(std::string_view controller) const { return dirs_.find(controller) != dirs_.end(); }
  bool empty() const { return dirs_.empty(); }
  const std::map<std::string, Dir, std::less<>>& dirs() const { return dirs_; }

  // The text of a file; none where the controller or the file is missing or does not answer here (ENODEV, EOPNOTSUPP).
  StatusOr<std::optional<std::string>> Text(std::string_view controller, const std::string& file) const;
  // A single number; "max" is UINT64_MAX, -1 too. *out stays where the file is missing; `found` says so.
  Status Number(std::string_view controller, const std::string& file, uint64_t* out, bool* found = nullptr) const;
  // Lines of "key number"; keys that are not wanted are skipped, those that are missing leave their value. Returns
  // whether the file is there.
  struct Key {
    std::string_view name;
    uint64_t* value;
  };
  StatusOr<bool> FlatKeyed(std::string_view controller, const std::string& file, std::initializer_list<Key> keys) const;
  // A pressure file; none where the kernel has none.
  StatusOr<std::optional<Psi>> Pressure(const std::string& file) const;
  // The processes in cgroup.procs.
  StatusOr<std::vector<pid_t>> Pids(std::string_view controller) const;
  std::string Name(std::string_view controller, const std::string& file) const;

 private:
  std::map<std::string, Dir, std::less<>> dirs_;
};

// The formats alone, for tests and fuzzing.
StatusOr<Psi> ParsePressure(std::string_view name, std::string_view text);
// v1: "8:0 Read 4096" lines into devices; `field` says where the operations go.
Status ParseBlkio(std::string_view name, std::string_view text, DiskIo::Operations DiskIo::*field,
                  std::vector<DiskIo>* devices);
// v2: "8:0 rbytes=1 wbytes=2 .." lines.
Status ParseIoStat(std::string_view name, std::string_view text, std::vector<DiskIo>* devices);

// What the tree calls; cpu_and_memory_only skips the rest.
Status ReadStatsV1(const Cgroup& cgroup, bool cpu_and_memory_only, CgroupStats* stats);
Status ReadStatsV2(const Cgroup& cgroup, bool is_root, bool cpu_and_memory_only, CgroupStats* stats);
Status ReadSpecV1(const Cgroup& cgroup, CgroupSpec* spec);
Status ReadSpecV2(const Cgroup& cgroup, bool is_root, CgroupSpec* spec);

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_CGROUP_DIR_H_
