#include "cri/client.h"

#include <stdlib.h>

#include <atomic>
#include <optional>
#include <utility>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_callback.h>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "runtime/v1/api.grpc.pb.h"

namespace skiff::cri {
namespace {

Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // gRPC's codes and absl's are the same numbers.
  return Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void SetDeadline(grpc::ClientContext& context, std::chrono::nanoseconds timeout) {
  if (timeout.count() > 0) context.set_deadline(std::chrono::system_clock::now() + timeout);
  // A runtime that restarts is waited for by the caller's retry, not inside the call: it must be seen as unavailable.
  context.set_wait_for_ready(false);
}

// One unary call: outlives the caller, because gRPC holds pointers into it until its callback has run.
template <typename Request, typename Response>
struct UnaryCall {
  grpc::ClientContext context;
  Request request;
  Response response;
};

template <typename Request, typename Response, typename Start>
Task<StatusOr<Response>> Unary(Request request, CallOptions options, asio::any_io_executor executor, Start start) {
  auto call = std::make_shared<UnaryCall<Request, Response>>();
  call->request = std::move(request);
  SetDeadline(call->context, options.timeout);
  auto initiate = [&call, &executor, &start](auto handler) {
    using Handler = decltype(handler);
    struct Pending {
      explicit Pending(Handler h, asio::any_io_executor ex)
          : handler(std::move(h)), executor(asio::prefer(ex, asio::execution::outstanding_work.tracked)) {}
      Handler handler;
      asio::any_io_executor executor;
    };
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto pending = std::make_shared<Pending>(std::move(handler), executor);
    if (slot.is_connected()) {
      slot.assign([weak = std::weak_ptr(call)](asio::cancellation_type) {
        if (auto c = weak.lock()) c->context.TryCancel();
      });
    }
    start(call.get(), [call, pending](grpc::Status status) mutable {
      // On a gRPC thread. Everything, also the destruction of call and handler, goes to the loop.
      auto ex = pending->executor;
      asio::post(ex, [call = std::move(call), pending = std::move(pending), status = std::move(status)]() mutable {
        auto handler = std::move(pending->handler);
        pending.reset();
        std::move(handler)(ToStatus(status));
      });
    });
  };
  Status status =
      co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Status)>(initiate, asio::use_awaitable);
  if (!status.ok()) co_return status;
  co_return std::move(call->response);
}

// The event stream: reads one message at a time and hands it to the loop.
class EventStream : public grpc::ClientReadReactor<v1::ContainerEventResponse>,
                    public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(asio::any_io_executor executor, std::function<void(const v1::ContainerEventResponse&)> on_event)
      : executor_(std::move(executor)), on_event_(std::move(on_event)), done_(executor_) {}

  void Start(v1::RuntimeService::Stub& stub) {
    self_ = shared_from_this();
    stub.async()->GetContainerEvents(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }
  void Cancel() { context_.TryCancel(); }
  Task<Status> Wait() {
    Status waited = co_await done_.Wait();
    if (!waited.ok()) {
      Cancel();
      on_event_ = nullptr;
      co_return waited;
    }
    co_return result_;
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    auto event = std::make_shared<v1::ContainerEventResponse>(std::move(event_));
    event_.Clear();
    asio::post(executor_, [self = shared_from_this(), event] {
      if (self->on_event_) self->on_event_(*event);
    });
    StartRead(&event_);
  }
  void OnDone(const grpc::Status& status) override {
    asio::post(executor_, [self = std::move(self_), status] {
      self->result_ = ToStatus(status);
      self->done_.Notify();
    });
  }

  asio::any_io_executor executor_;
  std::function<void(const v1::ContainerEventResponse&)> on_event_;
  Wakeup done_;
  Status result_;
  grpc::ClientContext context_;
  v1::GetEventsRequest request_;
  v1::ContainerEventResponse event_;
  std::shared_ptr<EventStream> self_;  // until OnDone
};

class GrpcRuntime final : public Runtime {
 public:
  GrpcRuntime(asio::any_io_executor executor, std::shared_ptr<grpc::Channel> runtime,
              std::shared_ptr<grpc::Channel> images)
      : executor_(std::move(executor)),
        runtime_(v1::RuntimeService::NewStub(runtime)),
        images_(v1::ImageService::NewStub(images)) {}

#define SKIFF_CRI_DEFINE(stub, name)                                                                 \
  Task<StatusOr<v1::name##Response>> name(v1::name##Request request, CallOptions options) override { \
    return Unary<v1::name##Request, v1::name##Response>(                                             \
        std::move(request), options, executor_, [s = stub.get()](auto* call, auto done) {            \
          s->async()->name(&call->context, &call->request, &call->response, std::move(done));        \
        });                                                                                          \
  }
#define SKIFF_CRI_DEFINE_RUNTIME(name) SKIFF_CRI_DEFINE(runtime_, name)
#define SKIFF_CRI_DEFINE_IMAGE(name) SKIFF_CRI_DEFINE(images_, name)
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_DEFINE_RUNTIME)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_DEFINE_IMAGE)
#undef SKIFF_CRI_DEFINE_RUNTIME
#undef SKIFF_CRI_DEFINE_IMAGE
#undef SKIFF_CRI_DEFINE

  Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) override {
    auto stream = std::make_shared<EventStream>(executor_, std::move(on_event));
    stream->Start(*runtime_);
    co_return co_await stream->Wait();
  }

 private:
  asio::any_io_executor executor_;
  std::unique_ptr<v1::RuntimeService::Stub> runtime_;
  std::unique_ptr<v1::ImageService::Stub> images_;
};

StatusOr<std::string> Target(const std::string& endpoint) {
  absl::string_view path = endpoint;
  if (!absl::ConsumePrefix(&path, "unix://")) absl::ConsumePrefix(&path, "unix:");
  if (path.empty() || path[0] != '/' || absl::StrContains(endpoint, "tcp:")) {
    return InvalidArgument("container runtime endpoint \"", endpoint,
                           "\": only unix sockets (unix:///path) are supported");
  }
  return absl::StrCat("unix:", path);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, size_t max_message_bytes) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(static_cast<int>(max_message_bytes));
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 3000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  args.SetInt(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  args.SetInt(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 16 << 10);
  args.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 64 << 10);
  args.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, 4 << 10);
  args.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");  // Go's gRPC servers refuse an escaped path as authority
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), args);
}

}  // namespace

void TuneGrpc() {
  // Read once by gRPC when it starts. One poller; no DNS library; no tracing.
  ::setenv("GRPC_POLL_STRATEGY", "epoll1", 0);
  ::setenv("GRPC_DNS_RESOLVER", "native", 0);
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  ::setenv("GRPC_ENABLE_FORK_SUPPORT", "0", 0);
}

StatusOr<std::unique_ptr<Runtime>> Connect(asio::any_io_executor executor, ClientOptions options) {
  TuneGrpc();
  ASSIGN_OR_RETURN(std::string target, Target(options.endpoint));
  auto runtime = MakeChannel(target, options.max_message_bytes);
  auto images = runtime;
  if (!options.image_endpoint.empty() && options.image_endpoint != options.endpoint) {
    ASSIGN_OR_RETURN(std::string image_target, Target(options.image_endpoint));
    images = MakeChannel(image_target, options.max_message_bytes);
  }
  return std::unique_ptr<Runtime>(
      std::make_unique<GrpcRuntime>(std::move(executor), std::move(runtime), std::move(images)));
}

Task<StatusOr<RuntimeVersion>> DetectVersion(Runtime& runtime) {
  v1::VersionRequest request;
  request.set_version("0.1.0");  // the kubelet's own API version, as upstream sends it
  auto answer = co_await runtime.Version(std::move(request), {.timeout = std::chrono::seconds(10)});
  if (!answer.ok()) {
    if (absl::IsUnimplemented(answer.status())) {
      co_return Status(answer.status().code(),
                       absl::StrCat("validate CRI v1 runtime API: ", answer.status().message()));
    }
    co_return answer.status();
  }
  co_return RuntimeVersion{answer->runtime_name(), answer->runtime_version(), answer->runtime_api_version()};
}

}  // namespace skiff::cri
