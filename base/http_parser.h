// HTTP/1 messages from bytes, on Beast's parser but straight into our types. Internal to base; no I/O.
#ifndef SKIFF_BASE_HTTP_PARSER_H_
#define SKIFF_BASE_HTTP_PARSER_H_

#include <algorithm>
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

// A whole body as it comes in. Room grows with what has come, as a declared length alone is no reason to set much
// memory aside; at most one byte more than the limit is taken, to tell a body that just fits from one that does not.
class BodyBuffer {
 public:
  BodyBuffer(size_t limit, std::optional<uint64_t> declared, size_t first)
      : limit_(limit), declared_(declared.value_or(0)), next_(first) {}
  std::span<char> Room() {
    if (filled_ == text_.size()) {
      size_t size = std::max(next_, filled_ * 2);
      if (declared_ > filled_) size = static_cast<size_t>(std::min<uint64_t>(size, declared_));
      if (limit_ < size) size = limit_ + 1;
      text_.resize(size);
    }
    return {text_.data() + filled_, text_.size() - filled_};
  }
  void Took(size_t n) { filled_ += n; }
  bool too_large() const { return filled_ > limit_; }
  std::string Take() {
    text_.resize(filled_);
    if (text_.capacity() > filled_ + filled_ / 4 + 1024) text_.shrink_to_fit();
    return std::move(text_);
  }

 private:
  const size_t limit_;
  const uint64_t declared_;
  const size_t next_;
  std::string text_;
  size_t filled_ = 0;
};

}  // namespace skiff::http

#endif  // SKIFF_BASE_HTTP_PARSER_H_
