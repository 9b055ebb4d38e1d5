// Streams through the kubelet's server to a real runtime's streaming server: a containerd of the test's own
// (e2e/containerd), or the one whose endpoint SKIFF_TEST_CRI names (images: localhost/skiff/pause:1,
// localhost/skiff/test:1).
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "base/http_client.h"
#include "base/websocket.h"
#include "cri/client.h"
#include "kubelet/server/server.h"
#include "kubelet/server/testing.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;
namespace v1 = ::runtime::v1;

struct RuntimeHost : FakeServerHost {
  Task<StatusOr<std::string>> ExecUrl(std::string, StreamOptions options) override {
    v1::ExecRequest request;
    request.set_container_id(container);
    for (const auto& word : options.command) request.add_cmd(word);
    request.set_stdin(options.stdin_);
    request.set_stdout(options.stdout_);
    request.set_stderr(options.stderr_);
    request.set_tty(options.tty);
    CO_ASSIGN_OR_RETURN(const auto answer, co_await runtime->Exec(std::move(request)));
    co_return answer.url();
  }
  Task<StatusOr<std::string>> PortForwardUrl(std::string, std::vector<int32_t> ports) override {
    v1::PortForwardRequest request;
    request.set_pod_sandbox_id(sandbox);
    for (int32_t port : ports) request.add_port(port);
    CO_ASSIGN_OR_RETURN(const auto answer, co_await runtime->PortForward(std::move(request)));
    co_return answer.url();
  }
  StatusOr<std::string> RunningContainerId(const Pod&, const std::string&) override { return container; }
  StatusOr<std::string> SandboxId(const Pod&) override { return sandbox; }

  cri::Runtime* runtime = nullptr;
  std::string sandbox, container;
};

// Ends with whoever holds its standard input.
class OwnContainerd {
 public:
  OwnContainerd() {
    if (const char* named = getenv("SKIFF_TEST_CRI")) {
      endpoint = named;
      return;
    }
    if (geteuid() != 0) {
      problem = "needs root";
      return;
    }
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
      problem = "pipe2";
      return;
    }
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execl("e2e/containerd", "e2e/containerd", nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    hold_ = in[1];
    for (char c; read(out[0], &c, 1) == 1 && c != '\n';) endpoint += c;
    close(out[0]);
    if (endpoint.empty()) problem = "e2e/containerd does not start (it wants containerd and what hack/images needs)";
  }
  ~OwnContainerd() {
    if (hold_ >= 0) close(hold_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  std::string endpoint, problem;

 private:
  pid_t pid_ = -1;
  int hold_ = -1;
};

struct RuntimeStreamTest : testing::Test {
  static inline std::unique_ptr<OwnContainerd> own;
  static void SetUpTestSuite() { own = std::make_unique<OwnContainerd>(); }
  static void TearDownTestSuite() { own = nullptr; }

  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  RuntimeHost host;
  std::unique_ptr<cri::Runtime> runtime;
  std::unique_ptr<KubeletServer> server;
  std::unique_ptr<http::Client> client;

  void SetUp() override {
    if (!own->problem.empty()) GTEST_SKIP() << own->problem;
    cri::ClientOptions cri_options;
    cri_options.endpoint = own->endpoint;
    runtime = *cri::Connect(loop.get_executor(), cri_options);
    host.runtime = runtime.get();
    const Status status = RunTask(loop, StartPod());
    ASSERT_TRUE(status.ok()) << status;
    KubeletServerOptions options;
    options.root_dir = dir.path();
    options.address = "127.0.0.1";
    options.port = 0;
    options.healthz_port = 0;
    options.hostname = "n1";
    options.auth.anonymous = true;
    options.auth.webhook_authorization = false;
    server = std::make_unique<KubeletServer>(loop.get_executor(), options, host, nullptr, clock);
    ASSERT_TRUE(server->Start().ok());
    TlsClientConfig::Options tls;
    tls.insecure_skip_verify = true;
    client = std::make_unique<http::Client>(loop.get_executor(), absl::StrCat("127.0.0.1:", server->port()),
                                            *TlsClientConfig::Make(std::move(tls)));
  }

  void TearDown() override {
    if (runtime == nullptr || host.sandbox.empty()) return;
    RunTask(loop, StopPod()).IgnoreError();
  }

  Task<Status> StartPod() {
    v1::RunPodSandboxRequest run;
    auto& config = *run.mutable_config();
    config.mutable_metadata()->set_name("streams");
    config.mutable_metadata()->set_namespace_("skiff-test");
    config.mutable_metadata()->set_uid(absl::StrCat("uid-", getpid(), "-", dir.path()));
    config.set_log_directory(dir.path());
    auto* ns = config.mutable_linux()->mutable_security_context()->mutable_namespace_options();
    ns->set_network(v1::NODE);  // no CNI needed
    CO_ASSIGN_OR_RETURN(const auto ran, co_await runtime->RunPodSandbox(run));
    host.sandbox = ran.pod_sandbox_id();
    v1::CreateContainerRequest create;
    create.set_pod_sandbox_id(host.sandbox);
    create.mutable_config()->mutable_metadata()->set_name("a");
    create.mutable_config()->mutable_image()->set_image("localhost/skiff/test:1");
    create.mutable_config()->add_command("/bin/sleep");
    create.mutable_config()->add_args("600");
    create.mutable_config()->set_log_path("a.log");
    create.mutable_config()->mutable_linux();
    *create.mutable_sandbox_config() = config;
    CO_ASSIGN_OR_RETURN(const auto created, co_await runtime->CreateContainer(create));
    host.container = created.container_id();
    v1::StartContainerRequest start;
    start.set_container_id(host.container);
    co_return (co_await runtime->StartContainer(start)).status();
  }
  Task<Status> StopPod() {
    v1::StopPodSandboxRequest stop;
    stop.set_pod_sandbox_id(host.sandbox);
    CO_RETURN_IF_ERROR((co_await runtime->StopPodSandbox(stop)).status());
    v1::RemovePodSandboxRequest remove;
    remove.set_pod_sandbox_id(host.sandbox);
    co_return (co_await runtime->RemovePodSandbox(remove)).status();
  }

  // What a WebSocket client sent and got: all messages until the server's close, as CHANNEL:TEXT.
  struct Talk {
    int status = 0;
    std::string protocol, body;
    std::vector<std::string> messages;
    int close = 0;
    std::string Channel(int channel) const {
      std::string out;
      const std::string prefix = absl::StrCat(channel, ":");
      for (const auto& message : messages) {
        if (absl::StartsWith(message, prefix)) out += message.substr(prefix.size());
      }
      return out;
    }
  };
  static std::string Masked(std::string_view payload) {
    std::string frame("\x82", 1);
    frame.push_back(static_cast<char>(0x80 | payload.size()));
    frame.append(4, '\0');
    return frame.append(payload);
  }
  Task<Talk> Converse(std::string target, std::string protocol, std::vector<std::string> say) {
    Talk talk;
    http::ClientRequest request;
    request.target = std::move(target);
    request.headers = {{"Connection", "Upgrade"},
                       {"Upgrade", "websocket"},
                       {"Sec-WebSocket-Version", "13"},
                       {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                       {"Sec-WebSocket-Protocol", protocol}};
    auto up = co_await client->Upgrade(std::move(request));
    if (!up.ok()) {
      talk.body = std::string(up.status().message());
      co_return talk;
    }
    talk.status = up->status;
    talk.body = up->body;
    talk.protocol = std::string(up->headers.Get("Sec-WebSocket-Protocol"));
    if (up->stream == nullptr) co_return talk;
    for (const std::string& message : say) {
      if (!(co_await up->stream->Write(Masked(message))).ok()) co_return talk;
    }
    std::string in;
    char buffer[4096];
    for (;;) {
      const auto frame = ParseWebSocketFrame(in, false);
      if (!frame.ok()) co_return talk;
      if (!*frame || in.size() < (*frame)->head + (*frame)->length) {
        auto got = co_await up->stream->Read(buffer);
        if (!got.ok() || *got == 0) co_return talk;
        in.append(buffer, *got);
        continue;
      }
      const std::string payload = in.substr((*frame)->head, (*frame)->length);
      in.erase(0, (*frame)->head + (*frame)->length);
      if ((*frame)->opcode == 8) {
        talk.close = static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]);
        co_return talk;
      }
      talk.messages.push_back(absl::StrCat(static_cast<int>(payload[0]), ":", payload.substr(1)));
    }
  }
};

TEST_F(RuntimeStreamTest, ROOT_ExecV5AsRecorded) {
  const Talk talk = RunTask(
      loop,
      Converse("/exec/golden/lg/a?output=1&error=1&command=sh&command=-c&command=echo+out%3Becho+err+%3E%262%3Bexit+3",
               "v5.channel.k8s.io", {}));
  EXPECT_EQ(talk.status, 101);
  EXPECT_EQ(talk.protocol, "v5.channel.k8s.io");
  ASSERT_FALSE(talk.messages.empty());
  EXPECT_EQ(talk.messages[0], "1:");
  EXPECT_EQ(talk.Channel(1), "out\n");
  EXPECT_EQ(talk.Channel(2), "err\n");
  EXPECT_EQ(
      talk.Channel(3),
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})");
  EXPECT_EQ(talk.close, 1000);
}

TEST_F(RuntimeStreamTest, ROOT_ExecV5ClosesStdin) {
  const Talk talk =
      RunTask(loop, Converse("/exec/golden/lg/a?input=1&output=1&error=1&command=cat", "v5.channel.k8s.io",
                             {std::string("\0hello\n", 7), std::string("\xff\0", 2)}));
  EXPECT_EQ(talk.Channel(1), "hello\n");
  EXPECT_EQ(talk.Channel(3), R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(talk.close, 1000);
}

TEST_F(RuntimeStreamTest, ROOT_ExecV5Terminal) {
  const Talk talk = RunTask(
      loop, Converse("/exec/golden/lg/a?input=1&output=1&tty=1&command=sh&command=-c&command=sleep+0.5%3Bstty+size",
                     "v5.channel.k8s.io", {"\x04{\"Width\":99,\"Height\":33}"}));
  EXPECT_EQ(talk.Channel(1), "33 99\r\n");
  EXPECT_EQ(talk.close, 1000);
}

TEST_F(RuntimeStreamTest, ROOT_ExecV5CommandNotFound) {
  const Talk talk =
      RunTask(loop, Converse("/exec/golden/lg/a?output=1&error=1&command=/nosuch", "v5.channel.k8s.io", {}));
  EXPECT_TRUE(absl::StrContains(talk.Channel(3), "Internal error occurred: ")) << talk.Channel(3);
  EXPECT_TRUE(absl::StrContains(talk.Channel(3), "\"code\":500")) << talk.Channel(3);
}

TEST_F(RuntimeStreamTest, ROOT_ExecV4IsTheRuntimes) {
  const Talk talk =
      RunTask(loop, Converse("/exec/golden/lg/a?output=1&error=1&command=echo&command=hi", "v4.channel.k8s.io", {}));
  EXPECT_EQ(talk.protocol, "v4.channel.k8s.io");
  EXPECT_EQ(talk.Channel(1), "hi\n");
  EXPECT_EQ(RunTask(loop, Converse("/exec/golden/lg/a?output=1&command=echo", "v9.channel.k8s.io", {})).status, 403);
}

TEST_F(RuntimeStreamTest, ROOT_ExecMuchOutput) {
  const Talk talk =
      RunTask(loop, Converse("/exec/golden/lg/a?output=1&command=sh&command=-c&command=head+-c+3000000+/dev/zero",
                             "v5.channel.k8s.io", {}));
  EXPECT_EQ(talk.Channel(1).size(), 3000000u);
  EXPECT_EQ(talk.Channel(3), R"({"metadata":{},"status":"Success"})");
}

}  // namespace
}  // namespace skiff::kubelet
