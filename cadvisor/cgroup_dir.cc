#include "cadvisor/cgroup_dir.h"

#include <algorithm>
#include <cerrno>

#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

DiskIo* DeviceOf(std::string_view numbers, std::vector<DiskIo>* devices) {
  const size_t colon = numbers.find(':');
  uint32_t major = 0, minor = 0;
  if (colon == std::string_view::npos || !ParseNumber(numbers.substr(0, colon), &major) ||
      !ParseNumber(numbers.substr(colon + 1), &minor)) {
    return nullptr;
  }
  for (DiskIo& device : *devices) {
    if (device.major == major && device.minor == minor) return &device;
  }
  DiskIo& device = devices->emplace_back();
  device.major = major;
  device.minor = minor;
  return &device;
}

}  // namespace

std::string Cgroup::Name(std::string_view controller, const std::string& file) const {
  const auto it = dirs_.find(controller);
  return it == dirs_.end() ? file : JoinPath(it->second.path(), file);
}

StatusOr<std::optional<std::string>> Cgroup::Text(std::string_view controller, const std::string& file) const {
  const auto it = dirs_.find(controller);
  if (it == dirs_.end()) return std::nullopt;
  StatusOr<std::string> text = it->second.Read(file);
  if (text.ok()) return std::optional<std::string>(*std::move(text));
  switch (ErrnoOf(text.status())) {
    // ENODEV: the cgroup was removed under us; EOPNOTSUPP: a threaded cgroup, or pressure accounting switched off;
    // ENODATA and EIO come from controllers that have nothing to say.
    case ENOENT:
    case ENODEV:
    case EOPNOTSUPP:
    case ENODATA:
    case EIO: return std::nullopt;
    default: return text.status();
  }
}

Status Cgroup::Number(std::string_view controller, const std::string& file, uint64_t* out, bool* found) const {
  if (found != nullptr) *found = false;
  ASSIGN_OR_RETURN(const std::optional<std::string> text, Text(controller, file));
  if (!text) return absl::OkStatus();
  const std::string_view value = Trim(*text);
  if (value == "max" || value == "-1") {
    *out = UINT64_MAX;
  } else if (!ParseNumber(value, out)) {
    return Malformed(Name(controller, file), value);
  }
  if (found != nullptr) *found = true;
  return absl::OkStatus();
}

StatusOr<bool> Cgroup::FlatKeyed(std::string_view controller, const std::string& file,
                                 std::initializer_list<Key> keys) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, Text(controller, file));
  if (!text) return false;
  std::string_view rest = *text, line;
  while (NextLine(&rest, &line)) {
    const std::string_view whole = line;
    std::string_view key, value;
    if (!NextWord(&line, &key)) continue;
    for (const Key& wanted : keys) {
      if (wanted.name != key) continue;
      if (!NextWord(&line, &value) || !ParseNumber(value, wanted.value))
        return Malformed(Name(controller, file), whole);
      break;
    }
  }
  return true;
}

StatusOr<std::optional<Psi>> Cgroup::Pressure(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, Text("", file));
  if (!text) return std::nullopt;
  ASSIGN_OR_RETURN(const Psi psi, ParsePressure(Name("", file), *text));
  return std::optional<Psi>(psi);
}

StatusOr<std::vector<pid_t>> Cgroup::Pids(std::string_view controller) const {
  std::vector<pid_t> pids;
  ASSIGN_OR_RETURN(const std::optional<std::string> text, Text(controller, "cgroup.procs"));
  if (!text) return pids;
  std::string_view rest = *text, line;
  while (NextLine(&rest, &line)) {
    pid_t pid = 0;
    if (Trim(line).empty()) continue;
    if (!ParseNumber(Trim(line), &pid) || pid < 0) return Malformed(Name(controller, "cgroup.procs"), line);
    if (pid != 0) pids.push_back(pid);
  }
  return pids;
}

StatusOr<Psi> ParsePressure(std::string_view name, std::string_view text) {
  Psi psi;
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view whole = line;
    std::string_view word;
    if (!NextWord(&line, &word)) continue;
    Psi::Line* into = word == "some" ? &psi.some : word == "full" ? &psi.full : nullptr;
    if (into == nullptr) return Malformed(name, whole);
    while (NextWord(&line, &word)) {
      const size_t equals = word.find('=');
      if (equals == std::string_view::npos) return Malformed(name, whole);
      const std::string_view key = word.substr(0, equals), value = word.substr(equals + 1);
      const bool good = key == "avg10"    ? ParseNumber(value, &into->avg10)
                        : key == "avg60"  ? ParseNumber(value, &into->avg60)
                        : key == "avg300" ? ParseNumber(value, &into->avg300)
                        : key == "total"  ? ParseNumber(value, &into->total_us)
                                          : true;
      if (!good) return Malformed(name, whole);
    }
  }
  return psi;
}

Status ParseBlkio(std::string_view name, std::string_view text, DiskIo::Operations DiskIo::*field,
                  std::vector<DiskIo>* devices) {
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view whole = line;
    std::string_view numbers, operation, value;
    if (!NextWord(&line, &numbers) || numbers == "Total") continue;  // the sum over all devices closes the file
    uint64_t count = 0;
    if (!NextWord(&line, &operation)) return Malformed(name, whole);
    // Some files have no operations: "8:0 1234" counts for all.
    if (!NextWord(&line, &value)) {
      value = operation;
      operation = "Total";
    }
    DiskIo* device = ParseNumber(value, &count) ? DeviceOf(numbers, devices) : nullptr;
    if (device == nullptr) return Malformed(name, whole);
    (device->*field).emplace_back(operation, count);
  }
  return absl::OkStatus();
}

Status ParseIoStat(std::string_view name, std::string_view text, std::vector<DiskIo>* devices) {
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view whole = line;
    std::string_view word;
    size_t device = SIZE_MAX;
    while (NextWord(&line, &word)) {
      const size_t equals = word.find('=');
      if (equals == std::string_view::npos) {
        // Kernels before 6.1 may put several devices without figures in front of one that has some.
        const DiskIo* found = DeviceOf(word, devices);
        if (found == nullptr) return Malformed(name, whole);
        device = static_cast<size_t>(found - devices->data());
        continue;
      }
      if (device == SIZE_MAX) return Malformed(name, whole);
      DiskIo& io = (*devices)[device];
      const std::string_view key = word.substr(0, equals), text_value = word.substr(equals + 1);
      const bool is_cost = key.starts_with("cost.");
      if (!is_cost && key != "rbytes" && key != "wbytes" && key != "rios" && key != "wios") continue;
      uint64_t value = 0;
      // cost.vrate is a percentage with a point; it describes the device, not the cgroup.
      if (key == "cost.vrate") continue;
      if (!ParseNumber(text_value, &value)) return Malformed(name, whole);
      if (key == "rbytes") {
        io.bytes.emplace_back("Read", value);
      } else if (key == "wbytes") {
        io.bytes.emplace_back("Write", value);
      } else if (key == "rios") {
        io.operations.emplace_back("Read", value);
      } else if (key == "wios") {
        io.operations.emplace_back("Write", value);
      } else {
        if (!io.cost) io.cost.emplace();
        if (key == "cost.usage") io.cost->usage_us = value;
        if (key == "cost.wait") io.cost->wait_us = value;
        if (key == "cost.indebt") io.cost->indebt_us = value;
        if (key == "cost.indelay") io.cost->indelay_us = value;
      }
    }
  }
  std::erase_if(*devices, [](const DiskIo& d) { return d.bytes.empty() && d.operations.empty() && !d.cost; });
  return absl::OkStatus();
}

}  // namespace skiff::cadvisor
