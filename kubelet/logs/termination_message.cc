// Termination messages: bounded reads of what a container left behind.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "kubelet/logs/container_log.h"
#include "kubelet/logs/cri_log_line.h"

namespace skiff::kubelet {
namespace {

constexpr off_t kMessageLimit = 4096;
constexpr size_t kLogLimit = 2048;
constexpr int kLogLines = 80;
// Of the log's end this much is looked at for its last lines: 80 full lines of 16 KiB would not fit the message anyway.
constexpr off_t kLogWindow = 64 << 10;

StatusOr<std::string> ReadEnd(int fd, off_t limit) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return ErrnoStatus(errno, "fstat");
  if (!S_ISREG(st.st_mode)) return InvalidArgument("not a regular file");
  const off_t start = st.st_size > limit ? st.st_size - limit : 0;
  std::string out(static_cast<size_t>(std::min(st.st_size, limit)), '\0');
  const ssize_t n = pread(fd, out.data(), out.size(), start);
  if (n < 0) return ErrnoStatus(errno, "read");
  out.resize(n);
  return out;
}

std::string LastLogLines(const std::string& logs_dir, const std::string& log_path) {
  std::string_view root = logs_dir;
  while (root.size() > 1 && root.back() == '/') root.remove_suffix(1);
  if (!absl::StartsWith(log_path, absl::StrCat(root, "/"))) return "";
  const auto read = [&]() -> StatusOr<std::string> {
    ASSIGN_OR_RETURN(const Dir dir, Dir::Open(logs_dir));
    ASSIGN_OR_RETURN(const Fd fd, dir.OpenFile(log_path.substr(root.size() + 1), O_RDONLY | O_NONBLOCK));
    return ReadEnd(fd.get(), kLogWindow);
  };
  const auto text = read();
  if (!text.ok()) return absl::StrCat("Error on reading termination message from logs: ", text.status().message());
  std::vector<std::string_view> lines = absl::StrSplit(*text, '\n');
  const bool ended = !lines.empty() && lines.back().empty();
  if (ended) lines.pop_back();
  const size_t skip = lines.size() > kLogLines ? lines.size() - kLogLines : 0;
  std::string out;
  for (size_t i = skip; i < lines.size(); ++i) {
    // Back with its newline: the parser says what belongs to the text.
    const bool last_cut = i + 1 == lines.size() && !ended;
    const std::string_view raw(lines[i].data(), lines[i].size() + (last_cut ? 0 : 1));
    if (const auto line = ParseCriLogLine(raw)) absl::StrAppend(&out, line->text);
  }
  return out.size() > kLogLimit ? out.substr(out.size() - kLogLimit) : out;
}

}  // namespace

std::string ReadTerminationMessage(const std::string& host_path, bool fallback_to_logs, const std::string& logs_dir,
                                   const std::string& log_path) {
  std::string message;
  if (!host_path.empty()) {
    const Fd fd(open(host_path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd.valid()) {
      auto read = ReadEnd(fd.get(), kMessageLimit);
      if (!read.ok()) {
        return absl::StrCat("Error on reading termination log ", host_path, ": ", read.status().message());
      }
      message = *std::move(read);
    } else if (errno != ENOENT) {
      return absl::StrCat("Error on reading termination log ", host_path, ": ", ErrnoStatus(errno, "open").message());
    }
  }
  if (message.empty() && fallback_to_logs) return LastLogLines(logs_dir, log_path);
  return message;
}

}  // namespace skiff::kubelet
