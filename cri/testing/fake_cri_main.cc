// fake_cri --listen SOCKET [--image NAME]...: a container runtime in memory behind a socket (cri/fake_runtime.h), for
// tests of a whole kubelet in which nothing is to be run. Containers run until they are stopped.
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "cri/fake_runtime.h"

namespace skiff::cri {
namespace {

class Server final : public grpc::CallbackGenericService {
 public:
  Server(asio::io_context& loop, const std::vector<std::string>& images) : loop_(loop), runtime_(Clock::Real()) {
    runtime_.strict = true;
    for (const auto& image : images) runtime_.AddImage(image);
#define SKIFF_CRI_SERVE(name)                                                                      \
  methods_[#name] = [](FakeRuntime& runtime, std::string text) {                                   \
    return Serve<v1::name##Request, v1::name##Response>(runtime, &Runtime::name, std::move(text)); \
  };
    SKIFF_CRI_RUNTIME_METHODS(SKIFF_CRI_SERVE)
    SKIFF_CRI_IMAGE_METHODS(SKIFF_CRI_SERVE)
#undef SKIFF_CRI_SERVE
  }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Call(*this, context->method());
  }

 private:
  using Method = std::function<Task<StatusOr<std::string>>(FakeRuntime&, std::string)>;

  template <typename Request, typename Answer>
  static Task<StatusOr<std::string>> Serve(FakeRuntime& runtime,
                                           Task<StatusOr<Answer>> (Runtime::*method)(Request, CallOptions),
                                           std::string text) {
    Request request;
    if (!request.ParseFromString(text)) co_return InvalidArgument("not a ", request.GetTypeName());
    Runtime& base = runtime;
    auto answer = co_await (base.*method)(std::move(request), {});
    runtime.calls.clear();  // nobody asks for them
    runtime.pulls.clear();
    if (!answer.ok()) co_return answer.status();
    co_return answer->SerializeAsString();
  }

  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(Server& server, const std::string& method) : server_(server), method_(method.substr(method.rfind('/') + 1)) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status(grpc::StatusCode::INTERNAL, "no request"));
      std::vector<grpc::Slice> slices;
      (void)request_.Dump(&slices);
      std::string text;
      for (const auto& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      asio::post(server_.loop_, [this, text = std::move(text)]() mutable {
        Spawn(server_.loop_.get_executor(), method_, Answer(this, std::move(text)));
      });
    }
    void OnDone() override { delete this; }

   private:
    static Task<void> Answer(Call* call, std::string text) {
      auto it = call->server_.methods_.find(call->method_);
      StatusOr<std::string> answer = absl::UnimplementedError("unknown method " + call->method_);
      if (it != call->server_.methods_.end()) answer = co_await it->second(call->server_.runtime_, std::move(text));
      if (!answer.ok()) {
        call->Finish(grpc::Status(static_cast<grpc::StatusCode>(answer.status().code()),
                                  std::string(answer.status().message())));
        co_return;
      }
      const grpc::Slice slice(*answer);
      call->answer_ = grpc::ByteBuffer(&slice, 1);
      call->StartWriteAndFinish(&call->answer_, grpc::WriteOptions(), grpc::Status::OK);
    }

    Server& server_;
    const std::string method_;
    grpc::ByteBuffer request_, answer_;
  };

  asio::io_context& loop_;
  FakeRuntime runtime_;
  std::map<std::string, Method> methods_;
};

int Main(int argc, char** argv) {
  std::string listen;
  std::vector<std::string> images;
  const option names[] = {{"listen", required_argument, nullptr, 'l'},
                          {"image", required_argument, nullptr, 'i'},
                          {nullptr, 0, nullptr, 0}};
  for (int c; (c = ::getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    switch (c) {
      case 'l': listen = optarg; break;
      case 'i': images.emplace_back(optarg); break;
      default: return 2;
    }
  }
  if (listen.empty()) {
    std::fprintf(stderr, "fake_cri: --listen is needed\n");
    return 2;
  }
  asio::io_context loop;
  const auto work = asio::make_work_guard(loop);
  Server service(loop, images);
  grpc::ServerBuilder builder;
  ::unlink(listen.c_str());
  builder.AddListeningPort("unix://" + listen, grpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  loop.run();
  return 0;
}

}  // namespace
}  // namespace skiff::cri

int main(int argc, char** argv) { return skiff::cri::Main(argc, argv); }
