// The real client against a gRPC server on a unix socket: answers, errors, time-outs, cancellation, restarts, streams.
#include "cri/client.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "gtest/gtest.h"
#include "runtime/v1/api.grpc.pb.h"

namespace skiff::cri {
namespace {

class TestRuntime final : public v1::RuntimeService::Service {
 public:
  grpc::Status Version(grpc::ServerContext*, const v1::VersionRequest* request, v1::VersionResponse* answer) override {
    answer->set_runtime_name("containerd");
    answer->set_runtime_version("1.6.20");
    answer->set_runtime_api_version("v1");
    answer->set_version(request->version());
    return grpc::Status::OK;
  }
  grpc::Status StartContainer(grpc::ServerContext*, const v1::StartContainerRequest*,
                              v1::StartContainerResponse*) override {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such container");
  }
  // Answers only when the caller has gone away.
  grpc::Status ExecSync(grpc::ServerContext* context, const v1::ExecSyncRequest*, v1::ExecSyncResponse*) override {
    called = true;
    while (!context->IsCancelled()) std::this_thread::yield();
    cancelled = true;
    return grpc::Status::CANCELLED;
  }
  grpc::Status GetContainerEvents(grpc::ServerContext*, const v1::GetEventsRequest*,
                                  grpc::ServerWriter<v1::ContainerEventResponse>* writer) override {
    for (const char* id : {"a", "b"}) {
      v1::ContainerEventResponse event;
      event.set_container_id(id);
      writer->Write(event);
    }
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down");
  }
  std::atomic<bool> called = false, cancelled = false;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    char dir[] = "/tmp/skiff-cri-XXXXXX";
    directory_ = ::mkdtemp(dir);
    endpoint_ = "unix://" + directory_ + "/s";
    Serve();
    auto runtime = Connect(loop_.get_executor(), {.endpoint = endpoint_});
    EXPECT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
  }
  ~ClientTest() override {
    runtime_ = nullptr;
    Stop();
    ::unlink((directory_ + "/s").c_str());
    ::rmdir(directory_.c_str());
  }
  void Serve() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(endpoint_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_ = nullptr;
  }
  template <typename T>
  static Task<void> Keep(Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  template <typename T>
  T Get(Task<T> task) {
    std::optional<T> out;
    Spawn(loop_.get_executor(), "call", Keep<T>(std::move(task), &out));
    loop_.restart();
    while (!out) loop_.run_one();
    return *std::move(out);
  }

  asio::io_context loop_;
  std::string directory_, endpoint_;
  TestRuntime service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Runtime> runtime_;
};

TEST_F(ClientTest, AnswersComeBackOnTheLoop) {
  auto version = Get(DetectVersion(*runtime_));
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->name, "containerd");
  EXPECT_EQ(version->api_version, "v1");
}

TEST_F(ClientTest, ErrorsKeepCodeAndMessage) {
  auto answer = Get(runtime_->StartContainer({}));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(answer.status().message(), "no such container");
  EXPECT_EQ(Get(runtime_->StopContainer({})).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Get(runtime_->ListImages({})).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(ClientTest, TimeOuts) {
  auto answer = Get(runtime_->ExecSync({}, {.timeout = std::chrono::milliseconds(20)}));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, ACancelledCallerEndsTheCall) {
  TaskGroup group(loop_.get_executor());
  std::optional<StatusOr<v1::ExecSyncResponse>> out;
  auto cancel = group.Spawn("call", Keep(runtime_->ExecSync({}), &out));
  // A call that is cancelled before it has left never reaches the server.
  while (!service_.called) {
    loop_.poll();
    std::this_thread::yield();
  }
  cancel();
  loop_.restart();
  while (!out) loop_.run_one();
  EXPECT_EQ(out->status().code(), absl::StatusCode::kCancelled);
  while (!service_.cancelled) std::this_thread::yield();
}

TEST_F(ClientTest, ARestartedRuntimeIsFoundAgain) {
  ASSERT_TRUE(Get(runtime_->Version({})).ok());
  Stop();
  EXPECT_EQ(Get(runtime_->Version({})).status().code(), absl::StatusCode::kUnavailable);
  Serve();
  Status status = absl::UnavailableError("");
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!status.ok() && std::chrono::steady_clock::now() < end) status = Get(runtime_->Version({})).status();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ClientTest, EventsStreamUntilTheEnd) {
  std::string seen;
  Status end =
      Get(runtime_->WatchContainerEvents([&](const v1::ContainerEventResponse& e) { seen += e.container_id(); }));
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(seen, "ab");
}

TEST(Connect, OnlyUnixSockets) {
  asio::io_context loop;
  EXPECT_FALSE(Connect(loop.get_executor(), {.endpoint = "tcp://127.0.0.1:1"}).ok());
  EXPECT_TRUE(Connect(loop.get_executor(), {.endpoint = "/run/x.sock"}).ok());
}

}  // namespace
}  // namespace skiff::cri
