// cri_fault_proxy --listen SOCKET --runtime SOCKET [--faults-while FILE] [--seed N] [--rate R]
//
// Stands between a kubelet and its runtime for end-to-end tests: hands each call on, and while FILE exists delays,
// drops, fails and doubles some of them (cri/faults.h), R times as often as by default. Which, is written to standard
// output. Calls are bytes to it. A call that was taken goes on whatever becomes of its caller.
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "cri/faults.h"

namespace skiff::cri {
namespace {

struct Options {
  std::string listen, runtime, faults_while;
  uint64_t seed = 1;
  double rate = 1;
};

class Proxy final : public grpc::CallbackGenericService {
 public:
  Proxy(const Options& options, FaultRates rates) : options_(options), plan_(options.seed, rates) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");  // Go's servers refuse an escaped path
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel("unix://" + options.runtime, grpc::InsecureChannelCredentials(), arguments));
  }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Call(*this, context->method());
  }

 private:
  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(Proxy& proxy, std::string method) : proxy_(proxy), method_(std::move(method)) { StartRead(&request_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status(grpc::StatusCode::INTERNAL, "no request"));
      std::thread([this] { Pass(); }).detach();  // waits, and there are few calls
    }
    void OnDone() override { delete this; }

   private:
    void Pass() {
      const CallFaults faults = proxy_.Draw(method_);
      std::this_thread::sleep_for(faults.before);
      grpc::Status status;
      grpc::ByteBuffer answer;
      if (!faults.fail) {
        status = proxy_.Forward(method_, request_, &answer);
        if (faults.twice) {
          grpc::ByteBuffer second;
          const grpc::Status again = proxy_.Forward(method_, request_, &second);
          if (faults.second_answer) status = again, answer = second;
        }
      }
      std::this_thread::sleep_for(faults.after);
      if (faults.fail || faults.lose) {
        return Finish(
            grpc::Status(static_cast<grpc::StatusCode>(faults.error.code()), std::string(faults.error.message())));
      }
      if (!status.ok()) return Finish(status);
      answer_ = answer;
      StartWriteAndFinish(&answer_, grpc::WriteOptions(), status);
    }

    Proxy& proxy_;
    const std::string method_;
    grpc::ByteBuffer request_, answer_;
  };

  CallFaults Draw(const std::string& method) {
    const std::string name = method.substr(method.rfind('/') + 1);
    const std::lock_guard lock(mutex_);
    plan_.SetOn(!options_.faults_while.empty() && ::access(options_.faults_while.c_str(), F_OK) == 0);
    const uint64_t before = plan_.drawn();
    CallFaults faults = plan_.Draw(name);
    if (plan_.drawn() != before) {
      std::printf("%s%s%s%s before=%ldms after=%ldms\n", name.c_str(), faults.fail ? " fails" : "",
                  faults.lose ? " loses its answer" : "", faults.twice ? " twice" : "",
                  static_cast<long>(faults.before.count()), static_cast<long>(faults.after.count()));
      std::fflush(stdout);
    }
    return faults;
  }

  grpc::Status Forward(const std::string& method, const grpc::ByteBuffer& request, grpc::ByteBuffer* answer) {
    if (method.ends_with("/GetContainerEvents")) return {grpc::StatusCode::UNIMPLEMENTED, "no streams through here"};
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::Status status;
    auto call = stub_->PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    (void)queue.Next(&tag, &ok);
    return status;
  }

  const Options options_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::mutex mutex_;
  FaultPlan plan_;
};

int Main(int argc, char** argv) {
  Options options;
  const option names[] = {
      {"listen", required_argument, nullptr, 'l'},       {"runtime", required_argument, nullptr, 'r'},
      {"faults-while", required_argument, nullptr, 'f'}, {"seed", required_argument, nullptr, 's'},
      {"rate", required_argument, nullptr, 'R'},         {nullptr, 0, nullptr, 0}};
  for (int c; (c = ::getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    switch (c) {
      case 'l': options.listen = optarg; break;
      case 'r': options.runtime = optarg; break;
      case 'f': options.faults_while = optarg; break;
      case 's': options.seed = std::strtoull(optarg, nullptr, 10); break;
      case 'R': options.rate = std::strtod(optarg, nullptr); break;
      default: return 2;
    }
  }
  if (options.listen.empty() || options.runtime.empty()) {
    std::fprintf(stderr, "cri_fault_proxy: --listen and --runtime are needed\n");
    return 2;
  }
  FaultRates rates;
  rates.fail = rates.lose = 0.06 * options.rate;
  rates.twice = 0.05 * options.rate;
  rates.delay = 0.2 * options.rate;
  rates.freeze = 0.01 * options.rate;
  rates.longest_delay = std::chrono::milliseconds(1000);
  rates.longest_freeze = std::chrono::seconds(20);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  Proxy proxy(options, rates);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  ::unlink(options.listen.c_str());
  builder.AddListeningPort("unix://" + options.listen, grpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(&proxy);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  int signal = 0;
  ::sigwait(&ends, &signal);
  std::_Exit(0);  // calls that sleep are not waited for
}

}  // namespace
}  // namespace skiff::cri

int main(int argc, char** argv) { return skiff::cri::Main(argc, argv); }
