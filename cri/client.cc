#include "cri/client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/grpc_channel.h"
#include "cri/encode.h"

namespace skiff::cri {
namespace {

Task<StatusOr<std::string>> Encoded(std::shared_ptr<GrpcChannel> channel, std::string method, std::string request,
                                    std::chrono::nanoseconds timeout) {
  auto answer = co_await channel->Unary(std::move(method), std::move(request), timeout);
  // A runtime that is going down says so as well; here it means that the caller was.
  if (absl::IsCancelled(answer.status()) && !co_await IsCancelled()) {
    co_return absl::UnavailableError(answer.status().message());
  }
  co_return answer;
}

template <typename Response>
Task<StatusOr<Response>> Unary(std::shared_ptr<GrpcChannel> channel, std::string method, StatusOr<std::string> request,
                               std::chrono::nanoseconds timeout) {
  CO_RETURN_IF_ERROR(request.status());
  CO_ASSIGN_OR_RETURN(std::string answer, co_await Encoded(channel, method, *std::move(request), timeout));
  Response response;
  if (!response.ParseFromString(answer)) co_return Internal(method, ": the answer is no ", Response().GetTypeName());
  co_return response;
}

class GrpcRuntime final : public Runtime {
 public:
  GrpcRuntime(std::shared_ptr<GrpcChannel> runtime, std::shared_ptr<GrpcChannel> images)
      : runtime_(std::move(runtime)), images_(std::move(images)) {}

#define SKIFF_CRI_DEFINE(channel, service, name)                                                                   \
  Task<StatusOr<v1::name##Response>> name(v1::name##Request request, CallOptions options) override {               \
    return Unary<v1::name##Response>(channel, "/runtime.v1." service "/" #name, Encode(request), options.timeout); \
  }
#define SKIFF_CRI_DEFINE_RUNTIME(name) SKIFF_CRI_DEFINE(runtime_, "RuntimeService", name)
#define SKIFF_CRI_DEFINE_IMAGE(name) SKIFF_CRI_DEFINE(images_, "ImageService", name)
  SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_DEFINE_RUNTIME)
  SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_DEFINE_IMAGE)
#undef SKIFF_CRI_DEFINE_RUNTIME
#undef SKIFF_CRI_DEFINE_IMAGE
#undef SKIFF_CRI_DEFINE

  Task<StatusOr<std::string>> ListPodSandboxEncoded(CallOptions options) override {
    return Encoded(runtime_, "/runtime.v1.RuntimeService/ListPodSandbox", "", options.timeout);
  }
  Task<StatusOr<std::string>> ListContainersEncoded(CallOptions options) override {
    return Encoded(runtime_, "/runtime.v1.RuntimeService/ListContainers", "", options.timeout);
  }

  Task<absl::Status> WatchContainerEvents(std::function<void(const v1::ContainerEventResponse&)> on_event) override {
    return runtime_->ServerStream("/runtime.v1.RuntimeService/GetContainerEvents",
                                  v1::GetEventsRequest().SerializeAsString(),
                                  [on_event = std::move(on_event)](std::string message) {
                                    v1::ContainerEventResponse event;
                                    if (event.ParseFromString(message)) on_event(event);
                                  });
  }

 private:
  std::shared_ptr<GrpcChannel> runtime_, images_;
};

// The path of a unix socket.
StatusOr<std::string> Target(const std::string& endpoint) {
  absl::string_view path = endpoint;
  if (!absl::ConsumePrefix(&path, "unix://")) absl::ConsumePrefix(&path, "unix:");
  if (path.empty() || path[0] != '/' || absl::StrContains(endpoint, "tcp:")) {
    return InvalidArgument("container runtime endpoint \"", endpoint,
                           "\": only unix sockets (unix:///path) are supported");
  }
  return std::string(path);
}

}  // namespace

StatusOr<std::unique_ptr<Runtime>> Connect(asio::any_io_executor executor, ClientOptions options) {
  const GrpcChannel::Options channel = {.max_message_bytes = options.max_message_bytes};
  ASSIGN_OR_RETURN(std::string target, Target(options.endpoint));
  auto runtime = std::make_shared<GrpcChannel>(executor, target, channel);
  auto images = runtime;
  if (!options.image_endpoint.empty() && options.image_endpoint != options.endpoint) {
    ASSIGN_OR_RETURN(std::string image_target, Target(options.image_endpoint));
    images = std::make_shared<GrpcChannel>(executor, image_target, channel);
  }
  return std::unique_ptr<Runtime>(std::make_unique<GrpcRuntime>(std::move(runtime), std::move(images)));
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
