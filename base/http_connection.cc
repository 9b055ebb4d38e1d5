#include "base/http_connection.h"

#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>

#include "base/log.h"
#include "base/tls_peer.h"

namespace skiff::http {
namespace {

constexpr size_t kHeadRoom = 4 * 1024;     // first read of a request: most heads fit
constexpr size_t kAheadLimit = 64 * 1024;  // read ahead of a running handler, while looking out for the peer's end
// What a client still sends is read, lest a reset takes the answer from it.
constexpr size_t kLingerLimit = 16 * 1024 * 1024;
constexpr std::string_view kNotTls =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

}  // namespace

Connection::Connection(std::shared_ptr<ServerCore> core, std::shared_ptr<Transport> transport)
    : core_(std::move(core)), transport_(std::move(transport)) {
  place_ = core_->connections.insert(core_->connections.end(), this);
}

Connection::~Connection() {
  ClearDeadline();
  core_->connections.erase(place_);
  if (core_->on_connection_end) core_->on_connection_end();
}

void Connection::Start(std::shared_ptr<Connection> connection, std::shared_ptr<TlsServerConfig> tls) {
  const auto executor = connection->core_->executor;
  const auto slot = connection->cancel_.slot();
  auto run = Run(connection, std::move(tls));
  asio::co_spawn(executor, std::move(run),
                 asio::bind_cancellation_slot(slot, [connection = std::move(connection)](std::exception_ptr error) {
                   try {
                     if (error) std::rethrow_exception(error);
                   } catch (const std::exception& e) {
                     LOG_ERROR(absl::InternalError(e.what()), "HTTP connection ended by an exception");
                   } catch (...) {
                     LOG_ERROR(absl::InternalError("unknown"), "HTTP connection ended by an exception");
                   }
                   connection->ClearDeadline();
                   if (!connection->upgraded_) connection->transport_->Close();
                 }));
}

void Connection::Abort() {
  cancel_.emit(asio::cancellation_type::terminal);
  if (!upgraded_) transport_->Close();
}

void Connection::SetDeadline(Deadline kind) {
  ClearDeadline();
  deadline_.emplace(kind, core_->deadlines->Set(this, kind));
}

void Connection::ClearDeadline() {
  if (!deadline_) return;
  core_->deadlines->Clear(deadline_->first, deadline_->second);
  deadline_.reset();
}

void Connection::OnDeadline(Deadline kind) {
  deadline_.reset();  // its entry is gone already
  if (kind == Deadline::kWatch) {
    Watch();
  } else {
    transport_->ExpireReads();
  }
}

// While a handler runs for long, somebody must notice that the peer went away. The body being read, all that can come
// is the peer's end, or requests that it sends ahead: those are kept.
void Connection::Watch() {
  transport_->WatchReadable([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnWatched();
  });
}

void Connection::OnWatched() {
  while (in_.size() < kAheadLimit) {
    const size_t before = in_.size();
    in_.resize(before + kHeadRoom);
    const auto got = transport_->TryRead({in_.data() + before, kHeadRoom});
    const bool some = got.ok() && *got && **got > 0;
    in_.resize(some ? before + **got : before);
    if (some) continue;
    if (got.ok() && !*got) {
      if (in_.empty()) ReleaseMemory(&in_);
      Watch();
      return;
    }
    lost_ = true;
    VLOG(5, "HTTP peer went away", {"peer", peer_.address});
    cancel_.emit(asio::cancellation_type::terminal);
    return;
  }
}

void Connection::FillPeer(bool tls) {
  peer_.address = transport_->remote();
  peer_.tls = tls;
  if (!tls) return;
  peer_.has_certificate = ReadPeerNames(transport_->ssl(), &peer_.common_name, &peer_.organizations);
  peer_.certificate_error = transport_->verify_error();
}

Task<void> Connection::Run(std::shared_ptr<Connection> self, std::shared_ptr<TlsServerConfig> tls) {
  co_await asio::this_coro::throw_if_cancelled(false);
  self->transport_->NoteRemote();
  if (tls) {
    self->SetDeadline(Deadline::kHeader);
    const Status status = co_await self->transport_->AcceptTls(tls->Context());
    if (!status.ok()) {
      if (!self->transport_->closed()) {
        VLOG(2, "TLS handshake error", {"peer", self->transport_->remote()}, {"err", status});
      }
      if (absl::IsInvalidArgument(status)) {
        const Status told = co_await self->transport_->WriteOne(kNotTls);
        if (told.ok()) co_await self->Linger();
      }
      co_return;
    }
  }
  self->FillPeer(tls != nullptr);
  bool first = true;
  while (co_await self->ServeOne(first)) first = false;
  self->ClearDeadline();
  if (!self->upgraded_) self->transport_->Close();
}

Task<bool> Connection::AwaitFirstByte(bool first) {
  if (!in_.empty()) co_return true;
  SetDeadline(first ? Deadline::kHeader : Deadline::kIdle);
  const auto got = co_await transport_->ReadInto(&in_, kHeadRoom);
  co_return got.ok() && *got;
}

Task<std::unique_ptr<Parser>> Connection::ReadHead() {
  auto parser = Parser::ForRequest(core_->options.max_header_bytes);
  if (!deadline_ || deadline_->first != Deadline::kHeader) SetDeadline(Deadline::kHeader);
  while (true) {
    size_t used = 0;
    const auto result = parser->PutHead(in_, &used);
    in_.erase(0, used);
    if (parser->head_done()) break;
    if (result == Parser::Result::kTooLarge) {
      co_await Refuse(431);
      co_return nullptr;
    }
    if (result == Parser::Result::kMalformed) {
      co_await Refuse(400);
      co_return nullptr;
    }
    const auto more = co_await transport_->ReadInto(&in_, kHeadRoom);
    if (!more.ok() || !*more) co_return nullptr;
  }
  ClearDeadline();
  if (in_.empty()) ReleaseMemory(&in_);
  co_return parser;
}

Task<bool> Connection::ServeOne(bool first) {
  idle_ = true;
  if (core_->stopping || !co_await AwaitFirstByte(first)) co_return false;
  idle_ = false;
  auto parser = co_await ReadHead();
  if (!parser) co_return false;
  const Head& head = parser->head;
  const auto hosts = head.headers.All("Host");
  if (hosts.size() > 1) {
    co_await Refuse(400, ": too many Host headers");
    co_return false;
  }
  if (hosts.empty() && head.version == 11) {
    co_await Refuse(400, ": missing required Host header");
    co_return false;
  }
  if (head.headers.Has("Expect") && !head.headers.HasToken("Expect", "100-continue")) {
    co_await Refuse(417);
    co_return false;
  }
  if (head.headers.Has("Transfer-Encoding") && !EqualsIgnoreCase(head.headers.Get("Transfer-Encoding"), "chunked")) {
    co_await Refuse(501, ": unsupported transfer encoding");
    co_return false;
  }
  ServerExchange exchange(*this, std::move(parser));
  if (exchange.body_done()) SetDeadline(Deadline::kWatch);
  co_await RunHandler(exchange);
  ClearDeadline();
  if (upgraded_) co_return false;
  transport_->StopWatching();
  if (lost_) co_return false;
  co_return co_await exchange.Finish();
}

Task<void> Connection::RunHandler(ServerExchange& exchange) {
  std::string what;
  try {
    co_await core_->handler(exchange);
    co_return;
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
    what = "unknown exception";
  }
  LOG_ERROR(absl::InternalError(what), "HTTP handler threw", {"method", exchange.request().method},
            {"path", exchange.request().path});
}

Task<void> Connection::Refuse(int status, std::string_view detail) {
  const std::string text = absl::StrCat(status, " ", ReasonPhrase(status));
  const std::string answer = absl::StrCat("HTTP/1.1 ", text, "\r\nContent-Type: text/plain; charset=utf-8\r\n",
                                          "Connection: close\r\n\r\n", text, detail);
  if ((co_await transport_->WriteOne(answer)).ok()) co_await Linger();
}

Task<void> Connection::Linger() {
  ReleaseMemory(&in_);
  transport_->AllowReads();
  transport_->CloseWrite();
  SetDeadline(Deadline::kLinger);
  std::string scratch(kHeadRoom, '\0');
  for (size_t total = 0; total < kLingerLimit;) {
    const auto got = co_await transport_->Read({scratch.data(), scratch.size()});
    if (!got.ok() || *got == 0) break;
    total += *got;
  }
  ClearDeadline();
}

}  // namespace skiff::http
