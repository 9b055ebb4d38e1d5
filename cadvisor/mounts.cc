#include "cadvisor/mounts.h"

#include "cadvisor/parse.h"

namespace skiff::cadvisor {
namespace {

// Blanks, line ends and backslashes stand as octal escapes.
std::string Unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i++) {
    const auto digit = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace

StatusOr<std::vector<Mount>> ParseMountinfo(std::string_view text) {
  std::vector<Mount> mounts;
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view whole = line;
    std::string_view id, parent, device, root, mountpoint, options, word, type, source;
    if (Trim(line).empty()) continue;
    if (!NextWord(&line, &id) || !NextWord(&line, &parent) || !NextWord(&line, &device) || !NextWord(&line, &root) ||
        !NextWord(&line, &mountpoint) || !NextWord(&line, &options)) {
      return Malformed("mountinfo", whole);
    }
    // Any number of optional fields, then a dash.
    do {
      if (!NextWord(&line, &word)) return Malformed("mountinfo", whole);
    } while (word != "-");
    if (!NextWord(&line, &type)) return Malformed("mountinfo", whole);
    NextWord(&line, &source);  // an empty source is possible
    Mount mount;
    const size_t colon = device.find(':');
    if (colon == std::string_view::npos || !ParseNumber(device.substr(0, colon), &mount.major) ||
        !ParseNumber(device.substr(colon + 1), &mount.minor)) {
      return Malformed("mountinfo", whole);
    }
    mount.root = Unescape(root);
    mount.mountpoint = Unescape(mountpoint);
    mount.type = type;
    mount.source = Unescape(source);
    if (mount.mountpoint.empty() || mount.mountpoint[0] != '/') return Malformed("mountinfo", whole);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

StatusOr<std::vector<DiskStats>> ParseDiskstats(std::string_view text) {
  std::vector<DiskStats> disks;
  std::string_view line;
  while (NextLine(&text, &line)) {
    const std::string_view whole = line;
    if (Trim(line).empty()) continue;
    DiskStats disk;
    std::string_view major, minor, name, word;
    if (!NextWord(&line, &major) || !NextWord(&line, &minor) || !NextWord(&line, &name) ||
        !ParseNumber(major, &disk.major) || !ParseNumber(minor, &disk.minor)) {
      return Malformed("diskstats", whole);
    }
    disk.name = name;
    for (uint64_t& value : disk.values) {
      if (!NextWord(&line, &word) || !ParseNumber(word, &value)) return Malformed("diskstats", whole);
    }
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace skiff::cadvisor
