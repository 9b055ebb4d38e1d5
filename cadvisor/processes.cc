#include "cadvisor/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "cadvisor/parse.h"

namespace skiff::cadvisor {

void CountDescriptors(const Host& host, pid_t pid, uint64_t* descriptors, uint64_t* sockets) {
  StatusOr<Fd> fd = host.proc.OpenFile(absl::StrCat(pid, "/fd"), O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) return;
  DIR* stream = fdopendir(fd->get());
  if (stream == nullptr) return;
  fd->Release();
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] == '.') continue;
    ++*descriptors;
    char target[8];
    const ssize_t n = readlinkat(dirfd(stream), entry->d_name, target, sizeof target);
    if (n >= 6 && memcmp(target, "socket", 6) == 0) ++*sockets;
  }
  closedir(stream);
}

StatusOr<std::optional<int64_t>> ParseMaxOpenFiles(std::string_view limits) {
  constexpr std::string_view kPrefix = "Max open files";
  std::string_view line, soft;
  while (NextLine(&limits, &line)) {
    if (!line.starts_with(kPrefix)) continue;
    std::string_view rest = line.substr(kPrefix.size());
    int64_t value = -1;
    if (!NextWord(&rest, &soft) || (soft != "unlimited" && !ParseNumber(soft, &value)))
      return Malformed("limits", line);
    return std::optional<int64_t>(value);
  }
  return std::nullopt;
}

StatusOr<std::optional<int64_t>> ReadMaxOpenFiles(const Host& host, pid_t pid) {
  const StatusOr<std::string> text = host.proc.Read(absl::StrCat(pid, "/limits"));
  if (!text.ok()) return std::nullopt;
  return ParseMaxOpenFiles(*text);
}

}  // namespace skiff::cadvisor
