// gRPC calls as coroutines over one HTTP/2 connection without TLS: no threads, no channel state of its own beyond the
// connection, which is opened by the first call and again by the first one after it broke. Calls run side by side on
// it. Loop only.
//
// Errors are gRPC's codes with the server's message as it is; of our own making, in the words of grpc-go, which
// operators know from upstream's logs: kUnavailable (nobody answers the socket, or it broke), kDeadlineExceeded (the
// time-out passed), kCancelled (the caller was cancelled; the server is told), kResourceExhausted (an answer past the
// limit).
#ifndef SKIFF_BASE_GRPC_CHANNEL_H_
#define SKIFF_BASE_GRPC_CHANNEL_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/async.h"

namespace skiff {

class GrpcChannel {
 public:
  struct Options {
    std::string authority = "localhost";  // Go's servers refuse an escaped path
    std::string user_agent = "grpc-skiff";
    size_t max_message_bytes = 16 << 20;  // of an answer
  };

  // To the unix socket at `path`, by and by.
  GrpcChannel(asio::any_io_executor executor, std::string path, Options options);
  // Over a connected socket, which is the channel's from now on. When it breaks, that is it.
  GrpcChannel(asio::any_io_executor executor, int fd, Options options);
  ~GrpcChannel();  // ends all calls with kCancelled
  GrpcChannel(const GrpcChannel&) = delete;
  GrpcChannel& operator=(const GrpcChannel&) = delete;

  // `method` is "/package.Service/Method"; request and answer are encoded messages. timeout 0: none.
  Task<StatusOr<std::string>> Unary(std::string method, std::string request, std::chrono::nanoseconds timeout);

  // Hands over each message of the answer until the server ends the stream; its status is returned.
  Task<Status> ServerStream(std::string method, std::string request, std::function<void(std::string)> on_message);

 private:
  class Connection;
  struct Stream;
  struct State;
  static Task<Status> Call(std::shared_ptr<State> state, std::string method, std::string request,
                           std::chrono::nanoseconds timeout, std::function<void(std::string)> on_message);
  std::shared_ptr<State> state_;
};

}  // namespace skiff

#endif  // SKIFF_BASE_GRPC_CHANNEL_H_
