// /containerLogs and /logs.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/time.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/logs/container_log.h"
#include "kubelet/pod/types.h"
#include "kubelet/server/answers.h"
#include "kubelet/server/pages.h"

namespace skiff::kubelet {
namespace {

constexpr char kUndecodable[] = "{\"message\": \"Unable to decode query.\"}";
constexpr char kInvalid[] = "{\"message\": \"Invalid request.\"}";

struct LogQuery {
  LogOptions options;
  bool previous = false;
  int status = 200;  // else the answer for a bad query
};

void ParseBool(const http::Query& query, std::string_view name, bool* out) {
  if (!query.Has(name)) return;
  const std::string_view value = query.Get(name);
  // The API's query decoding: 0 and false are false, everything else (and nothing) is true.
  *out = !(value == "0" || absl::EqualsIgnoreCase(value, "false"));
}

void ParseInt(const http::Query& query, std::string_view name, std::optional<int64_t>* out, bool* bad) {
  const std::string_view text = query.Get(name);
  if (text.empty()) return;
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) {
    *bad = true;
    return;
  }
  *out = value;
}

LogQuery ParseQuery(const http::Query& query, Clock& clock) {
  LogQuery out;
  bool bad = false;
  std::optional<int64_t> since_seconds;
  ParseBool(query, "follow", &out.options.follow);
  ParseBool(query, "timestamps", &out.options.timestamps);
  ParseBool(query, "previous", &out.previous);
  const std::string_view tail = query.Get("tail");
  if (tail.empty()) {
    ParseInt(query, "tailLines", &out.options.tail_lines, &bad);
  } else if (tail != "all") {
    ParseInt(query, "tail", &out.options.tail_lines, &bad);
  }
  ParseInt(query, "limitBytes", &out.options.limit_bytes, &bad);
  ParseInt(query, "sinceSeconds", &since_seconds, &bad);
  const std::string_view since = query.Get("sinceTime");
  if (!since.empty()) {
    if (auto time = api::ParseWallTime(since); time.ok()) {
      out.options.since = *time;
    } else {
      bad = true;
    }
  }
  if (bad) {
    out.status = 400;
    return out;
  }
  const bool negative = (out.options.tail_lines && *out.options.tail_lines < 0) ||
                        (out.options.limit_bytes && *out.options.limit_bytes < 1) ||
                        (since_seconds && *since_seconds < 1) || (since_seconds && !since.empty());
  if (negative) out.status = 422;
  if (since_seconds) out.options.since = clock.Now() - std::chrono::seconds(*since_seconds);
  return out;
}

// What a log stream needs while it runs; the handler's frame outlives it.
struct LogStream {
  http::Exchange& exchange;
  ServerHost& host;
  std::string container_id;

  Task<Status> Send(std::string_view text) { return exchange.Write(text); }
  Task<bool> Running() {
    auto running = co_await host.IsRunning(container_id);
    // A runtime that cannot be asked does not end the log.
    co_return !running.ok() || *running;
  }
};

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&#34;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

StatusOr<std::string> Listing(const Dir& dir) {
  std::string out = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n";
  ASSIGN_OR_RETURN(const auto names, dir.List());
  for (const std::string& name : names) {
    struct stat st {};
    if (fstatat(dir.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const std::string shown = S_ISDIR(st.st_mode) ? absl::StrCat(name, "/") : name;
    std::string link;
    for (std::string_view part : absl::StrSplit(name, '/')) link += http::PercentEncode(part);
    if (S_ISDIR(st.st_mode)) link += "/";
    absl::StrAppend(&out, "<a href=\"", link, "\">", EscapeHtml(shown), "</a>\n");
  }
  return out + "</pre>\n";
}

struct NodeLog {
  struct stat st {};
  std::string listing;  // of a directory
  Fd file;
};

// Blocking: directories of logs may be large, and slow to read.
Status OpenNodeLog(const std::string& root_dir, const std::string& path, bool list, NodeLog* out) {
  ASSIGN_OR_RETURN(const Dir root, Dir::Open(root_dir));
  if (auto dir = root.OpenDir(path.empty() ? "." : path); dir.ok()) {
    if (fstatat(dir->fd(), ".", &out->st, 0) != 0) return ErrnoStatus(errno, path);
    if (!list) return absl::OkStatus();
    ASSIGN_OR_RETURN(out->listing, Listing(*dir));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(out->file, root.OpenFile(path, O_RDONLY | O_NONBLOCK));
  if (fstat(out->file.get(), &out->st) != 0) return ErrnoStatus(errno, path);
  return S_ISREG(out->st.st_mode) ? absl::OkStatus() : InvalidArgument(path, " is not a file");
}

}  // namespace

Task<void> ServeContainerLogs(http::Exchange& exchange, std::string ns, std::string name, std::string container,
                              const KubeletServerOptions& options, ServerHost& host, Clock& clock) {
  LogQuery query = ParseQuery(exchange.request().query, clock);
  if (query.status != 200) {
    co_return co_await AnswerText(exchange, query.status, query.status == 400 ? kUndecodable : kInvalid);
  }
  const std::string_view stream = exchange.request().query.Get("stream");
  if (!stream.empty() && stream != "All") {
    co_return co_await AnswerText(exchange, 400,
                                  absl::StrCat("unable to return the given log stream: \"", stream,
                                               "\". Please enable PodLogsQuerySplitStreams feature gate in kubelet"));
  }
  const auto pod = host.PodByName(ns, name);
  if (pod == nullptr) co_return co_await AnswerText(exchange, 404, absl::StrCat("pod \"", name, "\" does not exist"));
  if (FindContainer(*pod, container) == nullptr && FindEphemeral(*pod, container) == nullptr) {
    co_return co_await AnswerText(exchange, 404,
                                  absl::StrCat("container \"", container, "\" not found in pod \"", name, "\""));
  }
  auto log = co_await host.LogOf(*pod, container, query.previous);
  if (!log.ok()) {
    // Upstream has answered before it asks the runtime, so that a container that is gone from there is told of in a
    // 200.
    const int code = absl::IsNotFound(log.status()) ? 200 : 400;
    if (!(co_await exchange.Begin(code, {})).ok()) co_return;
    (co_await exchange.Write(log.status().message())).IgnoreError();
    (co_await exchange.End()).IgnoreError();
    co_return;
  }
  if (!(co_await exchange.Begin(200, {})).ok()) co_return;
  LogStream state{exchange, host, log->id};
  LogSink sink = [&state](std::string_view text) { return state.Send(text); };
  LogRunning running = [&state] { return state.Running(); };
  Status status = co_await ReadContainerLog(options.pod_logs_dir, log->path, query.options, std::move(sink),
                                            std::move(running), clock);
  if (absl::IsCancelled(status)) co_return;
  if (!status.ok()) (co_await exchange.Write(status.message())).IgnoreError();
  (co_await exchange.End()).IgnoreError();
}

Task<void> ServeNodeLogs(http::Exchange& exchange, std::string path, const KubeletServerOptions& options) {
  while (!path.empty() && path.back() == '/') path.pop_back();
  const bool as_directory = exchange.request().path.back() == '/';
  NodeLog log;
  std::function<Status()> open = [&log, &path, as_directory, root = options.system_log_dir] {
    return OpenNodeLog(root, path, as_directory, &log);
  };
  if (!(co_await RunBlocking(std::move(open))).ok()) co_return co_await AnswerNotFound(exchange);
  const bool directory = S_ISDIR(log.st.st_mode);
  if (directory && !as_directory) {
    co_return co_await AnswerRedirect(exchange, absl::StrCat(path.substr(path.rfind('/') + 1), "/"));
  }
  http::Headers headers{{"Content-Type", directory ? "text/html; charset=utf-8" : "text/plain; charset=utf-8"},
                        {"Last-Modified", http::FormatDate(std::chrono::system_clock::from_time_t(log.st.st_mtime))}};
  if (directory) {
    (co_await exchange.Respond(200, std::move(headers), std::move(log.listing))).IgnoreError();
    co_return;
  }
  if (!(co_await exchange.Begin(200, std::move(headers))).ok()) co_return;
  std::string buffer(64 << 10, '\0');
  for (int64_t left = log.st.st_size; left > 0;) {
    ssize_t n = 0;
    std::function<Status()> piece = [&buffer, &n, left, fd = log.file.get()] {
      n = read(fd, buffer.data(), std::min<int64_t>(left, static_cast<int64_t>(buffer.size())));
      return absl::OkStatus();
    };
    if (!(co_await RunBlocking(std::move(piece))).ok() || n <= 0) break;
    if (!(co_await exchange.Write(std::string_view(buffer).substr(0, n))).ok()) co_return;
    left -= n;
  }
  (co_await exchange.End()).IgnoreError();
}

}  // namespace skiff::kubelet
