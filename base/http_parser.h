// HTTP/1 messages from bytes, on Beast's parser but straight into our types. Internal to base; no I/O.
#ifndef SKIFF_BASE_HTTP_PARSER_H_
#define SKIFF_BASE_HTTP_PARSER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/http.h"

namespace skiff::http {

struct Head {
  std::string method, target;  // of a request
  int status = 0;              // of a response
  int version = 11;            // 10 or 11
  Headers headers;
};

// One message. Feed it what was read; it says how much it took. Bytes that it did not take are given again, with more
// behind them.
class Parser {
 public:
  enum class Result {
    kOk,        // progress was made
    kNeedMore,  // nothing to be done with these bytes alone
    kMalformed,
    kTooLarge,  // the head is longer than the limit
  };

  static std::unique_ptr<Parser> ForRequest(size_t header_limit);
  // `no_body`: the answer to HEAD.
  static std::unique_ptr<Parser> ForResponse(size_t header_limit, bool no_body);
  virtual ~Parser() = default;

  // Until head_done().
  virtual Result PutHead(std::string_view data, size_t* used) = 0;
  // Moves body bytes from `data` to `out`; *produced may stay 0 while framing is consumed.
  virtual Result PutBody(std::string_view data, size_t* used, std::span<char> out, size_t* produced) = 0;
  // The peer closed. True if that is a proper end (a body without length, or already complete).
  virtual bool PutEnd() = 0;

  virtual bool head_done() const = 0;
  virtual bool done() const = 0;  // the body's end is reached
  virtual bool keep_alive() const = 0;
  virtual std::optional<uint64_t> content_length() const = 0;  // as declared
  const std::string& error() const { return error_; }          // why kMalformed

  Head head;

 protected:
  std::string error_;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_PARSER_H_
