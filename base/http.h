// HTTP/1.1 message pieces shared by server and client. No I/O here; plain values, no thread affinity.
#ifndef SKIFF_BASE_HTTP_H_
#define SKIFF_BASE_HTTP_H_

#include <chrono>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async.h"

namespace skiff::http {

// Header fields in order; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  std::string_view Get(std::string_view name) const;  // the first, or ""
  bool Has(std::string_view name) const;
  std::vector<std::string_view> All(std::string_view name) const;
  void Set(std::string_view name, std::string_view value);  // replaces
  void Add(std::string_view name, std::string_view value);
  void Remove(std::string_view name);
  // True if a comma-separated header holds the token, without case ("Connection" holds "upgrade").
  bool HasToken(std::string_view name, std::string_view token) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// A query string, decoded; order and repeats kept.
class Query {
 public:
  static Query Parse(std::string_view raw);
  std::string_view Get(std::string_view key) const;  // the first, or ""
  bool Has(std::string_view key) const;
  std::vector<std::string> All(std::string_view key) const;
  void Add(std::string_view key, std::string_view value) { pairs_.emplace_back(key, value); }
  std::string Encode() const;  // "a=1&b=x%20y", or ""
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

std::string PercentEncode(std::string_view text);                    // everything but unreserved characters
std::string PercentDecode(std::string_view text);                    // malformed escapes are kept as they are
std::string_view ReasonPhrase(int status);                           // "Not Found"; "" if unknown
std::string FormatDate(std::chrono::system_clock::time_point time);  // "Sat, 21 Nov 2026 06:20:19 GMT"
bool EqualsIgnoreCase(std::string_view a, std::string_view b);       // ASCII

// A bidirectional byte stream: an upgraded connection, a raw tunnel. Reads and writes may run at the same time from two
// coroutines; two reads (or two writes) may not.
class Stream {
 public:
  virtual ~Stream() = default;
  // At least one byte, or 0 at the end of the peer's data.
  virtual Task<StatusOr<size_t>> Read(std::span<char> buffer) = 0;
  virtual Task<Status> Write(std::string_view data) = 0;  // all of it; kept valid by the caller until done
  virtual void CloseWrite() = 0;                          // half-close where the transport can
  virtual void Close() = 0;                               // pending operations end with kCancelled
};

// Copies both ways until both sides have ended; each side's end is passed on as a half-close, an error closes both.
Task<void> Relay(Stream& a, Stream& b);

// Two connected in-memory streams, for tests.
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> StreamPair(asio::any_io_executor executor);

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_H_
