#include "kubelet/probe/prober.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "api/codec.h"
#include "base/async_testing.h"
#include "base/blocking_testing.h"
#include "base/http_server.h"
#include "base/tls.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
using namespace std::chrono_literals;

struct FakeHost final : ProbeHost {
  explicit FakeHost(FakeClock& clock) : clock(clock) {}
  std::optional<Container> ContainerOf(const std::string&, const std::string&) override { return container; }
  std::string PodIp(const std::string&) override { return "127.0.0.1"; }
  bool PodFinished(const std::string&) override { return finished; }
  bool PodTerminating(const std::string&) override { return terminating; }
  Task<StatusOr<ExecResult>> ExecSync(std::string, std::vector<std::string> command,
                                      std::chrono::nanoseconds) override {
    ++execs;
    last_command = command;
    if (!error.ok()) co_return error;
    co_return exec;
  }
  void ProbeChanged(const std::string&, const std::string&, ProbeKind kind, ProbeResult result) override {
    changes.emplace_back(kind, result);
  }
  void ProbeEvent(const core::Pod&, const std::string& name, std::string_view type, std::string_view reason,
                  std::string_view message) override {
    events.push_back(absl::StrCat(name, " ", type, " ", reason, ": ", message));
  }
  void Start(std::string id) {
    container = Container{};
    container->id = std::move(id);
    container->running = true;
    container->started = true;
    container->started_at = clock.Now();
  }

  FakeClock& clock;
  std::optional<Container> container;
  bool finished = false, terminating = false;
  ExecResult exec;
  Status error;
  int execs = 0;
  std::vector<std::string> last_command;
  std::vector<std::pair<ProbeKind, ProbeResult>> changes;
  std::vector<std::string> events;
};

std::shared_ptr<const core::Pod> PodWith(std::string_view probes) {
  auto pod = std::make_shared<core::Pod>();
  const std::string json = absl::StrCat(
      R"({"metadata":{"name":"p","namespace":"ns","uid":"u"},"spec":{"containers":[{"name":"c",)", probes, "}]}}");
  const Status status = api::FromJson(json, pod.get());
  EXPECT_TRUE(status.ok()) << status;
  return pod;
}

struct ProberTest : testing::Test {
  asio::io_context loop;
  FakeClock clock;
  FakeHost host{clock};
  metrics::Registry registry;
  ProbeManager manager{loop.get_executor(), host, clock, &registry};

  // A kubelet that has run for a while probes at once; a fresh one spreads its first probes.
  ProberTest() { clock.Advance(1h, loop); }
  void Run(std::chrono::nanoseconds time) { clock.Advance(time, loop); }
  core::PodStatus StatusOf(bool started = true) {
    core::PodStatus status;
    auto* c = status.add_containerstatuses();
    c->set_name("c");
    c->set_containerid(host.container->id);
    c->mutable_state()->mutable_running();
    c->set_started(started);
    return status;
  }
};

TEST_F(ProberTest, ReadinessFollowsItsThresholds) {
  const auto pod = PodWith(
      R"("readinessProbe":{"exec":{"command":["cat","/r"]},"periodSeconds":2,"successThreshold":2,"failureThreshold":2})");
  host.Start("containerd://1");
  manager.AddPod(pod);
  manager.AddPod(pod);  // once only
  Run(0s);
  EXPECT_EQ(host.execs, 1);
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kFailure);
  Run(2s);
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kSuccess);
  auto status = StatusOf();
  manager.UpdateStatus(*pod, &status);
  EXPECT_TRUE(status.containerstatuses(0).ready());
  host.exec = {1, "cat: can't open '/r'\n"};
  Run(2s);
  EXPECT_EQ(host.events.back(), "c Warning Unhealthy: Readiness probe failed: cat: can't open '/r'\n");
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kSuccess);
  Run(2s);
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kFailure);
  status = StatusOf();
  manager.UpdateStatus(*pod, &status);
  EXPECT_FALSE(status.containerstatuses(0).ready());
  EXPECT_TRUE(status.containerstatuses(0).started());
  EXPECT_TRUE(absl::StrContains(
      registry.Expose(),
      R"(prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Readiness",result="failed"} 2)"));
  manager.RemovePod("u");
  Run(10s);
  const int before = host.execs;
  Run(10s);
  EXPECT_EQ(host.execs, before);
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kUnknown);
}

TEST_F(ProberTest, LivenessFailsOnceAndHoldsUntilTheNextContainer) {
  const auto pod = PodWith(
      R"("livenessProbe":{"exec":{"command":["x"]},"periodSeconds":1,"failureThreshold":2,"initialDelaySeconds":3})");
  host.Start("containerd://1");
  manager.AddPod(pod);
  host.exec = {1, ""};
  Run(2s);
  EXPECT_EQ(host.execs, 0);  // the initial delay
  Run(1s);
  EXPECT_EQ(host.execs, 1);
  EXPECT_EQ(manager.Get(ProbeKind::kLiveness, "containerd://1"), ProbeResult::kSuccess);
  Run(1s);
  EXPECT_EQ(manager.Get(ProbeKind::kLiveness, "containerd://1"), ProbeResult::kFailure);
  EXPECT_EQ(host.changes.back(), std::make_pair(ProbeKind::kLiveness, ProbeResult::kFailure));
  Run(5s);
  EXPECT_EQ(host.execs, 2);
  host.Start("containerd://2");
  Run(1s);
  EXPECT_EQ(manager.Get(ProbeKind::kLiveness, "containerd://1"), ProbeResult::kUnknown);
  EXPECT_EQ(manager.Get(ProbeKind::kLiveness, "containerd://2"), ProbeResult::kSuccess);
  Run(2s);
  EXPECT_EQ(host.execs, 3);  // three seconds after it started
}

TEST_F(ProberTest, StartupHoldsBackTheOthers) {
  const auto pod = PodWith(
      R"("startupProbe":{"exec":{"command":["s"]},"periodSeconds":1,"failureThreshold":5},
         "readinessProbe":{"exec":{"command":["r"]},"periodSeconds":1})");
  host.Start("containerd://1");
  host.container->started = false;
  host.exec = {1, "not yet"};
  manager.AddPod(pod);
  Run(2s);
  EXPECT_EQ(host.last_command, std::vector<std::string>{"s"});
  auto status = StatusOf(false);
  manager.UpdateStatus(*pod, &status);
  EXPECT_FALSE(status.containerstatuses(0).started());
  host.exec = {0, ""};
  Run(1s);
  EXPECT_EQ(manager.Get(ProbeKind::kStartup, "containerd://1"), ProbeResult::kSuccess);
  host.container->started = true;
  status = StatusOf(false);
  manager.UpdateStatus(*pod, &status);  // started now: readiness is looked at at once
  EXPECT_TRUE(status.containerstatuses(0).started());
  Run(0s);
  EXPECT_EQ(host.last_command, std::vector<std::string>{"r"});
  EXPECT_EQ(manager.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kSuccess);
}

TEST_F(ProberTest, ErrorsTimeoutsAndEndingPods) {
  const auto pod = PodWith(R"("livenessProbe":{"exec":{"command":["sleep","30"]},"periodSeconds":1})");
  host.Start("containerd://1");
  host.error = absl::DeadlineExceededError("x");
  manager.AddPod(pod);
  Run(0s);
  EXPECT_EQ(host.events.at(0),
            "c Warning Unhealthy: Liveness probe failed: command timed out: \"sleep 30\" timed out after 1s");
  host.error = absl::NotFoundError("failed to exec in container: failed to load task: no running task found");
  const int before = host.execs;
  Run(1s);
  EXPECT_EQ(host.execs, before + 3);
  EXPECT_EQ(host.events.at(1),
            "c Warning Unhealthy: Liveness probe errored and resulted in unknown state: rpc error: code = NotFound "
            "desc = failed to exec in container: failed to load task: no running task found");
  host.terminating = true;
  Run(1s);
  EXPECT_EQ(host.execs, before + 3);
  Run(5s);
  EXPECT_EQ(host.execs, before + 3);
}

TEST_F(ProberTest, CommandsAreExpandedByWhatThePodSays) {
  const auto pod = PodWith(R"json(
      "env":[{"name":"A","value":"a"},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
      "livenessProbe":{"exec":{"command":["$(A)","<$(B)>","$(C)","$$(A)"]},"periodSeconds":1})json");
  host.Start("containerd://1");
  manager.AddPod(pod);
  Run(0s);
  EXPECT_EQ(host.last_command, (std::vector<std::string>{"a", "<>", "$(C)", "$(A)"}));
}

// Its start failed, or waits: the same container may be started yet.
TEST_F(ProberTest, AContainerThatWasMadeAndNotStartedHasNotFailed) {
  const auto pod = PodWith(R"("livenessProbe":{"exec":{"command":["x"]},"periodSeconds":1})");
  host.Start("containerd://1");
  host.container->running = false;
  manager.AddPod(pod);
  Run(3s);
  EXPECT_NE(manager.Get(ProbeKind::kLiveness, "containerd://1"), ProbeResult::kFailure);
}

TEST_F(ProberTest, AContainerThatEndedForGoodIsNotProbedAgain) {
  const auto pod = PodWith(R"("livenessProbe":{"exec":{"command":["x"]},"periodSeconds":1})");
  host.Start("containerd://1");
  manager.AddPod(pod);
  Run(1s);
  host.container->running = false;
  host.container->terminated = true;
  host.container->restarts = false;
  Run(1s);
  const size_t changes = host.changes.size();
  for (int i = 0; i < 5; ++i) {
    manager.AddPod(pod);  // as every sync does
    Run(1s);
  }
  EXPECT_EQ(host.changes.size(), changes);
}

TEST_F(ProberTest, no_flap_AfterARestartReadyContainersStayReady) {
  auto pod = std::make_shared<core::Pod>(*PodWith(R"("readinessProbe":{"exec":{"command":["r"]},"periodSeconds":10})"));
  auto* condition = pod->mutable_status()->add_conditions();
  condition->set_type("Ready");
  condition->set_status("True");
  host.Start("containerd://1");
  clock.Advance(1min, loop);
  ProbeManager fresh(loop.get_executor(), host, clock);
  fresh.AddPod(pod);
  Run(0s);
  auto status = StatusOf();
  status.mutable_containerstatuses(0)->mutable_state()->mutable_running()->mutable_startedat()->set_seconds(
      std::chrono::system_clock::to_time_t(host.container->started_at));
  fresh.UpdateStatus(*pod, &status);
  EXPECT_TRUE(status.containerstatuses(0).ready());
  Run(10s);
  EXPECT_EQ(fresh.Get(ProbeKind::kReadiness, "containerd://1"), ProbeResult::kSuccess);
}

// Reliability row clock-jump: an hour back or forth neither stops probes nor cuts initial delays.
TEST_F(ProberTest, clock_jump) {
  for (auto jump : {1h, -1h}) {
    FakeClock clock;
    FakeHost host(clock);
    ProbeManager manager(loop.get_executor(), host, clock);
    clock.Advance(1h, loop);
    const auto pod =
        PodWith(R"("livenessProbe":{"exec":{"command":["true"]},"initialDelaySeconds":10,"periodSeconds":5})");
    host.Start("containerd://1");
    manager.AddPod(pod);
    clock.Advance(4s, loop);
    clock.JumpWall(jump);
    clock.Advance(5s, loop);
    EXPECT_EQ(host.execs, 0) << "the delay is ten seconds";
    clock.Advance(5s, loop);
    EXPECT_EQ(host.execs, 1);
    clock.JumpWall(jump);
    clock.Advance(15s, loop);
    EXPECT_EQ(host.execs, 4);
  }
}

// What starts after the clock was set back is not taken for something that was ready before this kubelet came.
TEST_F(ProberTest, clock_jump_NothingIsReadyUnasked) {
  auto pod = std::make_shared<core::Pod>(*PodWith(R"("readinessProbe":{"exec":{"command":["r"]},"periodSeconds":10})"));
  auto* condition = pod->mutable_status()->add_conditions();
  condition->set_type("Ready");
  condition->set_status("True");
  host.exec = {1, "not yet"};
  clock.JumpWall(-2h);
  host.Start("containerd://2");
  manager.AddPod(pod);
  auto ready = [&] {
    auto status = StatusOf();
    status.mutable_containerstatuses(0)->mutable_state()->mutable_running()->mutable_startedat()->set_seconds(
        std::chrono::system_clock::to_time_t(host.container->started_at));
    manager.UpdateStatus(*pod, &status);
    return status.containerstatuses(0).ready();
  };
  EXPECT_FALSE(ready());
  Run(1s);
  EXPECT_FALSE(ready());
  host.exec = {};
  Run(10s);
  EXPECT_TRUE(ready());
}

// ---- the actions, against listeners on this machine ----

Task<void> Answer(http::Exchange& exchange) {
  const std::string& path = exchange.request().path;
  int status = 200;
  http::Headers headers;
  if (path == "/404") status = 404;
  if (path == "/local") {
    status = 302;
    headers.Set("Location", "/ok");
  }
  if (path == "/away") {
    status = 302;
    headers.Set("Location", "http://192.0.2.1/");
  }
  if (path == "/loop") {
    status = 302;
    headers.Set("Location", "/loop");
  }
  if (path == "/local-absolute" || path == "/local-port") {
    status = 302;
    const std::string here = absl::StrCat("//127.0.0.1:", exchange.request().query.Get("port"), "/ok");
    headers.Set("Location", path == "/local-port" ? here : absl::StrCat("http:", here));
  }
  if (path == "/local-local-absolute") {
    status = 302;
    headers.Set("Location", absl::StrCat("/local-absolute?port=", exchange.request().query.Get("port")));
  }
  if (path == "/stalls" || path == "/breaks" || path == "/long" || path == "/stalls-away") {
    headers.Set("Content-Length", "100000");
    if (path == "/stalls-away") headers.Set("Location", "http://192.0.2.1/");
    const auto stream = co_await exchange.Upgrade(path == "/stalls-away" ? 302 : 200, headers);
    if (!stream.ok()) co_return;
    (co_await (*stream)->Write(path == "/long" ? std::string(20 << 10, 'x') : "some")).IgnoreError();
    if (path != "/breaks") (co_await SleepFor(1h)).IgnoreError();
    co_return;
  }
  if (path == "/slow") {
    (co_await SleepFor(1h)).IgnoreError();
  }
  std::string body =
      absl::StrCat(exchange.request().headers.Get("User-Agent"), " ", exchange.request().headers.Get("Host"));
  (co_await exchange.Respond(status, headers, std::move(body))).IgnoreError();
}

TEST_F(ProberTest, AnAnswerThatBreaksCountsForNothing) {
  http::Server server(loop.get_executor(), Answer);
  const auto pod = PodWith(absl::StrCat(R"("readinessProbe":{"httpGet":{"path":"/breaks","port":)",
                                        *server.Listen("127.0.0.1:0"), R"(},"periodSeconds":1,"failureThreshold":1})"));
  host.Start("containerd://1");
  manager.AddPod(pod);
  Run(0s);
  for (int i = 0; i < 500 && host.events.empty(); ++i) loop.run_for(10ms);
  ASSERT_EQ(host.events.size(), 1u);
  EXPECT_EQ(host.events[0],
            "c Warning Unhealthy: Readiness probe errored and resulted in failure state: unexpected EOF");
  EXPECT_FALSE(absl::StrContains(registry.Expose(), "prober_probe_total{"));
}

struct ActionTest : testing::Test {
  asio::io_context loop;
  http::Server server{loop.get_executor(), Answer};
  uint16_t port = *server.Listen("127.0.0.1:0");
  core::Container container;

  ProbeOutcome Http(std::string path, std::chrono::nanoseconds timeout = 1s, std::string scheme = "",
                    std::string host_header = "") {
    core::HTTPGetAction action;
    if (!host_header.empty()) {
      auto* header = action.add_httpheaders();
      header->set_name("host");
      header->set_value(host_header);
    }
    action.set_path(path);
    action.mutable_port()->set_intval(port);
    action.set_scheme(scheme);
    return RunTask(loop, ProbeHttp(action, container, "127.0.0.1", timeout));
  }
  uint16_t ClosedPort() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    socklen_t size = sizeof(address);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    close(fd);
    return ntohs(address.sin_port);
  }
};

TEST_F(ActionTest, HttpStatusCodes) {
  auto ok = Http("/ok");
  EXPECT_EQ(ok.kind, ProbeOutcome::kSuccess);
  EXPECT_EQ(ok.text, absl::StrCat("kube-probe/1.36 127.0.0.1:", port));
  EXPECT_EQ(Http("/404").kind, ProbeOutcome::kFailure);
  EXPECT_EQ(Http("/404").text, "HTTP probe failed with statuscode: 404");
  EXPECT_EQ(Http("/local").kind, ProbeOutcome::kSuccess);
  EXPECT_EQ(Http("/away").kind, ProbeOutcome::kWarning);
  EXPECT_TRUE(absl::StartsWith(Http("/away").text, "Probe terminated redirects, Response body: "));
  EXPECT_EQ(Http("/loop").text, "Get \"/loop\": stopped after 10 redirects");
}

TEST_F(ActionTest, HttpErrorsInGosWords) {
  EXPECT_EQ(Http("/slow?cmd=sleep 5", 500ms).text,
            absl::StrCat("Get \"http://127.0.0.1:", port,
                         "/slow?cmd=sleep%205\": context deadline exceeded (Client.Timeout exceeded while awaiting "
                         "headers)"));
  EXPECT_EQ(Http("/", 1s, "HTTPS").text,
            absl::StrCat("Get \"https://127.0.0.1:", port, "/\": http: server gave HTTP response to HTTPS client"));
  port = ClosedPort();
  EXPECT_EQ(Http("/x").text, absl::StrCat("Get \"http://127.0.0.1:", port, "/x\": dial tcp 127.0.0.1:", port,
                                          ": connect: connection refused"));
}

TEST_F(ActionTest, HttpRedirectsKeepTheHostUnlessTheyNameOne) {
  const std::string own = absl::StrCat("kube-probe/1.36 127.0.0.1:", port), given = "kube-probe/1.36 example.org";
  const std::string query = absl::StrCat("?port=", port);
  EXPECT_EQ(Http("/ok", 1s, "", "example.org").text, given);
  EXPECT_EQ(Http("/local", 1s, "", "example.org").text, given);
  EXPECT_EQ(Http("/local-port" + query, 1s, "", "example.org").text, given) << "relative: it has no scheme";
  EXPECT_EQ(Http("/local-absolute" + query, 1s, "", "example.org").text, own);
  EXPECT_EQ(Http("/local-local-absolute" + query, 1s, "", "example.org").text, own);
}

TEST_F(ActionTest, HttpBodiesAreBoundedByTheTimeOutAndMustNotBreak) {
  for (const char* path : {"/stalls", "/stalls-away"}) {
    const auto stalled = Http(path, 1s);
    EXPECT_EQ(stalled.kind, ProbeOutcome::kError) << path;
    EXPECT_EQ(stalled.state, "failure");
    EXPECT_EQ(stalled.text, "context deadline exceeded (Client.Timeout or context cancellation while reading body)");
  }
  const auto broken = Http("/breaks");
  EXPECT_EQ(broken.kind, ProbeOutcome::kError);
  EXPECT_EQ(broken.state, "failure");
  EXPECT_EQ(broken.text, "unexpected EOF");
  const auto cut = Http("/long");
  EXPECT_EQ(cut.kind, ProbeOutcome::kSuccess) << "10 KiB of a body are enough";
  EXPECT_EQ(cut.text, std::string(10 << 10, 'x'));
}

TEST_F(ActionTest, AHooksAnswerMayBreak) {
  core::HTTPGetAction action;
  action.set_path("/breaks");
  action.mutable_port()->set_intval(port);
  const auto got = RunTask(loop, HttpGet(action, container, "127.0.0.1", "lifecycle", 1s));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "some");
  EXPECT_FALSE(got->body_error.ok());
}

TEST_F(ActionTest, NamedPorts) {
  auto* named = container.add_ports();
  named->set_name("web");
  named->set_containerport(port);
  core::TCPSocketAction action;
  action.mutable_port()->set_type(1);
  action.mutable_port()->set_strval("web");
  EXPECT_EQ(RunTask(loop, ProbeTcp(action, container, "127.0.0.1", 1s)).kind, ProbeOutcome::kSuccess);
  action.mutable_port()->set_strval("nope");
  const auto outcome = RunTask(loop, ProbeTcp(action, container, "127.0.0.1", 1s));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kError);
  EXPECT_EQ(outcome.text, "strconv.Atoi: parsing \"nope\": invalid syntax");
}

TEST_F(ActionTest, TcpRefused) {
  core::TCPSocketAction action;
  action.mutable_port()->set_intval(ClosedPort());
  const auto outcome = RunTask(loop, ProbeTcp(action, container, "127.0.0.1", 1s));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kFailure);
  EXPECT_EQ(outcome.text, absl::StrCat("dial tcp 127.0.0.1:", action.port().intval(), ": connect: connection refused"));
}

// Listens on 127.0.0.1 only, which may be one of several addresses of the name.
TEST_F(ActionTest, TcpByName) {
  core::TCPSocketAction action;
  action.set_host("localhost");
  action.mutable_port()->set_intval(port);
  const auto outcome = RunTask(loop, ProbeTcp(action, container, "192.0.2.1", 5s));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kSuccess) << outcome.text;
}

TEST_F(ActionTest, TcpWaitsForASilentNameServerNoLongerThanItsTimeOut) {
  asio::io_context nobody;
  const BlockingOn silent(nobody.get_executor());
  core::TCPSocketAction action;
  action.set_host("a.invalid");
  action.mutable_port()->set_intval(port);
  const auto outcome = RunTask(loop, ProbeTcp(action, container, "127.0.0.1", 50ms));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kFailure);
  EXPECT_EQ(outcome.text, "dial tcp: lookup a.invalid: i/o timeout");
}

TEST_F(ActionTest, GrpcToNobodyAndToHttp) {
  core::GRPCAction action;
  action.set_port(ClosedPort());
  auto outcome = RunTask(loop, ProbeGrpc(action, "127.0.0.1", 100ms));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kFailure);
  EXPECT_EQ(outcome.text, absl::StrCat("timeout: failed to connect service \"127.0.0.1:", action.port(),
                                       "\" within 100ms: context deadline exceeded"));
  action.set_port(port);
  outcome = RunTask(loop, ProbeGrpc(action, "127.0.0.1", 300ms));
  EXPECT_EQ(outcome.kind, ProbeOutcome::kFailure);
}

}  // namespace
}  // namespace skiff::kubelet
