#include "base/grpc_channel.h"

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/grpc_frames.h"

namespace skiff {
namespace {

// How much an answer may run ahead of us: a list of all containers in one go.
constexpr int32_t kWindow = 1 << 20;
constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kWriteBytes = 64 << 10;

Status Dialing(const std::string& path, int error) {
  std::string text = std::strerror(error);
  if (!text.empty()) text[0] = absl::ascii_tolower(static_cast<unsigned char>(text[0]));
  return Unavailable("connection error: desc = \"transport: Error while dialing: dial unix ", path, ": connect: ", text,
                     "\"");
}

// A local connect is done at once or refused; it never waits.
StatusOr<int> DialUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return InvalidArgument("unix socket path too long: ", path);
  path.copy(address.sun_path, path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus(errno, "socket");
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  ::close(fd);
  return Dialing(path, error);
}

nghttp2_nv Header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view s) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data()));  // nghttp2 copies; it takes no const
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

// One call: what is still to be sent of the request, and what came. Lives until nghttp2 has closed the stream, because
// that reads the request from here.
struct GrpcChannel::Stream {
  Stream(const asio::any_io_executor& executor, std::string request, size_t limit)
      : request(std::move(request)), reader(limit), woken(executor) {}

  void End(Status with) {
    if (result) return;
    result = std::move(with);
    woken.Notify();
  }

  std::string request;
  size_t sent = 0;
  GrpcMessageReader reader;
  int http_status = 0;
  std::optional<std::string> grpc_status;
  std::string grpc_message;
  std::optional<Status> result;
  Wakeup woken;
};

class GrpcChannel::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(const asio::any_io_executor& executor, int fd, const Options& options)
      : socket_(executor), options_(options) {
    boost::system::error_code ignored;  // the first read or write says what is wrong
    socket_.assign(asio::generic::stream_protocol(AF_UNIX, 0), fd, ignored);
    socket_.non_blocking(true, ignored);
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const std::array<nghttp2_settings_entry, 2> settings = {
        {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  }
  ~Connection() { nghttp2_session_del(session_); }

  void Start() { Read(); }

  // False once the server said goodbye or the socket broke: calls then need a new connection.
  bool Usable() const { return !broken_ && nghttp2_session_check_request_allowed(session_) != 0; }

  StatusOr<int32_t> Send(const std::string& method, std::chrono::nanoseconds timeout, std::shared_ptr<Stream> stream) {
    const std::string limit = GrpcTimeout(timeout);
    std::vector<nghttp2_nv> headers = {
        Header(":method", "POST"),
        Header(":scheme", "http"),
        Header(":path", method),
        Header(":authority", options_.authority),
        Header("te", "trailers"),
        Header("content-type", "application/grpc"),
        Header("user-agent", options_.user_agent),
    };
    if (timeout.count() > 0) headers.push_back(Header("grpc-timeout", limit));
    nghttp2_data_provider body = {};
    body.source.ptr = stream.get();
    body.read_callback = ReadRequest;
    const int32_t id = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &body, nullptr);
    if (id < 0) return Unavailable("connection error: desc = \"transport: ", nghttp2_strerror(id), "\"");
    streams_.emplace(id, std::move(stream));
    Write();
    return id;
  }

  // Tells the server that nobody waits any more.
  void Abandon(int32_t id) {
    if (broken_ || !streams_.contains(id)) return;
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    Write();
  }

  void Break(const Status& why) {
    if (std::exchange(broken_, true)) return;
    boost::system::error_code ignored;
    socket_.close(ignored);
    for (auto& [id, stream] : std::exchange(streams_, {})) stream->End(why);
  }

 private:
  void Read() {
    if (input_.empty()) input_.resize(kReadBytes);
    socket_.async_read_some(asio::buffer(input_), [self = shared_from_this()](boost::system::error_code ec, size_t n) {
      self->OnRead(ec, n);
    });
  }

  void OnRead(boost::system::error_code ec, size_t n) {
    if (broken_) return;
    if (ec) {
      return Break(Unavailable("error reading from server: ", ec == asio::error::eof ? "EOF" : ec.message()));
    }
    const ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(input_.data()), n);
    if (used < 0) return Break(Unavailable("error reading from server: ", nghttp2_strerror(static_cast<int>(used))));
    Write();
    if (broken_) return;
    if (streams_.empty() && !Usable()) return Break(Unavailable("the connection is draining"));
    Read();
  }

  void Write() {
    if (writing_ || broken_) return;
    output_.clear();
    while (output_.size() < kWriteBytes) {
      const uint8_t* data = nullptr;
      const ssize_t n = nghttp2_session_mem_send(session_, &data);
      if (n < 0) {
        return Break(
            Unavailable("connection error: desc = \"transport: ", nghttp2_strerror(static_cast<int>(n)), "\""));
      }
      if (n == 0) break;
      output_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
    }
    if (output_.empty()) {
      output_.shrink_to_fit();
      return;
    }
    writing_ = true;
    asio::async_write(socket_, asio::buffer(output_),
                      [self = shared_from_this()](boost::system::error_code ec, size_t) {
                        self->writing_ = false;
                        if (ec) {
                          return self->Break(Unavailable("connection error: desc = \"transport: ", ec.message(), "\""));
                        }
                        self->Write();
                      });
  }

  Stream* Find(int32_t id) {
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }

  static ssize_t ReadRequest(nghttp2_session*, int32_t, uint8_t* out, size_t size, uint32_t* flags,
                             nghttp2_data_source* source, void*) {
    auto* stream = static_cast<Stream*>(source->ptr);
    const size_t n = stream->request.copy(reinterpret_cast<char*>(out), size, stream->sent);
    stream->sent += n;
    if (stream->sent == stream->request.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* self) {
    Stream* stream = static_cast<Connection*>(self)->Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status" && !absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &stream->http_status)) {
      stream->http_status = -1;
    } else if (key == "grpc-status") {
      stream->grpc_status = text;
    } else if (key == "grpc-message") {
      stream->grpc_message = text;
    }
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* self) {
    Stream* stream = static_cast<Connection*>(self)->Find(id);
    if (stream == nullptr || stream->result || stream->http_status != 200) return 0;
    Status fed = stream->reader.Feed({reinterpret_cast<const char*>(data), size});
    if (!fed.ok()) {
      stream->End(std::move(fed));
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    } else if (stream->reader.HasMessage()) {
      stream->woken.Notify();
    }
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* self) {
    auto& streams = static_cast<Connection*>(self)->streams_;
    const auto it = streams.find(id);
    if (it == streams.end()) return 0;
    const auto stream = std::move(it->second);
    streams.erase(it);
    // A server that has answered may reset the stream to say that it does not want the rest of the request.
    if (stream->grpc_status) {
      stream->End(GrpcStatusOfTrailers(*stream->grpc_status, stream->grpc_message));
    } else if (error != NGHTTP2_NO_ERROR) {
      stream->End(GrpcStatusOfReset(error));
    } else if (stream->http_status != 200) {
      stream->End(GrpcStatusOfHttp(stream->http_status));
    } else {
      stream->End(absl::InternalError("server closed the stream without sending trailers"));
    }
    return 0;
  }

  asio::generic::stream_protocol::socket socket_;
  Options options_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::shared_ptr<Stream>> streams_;
  std::string input_, output_;
  bool writing_ = false;
  bool broken_ = false;
};

struct GrpcChannel::State {
  // A connection that takes calls.
  StatusOr<std::shared_ptr<Connection>> Connect() {
    if (connection != nullptr && connection->Usable()) return connection;
    if (path.empty()) return Unavailable("error reading from server: EOF");
    ASSIGN_OR_RETURN(int fd, DialUnix(path));
    Attach(fd);
    return connection;
  }
  void Attach(int fd) {
    connection = std::make_shared<Connection>(executor, fd, options);
    connection->Start();
  }

  asio::any_io_executor executor;
  std::string path;
  Options options;
  std::shared_ptr<Connection> connection;
};

GrpcChannel::GrpcChannel(asio::any_io_executor executor, std::string path, Options options)
    : state_(std::make_shared<State>(State{std::move(executor), std::move(path), std::move(options), nullptr})) {}

GrpcChannel::GrpcChannel(asio::any_io_executor executor, int fd, Options options)
    : state_(std::make_shared<State>(State{std::move(executor), "", std::move(options), nullptr})) {
  state_->Attach(fd);
}

GrpcChannel::~GrpcChannel() {
  if (state_->connection != nullptr)
    state_->connection->Break(absl::CancelledError("grpc: the client connection is closing"));
}

Task<Status> GrpcChannel::Call(std::shared_ptr<State> state, std::string method, std::string request,
                               std::chrono::nanoseconds timeout, std::function<void(std::string)> on_message) {
  if (co_await IsCancelled()) co_return absl::CancelledError("context canceled");
  const auto connection = state->Connect();
  if (!connection.ok()) co_return connection.status();
  const auto stream =
      std::make_shared<Stream>(state->executor, FrameGrpcMessage(request), state->options.max_message_bytes);
  request = {};
  const auto id = (*connection)->Send(method, timeout, stream);
  if (!id.ok()) co_return id.status();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    while (stream->reader.HasMessage()) on_message(stream->reader.TakeMessage());
    if (stream->result) break;
    const Status waited = timeout.count() > 0
                              ? co_await stream->woken.WaitFor(deadline - std::chrono::steady_clock::now())
                              : co_await stream->woken.Wait();
    if (waited.ok()) continue;
    (*connection)->Abandon(*id);
    if (absl::IsDeadlineExceeded(waited)) co_return absl::DeadlineExceededError("context deadline exceeded");
    co_return waited;
  }
  if (stream->result->ok() && stream->reader.InsideMessage()) {
    co_return absl::InternalError("server closed the stream inside a message");
  }
  co_return *stream->result;
}

Task<StatusOr<std::string>> GrpcChannel::Unary(std::string method, std::string request,
                                               std::chrono::nanoseconds timeout) {
  const auto answers = std::make_shared<std::pair<size_t, std::string>>();
  Status status = co_await Call(state_, std::move(method), std::move(request), timeout, [answers](std::string message) {
    if (answers->first++ == 0) answers->second = std::move(message);
  });
  if (!status.ok()) co_return status;
  if (answers->first != 1) {
    co_return Internal("the server answered a unary call with ", answers->first, " messages");
  }
  co_return std::move(answers->second);
}

Task<Status> GrpcChannel::ServerStream(std::string method, std::string request,
                                       std::function<void(std::string)> on_message) {
  co_return co_await Call(state_, std::move(method), std::move(request), std::chrono::nanoseconds(0),
                          std::move(on_message));
}

}  // namespace skiff
