// The server's side of one request.
#include <cstdio>

#include "base/http_connection.h"

namespace skiff::http {
namespace {

constexpr size_t kBodyRoom = 16 * 1024;
constexpr size_t kDrainLimit = 256 * 1024;  // as Go: more of an unread body is not worth keeping the connection

bool HasNoBody(int status) { return status / 100 == 1 || status == 204 || status == 304; }

// A value with a line break would be another header.
void AppendField(std::string* out, std::string_view name, std::string_view value) {
  absl::StrAppend(out, name, ": ");
  for (const char c : value) *out += c == '\r' || c == '\n' ? ' ' : c;
  *out += "\r\n";
}

}  // namespace

ServerExchange::ServerExchange(Connection& connection, std::unique_ptr<Parser> parser)
    : connection_(connection), parser_(std::move(parser)) {
  Head& head = parser_->head;
  request_.method = std::move(head.method);
  request_.target = std::move(head.target);
  request_.headers = std::move(head.headers);
  request_.peer = connection.peer_;
  std::string_view target = request_.target;
  if (!target.empty() && target[0] != '/') {  // absolute form
    const size_t scheme = target.find("://");
    if (scheme != std::string_view::npos) {
      const size_t slash = target.find('/', scheme + 3);
      target = slash == std::string_view::npos ? "/" : target.substr(slash);
    }
  }
  const size_t question = target.find('?');
  request_.path = PercentDecode(target.substr(0, question));
  if (question != std::string_view::npos) request_.query = Query::Parse(target.substr(question + 1));
  head_request_ = request_.method == "HEAD";
  expects_continue_ = request_.headers.HasToken("Expect", "100-continue") && !parser_->done();
}

Status ServerExchange::FailBody(Status status) {
  body_error_ = status;
  close_ = true;
  linger_ = true;
  return status;
}

Task<StatusOr<size_t>> ServerExchange::ReadMore(std::span<char> buffer, bool hold_deadline) {
  if (!body_error_.ok()) co_return body_error_;
  if (parser_->done()) co_return size_t{0};
  if (expects_continue_) {
    if (answered_) co_return FailedPrecondition("the client was not told to send its body");
    expects_continue_ = false;
    CO_RETURN_IF_ERROR(co_await connection_.transport_->WriteOne("HTTP/1.1 100 Continue\r\n\r\n"));
  }
  while (true) {
    size_t used = 0, produced = 0;
    const auto result = parser_->PutBody(connection_.in_, &used, buffer, &produced);
    connection_.in_.erase(0, used);
    if (parser_->done()) connection_.SetDeadline(Deadline::kWatch);  // replaces the body's
    if (produced > 0 || parser_->done()) {
      if (connection_.in_.empty()) ReleaseMemory(&connection_.in_);
      co_return produced;
    }
    if (result == Parser::Result::kMalformed) {
      co_return FailBody(InvalidArgument("malformed request body: ", parser_->error()));
    }
    if (!hold_deadline) connection_.SetDeadline(Deadline::kBody);
    const StatusOr<bool> more = co_await connection_.transport_->ReadInto(&connection_.in_, kBodyRoom);
    if (!hold_deadline) connection_.ClearDeadline();
    if (!more.ok()) co_return FailBody(more.status());
    if (!*more) co_return FailBody(Unavailable("unexpected EOF"));
  }
}

Task<StatusOr<size_t>> ServerExchange::ReadSome(std::span<char> buffer) { return ReadMore(buffer, false); }

Task<StatusOr<std::string>> ServerExchange::ReadBody(size_t limit) {
  const auto too_large = [this] {
    close_ = true;
    linger_ = true;
    return absl::ResourceExhaustedError("http: request body too large");
  };
  const uint64_t declared = parser_->content_length().value_or(0);
  if (declared > limit) co_return too_large();
  BodyBuffer body(limit, parser_->content_length(), kBodyRoom);
  if (!parser_->done()) connection_.SetDeadline(Deadline::kBody);
  while (!parser_->done()) {
    const StatusOr<size_t> got = co_await ReadMore(body.Room(), true);
    if (!got.ok()) {
      connection_.ClearDeadline();
      co_return got.status();
    }
    body.Took(*got);
    if (body.too_large()) {
      connection_.ClearDeadline();
      co_return too_large();
    }
  }
  co_return body.Take();
}

std::string ServerExchange::HeadText(int status, const Headers& headers, std::optional<uint64_t> length) {
  const bool old = parser_->head.version == 10;
  if (!parser_->keep_alive() || connection_.core_->stopping || headers.HasToken("Connection", "close")) close_ = true;
  if (!parser_->done()) {  // the body was not read; can its rest be?
    if (expects_continue_ || parser_->content_length().value_or(0) > kDrainLimit) {
      close_ = true;
      linger_ = true;
    }
  }
  if (framing_ == Framing::kUntilClose) close_ = true;
  const bool say_close = close_ && status != 101;
  std::string out;
  out.reserve(256);
  absl::StrAppend(&out, old ? "HTTP/1.0 " : "HTTP/1.1 ", status, " ", ReasonPhrase(status), "\r\n");
  for (const auto& [name, value] : headers.fields()) {
    const bool ours = EqualsIgnoreCase(name, "Content-Length") || EqualsIgnoreCase(name, "Transfer-Encoding") ||
                      (say_close && EqualsIgnoreCase(name, "Connection"));
    if (!ours) AppendField(&out, name, value);
  }
  if (!headers.Has("Date")) AppendField(&out, "Date", connection_.core_->Date());
  if (length) absl::StrAppend(&out, "Content-Length: ", *length, "\r\n");
  if (framing_ == Framing::kChunked) out += "Transfer-Encoding: chunked\r\n";
  if (say_close) {
    out += "Connection: close\r\n";
  } else if (old && status != 101) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
  return out;
}

Task<Status> ServerExchange::Send(std::span<const std::string_view> pieces) {
  Status status = co_await connection_.transport_->Write(pieces);
  if (!status.ok()) close_ = true;
  co_return status;
}

Task<Status> ServerExchange::Respond(int status, Headers headers, std::string body) {
  if (answered_) co_return FailedPrecondition("the request was answered already");
  answered_ = true;
  ended_ = true;
  const bool none = HasNoBody(status);
  std::optional<uint64_t> length = body.size();
  uint64_t declared;
  if (none) {
    length.reset();
  } else if (head_request_ && body.empty() && absl::SimpleAtoi(headers.Get("Content-Length"), &declared)) {
    length = declared;
  }
  const std::string head = HeadText(status, headers, length);
  const std::string_view pieces[] = {head, none || head_request_ ? std::string_view() : std::string_view(body)};
  co_return co_await Send(pieces);
}

Task<Status> ServerExchange::Begin(int status, Headers headers) {
  if (answered_) co_return FailedPrecondition("the request was answered already");
  answered_ = true;
  std::optional<uint64_t> length;
  if (uint64_t declared; absl::SimpleAtoi(headers.Get("Content-Length"), &declared)) length = declared;
  if (HasNoBody(status)) {
    length.reset();
  } else if (length) {
    framing_ = Framing::kLength;
    left_ = *length;
  } else {
    framing_ = parser_->head.version == 10 ? Framing::kUntilClose : Framing::kChunked;
  }
  const std::string head = HeadText(status, headers, length);
  if (head_request_) framing_ = Framing::kNone;
  const std::string_view pieces[] = {head};
  co_return co_await Send(pieces);
}

Task<Status> ServerExchange::Write(std::string_view data) {
  if (!answered_ || ended_) co_return FailedPrecondition("write outside of Begin and End");
  if (data.empty() || framing_ == Framing::kNone) co_return absl::OkStatus();
  if (framing_ == Framing::kLength) {
    if (data.size() > left_) co_return FailedPrecondition("http: wrote more than the declared Content-Length");
    left_ -= data.size();
  }
  if (framing_ != Framing::kChunked) {
    const std::string_view pieces[] = {data};
    co_return co_await Send(pieces);
  }
  char size[24];
  const int n = snprintf(size, sizeof size, "%zx\r\n", data.size());
  const std::string_view pieces[] = {{size, static_cast<size_t>(n)}, data, "\r\n"};
  co_return co_await Send(pieces);
}

Task<Status> ServerExchange::End() {
  if (!answered_ || ended_) co_return FailedPrecondition("nothing to end");
  ended_ = true;
  if (framing_ == Framing::kLength && left_ > 0) {
    close_ = true;
    co_return FailedPrecondition("http: wrote less than the declared Content-Length");
  }
  if (framing_ != Framing::kChunked) co_return absl::OkStatus();
  const std::string_view pieces[] = {"0\r\n\r\n"};
  co_return co_await Send(pieces);
}

Task<StatusOr<std::unique_ptr<Stream>>> ServerExchange::Upgrade(int status, Headers headers) {
  if (answered_) co_return FailedPrecondition("the request was answered already");
  if (!parser_->done()) co_return FailedPrecondition("the request's body was not read");
  answered_ = true;
  ended_ = true;
  connection_.ClearDeadline();
  connection_.transport_->StopWatching();
  if (status == 101 && !headers.Has("Connection")) headers.Add("Connection", "Upgrade");
  // A refusal may say how long its body is.
  std::optional<uint64_t> length;
  if (uint64_t n; status != 101 && absl::SimpleAtoi(headers.Get("Content-Length"), &n)) length = n;
  const std::string head = HeadText(status, headers, length);
  const std::string_view pieces[] = {head};
  CO_RETURN_IF_ERROR(co_await Send(pieces));
  connection_.upgraded_ = true;
  co_return NewTransportStream(connection_.transport_, std::exchange(connection_.in_, std::string()));
}

Task<bool> ServerExchange::Finish() {
  if (!answered_) {
    if (connection_.transport_->closed()) co_return false;
    if (!(co_await Respond(500, {{"Content-Type", "text/plain; charset=utf-8"}}, "Internal Server Error\n")).ok()) {
      co_return false;
    }
  }
  // An answer cut short must not look whole to the client.
  if (!ended_ && framing_ != Framing::kNone) co_return false;
  char scratch[2048];
  for (size_t drained = 0; !close_ && !parser_->done();) {
    const StatusOr<size_t> got = co_await ReadSome(scratch);
    if (!got.ok()) co_return false;
    drained += *got;
    if (drained > kDrainLimit) {
      close_ = true;
      linger_ = true;
    }
  }
  connection_.ClearDeadline();
  if (close_ && linger_ && !parser_->done()) co_await connection_.Linger();
  co_return !close_;
}

}  // namespace skiff::http
