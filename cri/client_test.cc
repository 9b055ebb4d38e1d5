// The real client against a gRPC server on a unix socket: answers, errors, time-outs, cancellation, restarts, streams.
#include "cri/client.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <grpc/grpc.h>
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
  grpc::Status UpdateRuntimeConfig(grpc::ServerContext*, const v1::UpdateRuntimeConfigRequest*,
                                   v1::UpdateRuntimeConfigResponse*) override {
    return grpc::Status(grpc::StatusCode::CANCELLED, "context canceled");
  }
  // As many containers as the state's number says, each of about a KiB.
  grpc::Status ListContainers(grpc::ServerContext*, const v1::ListContainersRequest* request,
                              v1::ListContainersResponse* answer) override {
    for (int i = 0; i < std::stoi(request->filter().id()); ++i) {
      answer->add_containers()->set_id(std::to_string(i) + std::string(1000, 'x'));
    }
    return grpc::Status::OK;
  }
  grpc::Status RemoveContainer(grpc::ServerContext*, const v1::RemoveContainerRequest* request,
                               v1::RemoveContainerResponse*) override {
    return grpc::Status(grpc::StatusCode::INTERNAL, "größe 100%: " + std::to_string(request->container_id().size()));
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
    static const bool kept = (grpc_init(), true);  // its shutdown, after the last server, takes ten seconds at times
    EXPECT_TRUE(kept);
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

TEST_F(ClientTest, TextThatIsNoUtf8StaysHere) {
  v1::StartContainerRequest request;
  request.set_container_id("\xff");
  EXPECT_EQ(Get(runtime_->StartContainer(request)).status(),
            Internal("grpc: error while marshaling: string field contains invalid UTF-8: container_id"));
}

// kCancelled means that the caller was: loops end at it.
TEST_F(ClientTest, ACancelledRuntimeIsUnavailable) {
  auto answer = Get(runtime_->UpdateRuntimeConfig({}));
  EXPECT_EQ(answer.status(), absl::UnavailableError("context canceled"));
}

TEST_F(ClientTest, LargeMessagesBothWaysSideBySide) {
  v1::ListContainersRequest list;
  list.mutable_filter()->set_id("5000");
  v1::RemoveContainerRequest remove;
  remove.set_container_id(std::string(3 << 20, 'y'));
  std::optional<StatusOr<v1::ListContainersResponse>> a, b;
  std::optional<StatusOr<v1::RemoveContainerResponse>> c;
  Spawn(loop_.get_executor(), "a", Keep(runtime_->ListContainers(list), &a));
  Spawn(loop_.get_executor(), "b", Keep(runtime_->ListContainers(list), &b));
  Spawn(loop_.get_executor(), "c", Keep(runtime_->RemoveContainer(remove), &c));
  while (!a || !b || !c) loop_.run_one();
  ASSERT_TRUE(a->ok() && b->ok()) << a->status() << b->status();
  EXPECT_EQ((*a)->containers_size(), 5000);
  EXPECT_EQ((*b)->containers(4999).id().substr(0, 4), "4999");
  EXPECT_EQ(c->status().ToString(), "INTERNAL: größe 100%: 3145728");
}

TEST_F(ClientTest, AnAnswerPastTheLimitIsAnErrorAndTheNextCallGoesOn) {
  runtime_ = *Connect(loop_.get_executor(), {.endpoint = endpoint_, .max_message_bytes = 100 << 10});
  v1::ListContainersRequest list;
  list.mutable_filter()->set_id("1000");
  EXPECT_EQ(Get(runtime_->ListContainers(list)).status().code(), absl::StatusCode::kResourceExhausted);
  list.mutable_filter()->set_id("10");
  EXPECT_TRUE(Get(runtime_->ListContainers(list)).ok());
}

TEST_F(ClientTest, NobodyAtTheSocket) {
  Stop();
  ::unlink((directory_ + "/s").c_str());
  EXPECT_EQ(Get(runtime_->Version({})).status().message(),
            "connection error: desc = \"transport: Error while dialing: dial unix " + directory_ +
                "/s: connect: no such file or directory\"");
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
  while (!service_.cancelled) {
    loop_.poll();  // the server is told
    std::this_thread::yield();
  }
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
