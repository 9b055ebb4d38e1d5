#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "base/async_testing.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

// Answers every unary call with set bytes, or a set error, or never.
class Reactor final : public grpc::ServerGenericBidiReactor {
 public:
  Reactor(grpc::Status status, std::string body, bool answer) : status_(std::move(status)), answer_(answer) {
    grpc::Slice slice(body);
    response_ = grpc::ByteBuffer(&slice, 1);
    StartRead(&request_);
  }
  void OnReadDone(bool) override {
    if (!answer_) return;
    if (!status_.ok()) {
      Finish(status_);
    } else {
      StartWriteAndFinish(&response_, {}, grpc::Status::OK);
    }
  }
  void OnCancel() override {
    if (!answer_) Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  grpc::Status status_;
  bool answer_;
  grpc::ByteBuffer request_, response_;
};

class HealthService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    method = context->method();
    return new Reactor(status, body, answer);
  }
  std::string method, body = std::string("\x08\x01", 2);
  grpc::Status status;
  bool answer = true;
};

struct GrpcProbeTest : testing::Test {
  asio::io_context loop;
  HealthService service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;

  void SetUp() override {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(&service);
    server = builder.BuildAndStart();
    ASSERT_NE(server, nullptr);
  }
  void TearDown() override { server->Shutdown(std::chrono::system_clock::now()); }
  ProbeOutcome Probe(std::chrono::nanoseconds timeout = 5s) {
    k8s::io::api::core::v1::GRPCAction action;
    action.set_port(port);
    action.set_service("svc");
    return RunTask(loop, ProbeGrpc(action, "127.0.0.1", timeout));
  }
};

TEST_F(GrpcProbeTest, WhatTheServerSaysAsRecorded) {
  auto outcome = Probe();
  EXPECT_EQ(outcome.kind, ProbeOutcome::kSuccess) << outcome.text;
  EXPECT_EQ(service.method, "/grpc.health.v1.Health/Check");
  service.body = std::string("\x08\x02", 2);
  EXPECT_EQ(Probe().text, "service unhealthy (responded with \"NOT_SERVING\")");
  service.body = "";
  EXPECT_EQ(Probe().text, "service unhealthy (responded with \"UNKNOWN\")");
  service.status = grpc::Status(grpc::StatusCode::NOT_FOUND, "unknown service");
  EXPECT_EQ(Probe().text, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service");
  service.status = grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no");
  EXPECT_EQ(Probe().text, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no");
}

TEST_F(GrpcProbeTest, Timeout) {
  service.answer = false;
  EXPECT_EQ(Probe(2s).text, "timeout: health rpc did not complete within 2s");
}

}  // namespace
}  // namespace skiff::kubelet
