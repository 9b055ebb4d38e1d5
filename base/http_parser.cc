#include "base/http_parser.h"

#include <algorithm>
#include <cstring>

#include <boost/beast/http/basic_parser.hpp>

namespace skiff::http {
namespace {

namespace beast = boost::beast;
using beast::http::error;
using BeastCode = boost::system::error_code;

// Chunk extensions and trailers carry nothing that we use; Beast would collect them without end.
constexpr size_t kFramingLimit = 8 * 1024;
// What still comes at least where a chunk begins: "0\r\n\r\n".
constexpr size_t kShortestChunk = 5;

std::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

template <bool kRequest>
class BeastParser final : public Parser, private beast::http::basic_parser<kRequest> {
 public:
  using Base = beast::http::basic_parser<kRequest>;

  BeastParser(size_t header_limit, bool no_body) {
    this->header_limit(static_cast<uint32_t>(header_limit));
    this->body_limit(boost::none);
    this->eager(false);
    if (no_body) this->skip(true);
  }

  Result PutHead(std::string_view data, size_t* used) override {
    *used = 0;
    while (!head_done_) {
      BeastCode ec;
      const size_t n = this->put({data.data(), data.size()}, ec);
      *used += n;
      data.remove_prefix(n);
      if (ec == error::need_more) return n > 0 && !data.empty() ? Result::kOk : Result::kNeedMore;
      if (ec == error::header_limit) return Result::kTooLarge;
      if (ec) return Malformed(ec);
    }
    return Result::kOk;
  }

  Result PutBody(std::string_view data, size_t* used, std::span<char> out, size_t* produced) override {
    *used = 0;
    *produced = 0;
    out_ = out;
    filled_ = 0;
    Result result = Result::kOk;
    while (!Base::is_done() && !data.empty() && filled_ < out.size()) {
      // Beast asserts that a last chunk which it has begun to read has that many bytes when it goes on.
      if (Base::chunked() && chunk_left_ == 0 && data.size() < kShortestChunk) break;
      BeastCode ec;
      const size_t n = this->put({data.data(), data.size()}, ec);
      *used += n;
      data.remove_prefix(n);
      if (ec == error::need_more) {
        result = *used > 0 || filled_ > 0 ? Result::kOk : Result::kNeedMore;
        if (data.size() > kFramingLimit) {
          error_ = "chunk header or trailer too long";
          result = Result::kMalformed;
        }
        break;
      }
      if (ec) {
        result = Malformed(ec);
        break;
      }
    }
    if (result == Result::kOk && *used == 0 && !Base::is_done()) result = Result::kNeedMore;
    *produced = filled_;
    return result;
  }

  bool PutEnd() override {
    if (Base::is_done()) return true;
    if (!Base::got_some()) return false;
    BeastCode ec;
    this->put_eof(ec);
    return !ec;
  }

  bool head_done() const override { return head_done_; }
  bool done() const override { return Base::is_done(); }
  bool keep_alive() const override { return Base::keep_alive(); }
  std::optional<uint64_t> content_length() const override {
    const auto length = Base::content_length();
    return length ? std::optional<uint64_t>(*length) : std::nullopt;
  }

 private:
  Result Malformed(const BeastCode& ec) {
    error_ = ec.message();
    return Result::kMalformed;
  }

  size_t Take(beast::string_view body) {
    const size_t n = std::min(body.size(), out_.size() - filled_);
    memcpy(out_.data() + filled_, body.data(), n);
    filled_ += n;
    return n;
  }

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version,
                       BeastCode&) override {
    head.method = View(method);
    head.target = View(target);
    head.version = version;
  }
  void on_response_impl(int code, beast::string_view, int version, BeastCode&) override {
    head.status = code;
    head.version = version;
  }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, BeastCode&) override {
    if (!head_done_) head.headers.Add(View(name), View(value));  // else a trailer
  }
  void on_header_impl(BeastCode&) override { head_done_ = true; }
  void on_body_init_impl(const boost::optional<uint64_t>&, BeastCode&) override {}
  size_t on_body_impl(beast::string_view body, BeastCode&) override { return Take(body); }
  void on_chunk_header_impl(uint64_t size, beast::string_view, BeastCode&) override { chunk_left_ = size; }
  size_t on_chunk_body_impl(uint64_t, beast::string_view body, BeastCode&) override {
    const size_t taken = Take(body);
    chunk_left_ -= taken;
    return taken;
  }
  void on_finish_impl(BeastCode&) override {}

  std::span<char> out_;
  size_t filled_ = 0;
  uint64_t chunk_left_ = 0;
  bool head_done_ = false;
};

}  // namespace

std::unique_ptr<Parser> Parser::ForRequest(size_t header_limit) {
  return std::make_unique<BeastParser<true>>(header_limit, false);
}

std::unique_ptr<Parser> Parser::ForResponse(size_t header_limit, bool no_body) {
  return std::make_unique<BeastParser<false>>(header_limit, no_body);
}

}  // namespace skiff::http
