#include "base/http_client.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/http_dial.h"
#include "base/http_parser.h"

namespace skiff::http {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr size_t kHeaderLimit = 1024 * 1024;  // as Go's clients take nearly
constexpr size_t kHeadRoom = 4 * 1024;
constexpr size_t kBodyRoom = 16 * 1024;
constexpr size_t kDeclaredRoom = 1024 * 1024;
constexpr size_t kRefusalLimit = 1024 * 1024;  // of the answer to an upgrade that did not happen

struct Link {
  std::shared_ptr<Transport> transport;
  std::string in;                   // read and not yet used
  std::shared_ptr<ssl_ctx_st> tls;  // whose certificate the server knows us by
  SteadyTime idle_since;
  bool reused = false;
};

// What a request that got its head holds.
struct Answer {
  std::unique_ptr<Link> link;
  std::unique_ptr<Parser> parser;
};

bool IsReplayable(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

SteadyTime After(std::chrono::nanoseconds duration) {
  const auto now = std::chrono::steady_clock::now();
  return duration > SteadyTime::max() - now ? SteadyTime::max() : now + duration;
}

void AppendField(std::string* out, std::string_view name, std::string_view value) {
  absl::StrAppend(out, name, ": ");
  for (const char c : value) *out += c == '\r' || c == '\n' ? ' ' : c;
  *out += "\r\n";
}

}  // namespace

struct Client::Impl : public std::enable_shared_from_this<Client::Impl> {
  Impl(asio::any_io_executor executor, std::string authority_text, std::shared_ptr<TlsClientConfig> tls,
       ClientOptions options)
      : executor(executor),
        authority(Authority::Parse(authority_text, tls ? "443" : "80")),
        host_header(authority.is_unix ? "localhost" : std::move(authority_text)),
        tls(std::move(tls)),
        options(options),
        reaper(executor) {}

  std::unique_ptr<Link> TakeIdle();
  void GiveBack(std::unique_ptr<Link> link);
  void Finish(std::unique_ptr<Link> link);  // closes it
  void Reap();

  std::string HeadText(const ClientRequest& request) const;
  Task<StatusOr<std::unique_ptr<Link>>> NewLink(std::shared_ptr<TimeLimit> limit);
  // Sends and reads up to the head, once more where that is safe.
  Task<StatusOr<Answer>> Start(const ClientRequest& request, std::shared_ptr<TimeLimit> limit);
  // *heard: something of an answer came.
  Task<StatusOr<std::unique_ptr<Parser>>> Exchange(Link& link, const ClientRequest& request, bool* heard, bool* sent);

  asio::any_io_executor executor;
  Authority authority;
  std::string host_header;
  std::shared_ptr<TlsClientConfig> tls;
  ClientOptions options;
  std::deque<std::unique_ptr<Link>> idle;  // oldest first
  asio::steady_timer reaper;               // runs while something is idle
  bool closed = false;
};

std::unique_ptr<Link> Client::Impl::TakeIdle() {
  while (!idle.empty()) {
    std::unique_ptr<Link> link = std::move(idle.back());
    idle.pop_back();
    // The server's close, or anything it said without being asked, makes the connection useless. So does another
    // certificate in the place of the one it was opened with: busy connections never end, and the old one expires.
    char probe;
    const bool current = !tls || link->tls == tls->Context();
    const auto got = link->transport->TryRead({&probe, 1});
    if (current && got.ok() && !*got) {
      link->reused = true;
      return link;
    }
    link->transport->Close();
  }
  return nullptr;
}

void Client::Impl::GiveBack(std::unique_ptr<Link> link) {
  if (closed || !options.keep_alive || !link->in.empty() || idle.size() >= options.max_idle_connections) {
    Finish(std::move(link));
    return;
  }
  ReleaseMemory(&link->in);
  link->idle_since = std::chrono::steady_clock::now();
  idle.push_back(std::move(link));
  if (idle.size() == 1) Reap();
}

void Client::Impl::Finish(std::unique_ptr<Link> link) {
  if (options.reset_on_close) {
    link->transport->CloseWithReset();
  } else {
    link->transport->Close();
  }
}

void Client::Impl::Reap() {
  const auto now = std::chrono::steady_clock::now();
  while (!idle.empty() && idle.front()->idle_since + options.idle_timeout <= now) {
    idle.front()->transport->Close();
    idle.pop_front();
  }
  if (idle.empty()) return;
  reaper.expires_at(idle.front()->idle_since + options.idle_timeout);
  reaper.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
    const auto self = weak.lock();
    if (self && !ec) self->Reap();
  });
}

std::string Client::Impl::HeadText(const ClientRequest& request) const {
  std::string out;
  out.reserve(256);
  absl::StrAppend(&out, request.method, " ", request.target, " HTTP/1.1\r\n");
  if (!request.headers.Has("Host")) AppendField(&out, "Host", host_header);
  for (const auto& [name, value] : request.headers.fields()) AppendField(&out, name, value);
  const bool has_length = request.headers.Has("Content-Length") || request.headers.Has("Transfer-Encoding");
  const bool wants_length =
      !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (!has_length && wants_length) absl::StrAppend(&out, "Content-Length: ", request.body.size(), "\r\n");
  if (!options.keep_alive && !request.headers.Has("Connection")) out += "Connection: close\r\n";
  out += "\r\n";
  return out;
}

Task<StatusOr<std::unique_ptr<Link>>> Client::Impl::NewLink(std::shared_ptr<TimeLimit> limit) {
  const SteadyTime end = After(options.connect_timeout);
  auto link = std::make_unique<Link>();
  CO_ASSIGN_OR_RETURN(link->transport, co_await Dial(executor, authority, end, limit));
  limit->Guard(link->transport);
  if (tls) {
    const auto handshake = std::make_shared<TimeLimit>(executor);
    handshake->Start(end);
    handshake->Guard(link->transport);
    const std::string& name = tls->server_name().empty() ? authority.host : tls->server_name();
    link->tls = tls->Context();
    const Status status = co_await link->transport->ConnectTls(link->tls, name, tls->insecure_skip_verify());
    handshake->Stop();
    if (handshake->expired()) co_return absl::DeadlineExceededError("net/http: TLS handshake timeout");
    CO_RETURN_IF_ERROR(status);
  }
  co_return link;
}

Task<StatusOr<std::unique_ptr<Parser>>> Client::Impl::Exchange(Link& link, const ClientRequest& request, bool* heard,
                                                               bool* sent) {
  const std::string head = HeadText(request);
  const std::string_view pieces[] = {head, request.body};
  const Status written = co_await link.transport->Write(pieces);
  *sent = written.ok();
  if (absl::IsCancelled(written)) co_return written;
  // A server may answer and close before it has taken the whole body; its answer is worth more than our broken pipe.
  while (true) {
    auto parser = Parser::ForResponse(kHeaderLimit, request.method == "HEAD");
    while (!parser->head_done()) {
      size_t used = 0;
      const auto result = parser->PutHead(link.in, &used);
      link.in.erase(0, used);
      if (parser->head_done()) break;
      if (result == Parser::Result::kMalformed || result == Parser::Result::kTooLarge) {
        const std::string_view why = result == Parser::Result::kTooLarge ? "server response headers exceeded the limit"
                                                                         : "malformed HTTP response";
        co_return Internal("net/http: HTTP/1.x transport connection broken: ", why);
      }
      const StatusOr<bool> more = co_await link.transport->ReadInto(&link.in, kHeadRoom);
      if (!more.ok() || !*more) {
        if (!written.ok()) co_return written;
        if (!more.ok()) co_return more.status();
        co_return Unavailable(*heard ? "unexpected EOF" : "EOF");
      }
      *heard = true;
    }
    const int status = parser->head.status;
    if (status / 100 != 1 || status == 101) co_return parser;
  }
}

Task<StatusOr<Answer>> Client::Impl::Start(const ClientRequest& request, std::shared_ptr<TimeLimit> limit) {
  const auto self = shared_from_this();
  for (const bool again : {false, true}) {
    std::unique_ptr<Link> link = again ? nullptr : TakeIdle();
    if (!link) {
      CO_ASSIGN_OR_RETURN(link, co_await NewLink(limit));
    }
    limit->Guard(link->transport);
    bool heard = false, sent = false;
    auto parser = co_await Exchange(*link, request, &heard, &sent);
    if (parser.ok()) co_return Answer{std::move(link), *std::move(parser)};
    link->transport->Close();
    // The server closed the idle connection as we took it. What it cannot have acted upon may be sent again: a
    // request that did not even leave, or one that changes nothing.
    const bool stale = link->reused && !heard && absl::IsUnavailable(parser.status()) && !limit->expired();
    if (again || !stale || (sent && !IsReplayable(request.method))) co_return parser.status();
  }
  co_return Internal("unreachable");
}

namespace {

// A request's error, in Go's words where its own time-out made it.
Status Explain(Status status, const TimeLimit& limit, bool in_body) {
  if (status.ok() || !limit.expired()) return status;
  return absl::DeadlineExceededError(
      in_body ? "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
              : "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

class ClientBody final : public BodyReader {
 public:
  using Release = std::function<void(std::unique_ptr<Link>, bool reusable)>;
  // `limit`, if any, ends reads that take too long.
  ClientBody(Answer answer, Release release, std::shared_ptr<TimeLimit> limit = nullptr)
      : link_(std::move(answer.link)),
        parser_(std::move(answer.parser)),
        release_(std::move(release)),
        limit_(std::move(limit)) {
    if (parser_->done()) Settle(true);
  }
  ~ClientBody() override { Settle(false); }

  int status() const override { return parser_->head.status; }
  const Headers& headers() const override { return parser_->head.headers; }
  std::optional<uint64_t> content_length() const { return parser_->content_length(); }
  Headers TakeHeaders() { return std::move(parser_->head.headers); }
  bool ended() const { return !link_; }

  Task<StatusOr<size_t>> Read(std::span<char> buffer) override {
    if (!failed_.ok()) co_return failed_;
    while (link_) {
      size_t used = 0, produced = 0;
      const auto result = parser_->PutBody(link_->in, &used, buffer, &produced);
      link_->in.erase(0, used);
      if (parser_->done()) Settle(true);
      if (produced > 0 || !link_) co_return produced;
      if (result == Parser::Result::kMalformed) co_return Fail(Internal("malformed chunked encoding"));
      const StatusOr<bool> more = co_await link_->transport->ReadInto(&link_->in, kBodyRoom);
      if (!more.ok()) co_return Fail(more.status());
      if (*more) continue;
      if (!parser_->PutEnd()) co_return Fail(Unavailable("unexpected EOF"));
      Settle(false);  // the connection's end was the body's
    }
    co_return size_t{0};
  }

 private:
  Status Fail(Status status) {
    if (limit_) status = Explain(std::move(status), *limit_, true);
    if (absl::IsCancelled(status)) return status;  // nothing is lost; a later read may go on
    failed_ = status;
    Settle(false);
    return status;
  }
  void Settle(bool whole) {
    if (limit_ && link_) limit_->Stop();
    if (link_) release_(std::move(link_), whole && parser_->keep_alive());
  }

  std::unique_ptr<Link> link_;  // null once the end was reached
  std::unique_ptr<Parser> parser_;
  Release release_;
  std::shared_ptr<TimeLimit> limit_;
  Status failed_;
};

Task<StatusOr<std::string>> ReadRest(ClientBody& body, size_t limit) {
  BodyBuffer buffer(limit, body.content_length(), body.content_length() ? kDeclaredRoom : kBodyRoom);
  while (!body.ended()) {
    CO_ASSIGN_OR_RETURN(const size_t got, co_await body.Read(buffer.Room()));
    buffer.Took(got);
    if (buffer.too_large()) co_return absl::ResourceExhaustedError("http: response body too large");
  }
  co_return buffer.Take();
}

}  // namespace

Task<StatusOr<std::string>> BodyReader::ReadAll(size_t limit) {
  BodyBuffer buffer(limit, std::nullopt, kBodyRoom);
  while (true) {
    CO_ASSIGN_OR_RETURN(const size_t got, co_await Read(buffer.Room()));
    if (got == 0) co_return buffer.Take();
    buffer.Took(got);
    if (buffer.too_large()) co_return absl::ResourceExhaustedError("http: response body too large");
  }
}

Client::Client(asio::any_io_executor executor, std::string authority, std::shared_ptr<TlsClientConfig> tls,
               ClientOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(authority), std::move(tls), options)) {}

Client::~Client() {
  impl_->closed = true;
  CloseIdle();
}

void Client::CloseIdle() {
  for (auto& link : impl_->idle) link->transport->Close();
  impl_->idle.clear();
  impl_->reaper.cancel();
}

namespace {

std::shared_ptr<TimeLimit> LimitOf(const asio::any_io_executor& executor, std::chrono::nanoseconds timeout) {
  auto limit = std::make_shared<TimeLimit>(executor);
  if (timeout.count() > 0) limit->Start(After(timeout));
  return limit;
}

}  // namespace

// The three calls below are static in effect: they use `impl`, so that a Client may go while one of them runs.
Task<StatusOr<ClientResponse>> Client::Do(ClientRequest request) {
  const auto impl = impl_;
  const auto limit = LimitOf(impl->executor, request.timeout);
  auto answer = co_await impl->Start(request, limit);
  if (!answer.ok()) co_return Explain(answer.status(), *limit, false);
  ClientBody body(*std::move(answer), [impl](std::unique_ptr<Link> link, bool reusable) {
    reusable ? impl->GiveBack(std::move(link)) : impl->Finish(std::move(link));
  });
  ClientResponse response;
  response.status = body.status();
  auto text = co_await ReadRest(body, impl->options.max_body_bytes);
  limit->Stop();
  if (!text.ok()) co_return Explain(text.status(), *limit, true);
  response.body = *std::move(text);
  response.headers = body.TakeHeaders();
  co_return response;
}

Task<StatusOr<std::unique_ptr<BodyReader>>> Client::Open(ClientRequest request) {
  const auto impl = impl_;
  const auto limit = LimitOf(impl->executor, request.timeout);
  auto answer = co_await impl->Start(request, limit);
  if (!answer.ok() || !request.limit_body) limit->Stop();
  if (!answer.ok()) co_return Explain(answer.status(), *limit, false);
  co_return std::make_unique<ClientBody>(
      *std::move(answer),
      [impl](std::unique_ptr<Link> link, bool reusable) {
        reusable ? impl->GiveBack(std::move(link)) : impl->Finish(std::move(link));
      },
      request.limit_body ? limit : nullptr);
}

Task<StatusOr<UpgradeResult>> Client::Upgrade(ClientRequest request) {
  const auto impl = impl_;
  const auto limit = LimitOf(impl->executor, request.timeout);
  auto answer = co_await impl->Start(request, limit);
  if (!answer.ok()) co_return Explain(answer.status(), *limit, false);
  UpgradeResult result;
  result.status = answer->parser->head.status;
  if (result.status == 101) {
    limit->Stop();
    result.headers = std::move(answer->parser->head.headers);
    result.stream = NewTransportStream(answer->link->transport, std::move(answer->link->in));
    co_return result;
  }
  ClientBody body(*std::move(answer), [impl](std::unique_ptr<Link> link, bool reusable) {
    reusable ? impl->GiveBack(std::move(link)) : impl->Finish(std::move(link));
  });
  auto text = co_await ReadRest(body, kRefusalLimit);
  limit->Stop();
  if (!text.ok()) co_return Explain(text.status(), *limit, true);
  result.body = *std::move(text);
  result.headers = body.TakeHeaders();
  co_return result;
}

}  // namespace skiff::http
