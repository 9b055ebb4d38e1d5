#include "kubelet/api_clients.h"

#include <gtest/gtest.h>

namespace skiff::kubelet {
namespace {

using std::chrono::seconds;

class ApiClientsTest : public testing::Test {
 protected:
  ApiClientsTest() {
    api_.server = "http://127.0.0.1:1";
    config_.node_status_update_frequency = seconds(10);
  }
  asio::io_context loop_;
  client::Config api_;
  Config config_;
};

TEST_F(ApiClientsTest, EachKindHasItsLimit) {
  config_.kube_api_qps = 20;
  config_.kube_api_burst = 30;
  config_.event_qps = 3;
  config_.event_burst = 4;
  const auto clients = MakeApiClients(loop_.get_executor(), api_, config_);
  ASSERT_TRUE(clients.ok()) << clients.status();
  EXPECT_EQ(clients->general->config().qps, 20);
  EXPECT_EQ(clients->general->config().burst, 30);
  EXPECT_EQ(clients->general->config().timeout, api_.timeout);
  EXPECT_EQ(clients->events->config().qps, 3);
  EXPECT_EQ(clients->events->config().burst, 4);
  EXPECT_LT(clients->heartbeats->config().qps, 0);
  EXPECT_EQ(clients->heartbeats->config().timeout, seconds(10));
}

TEST_F(ApiClientsTest, NoughtIsGosDefault) {
  config_.event_qps = config_.event_burst = 0;
  config_.kube_api_qps = -1;
  const auto clients = MakeApiClients(loop_.get_executor(), api_, config_);
  ASSERT_TRUE(clients.ok()) << clients.status();
  EXPECT_EQ(clients->events->config().qps, 5);
  EXPECT_EQ(clients->events->config().burst, 10);
  EXPECT_LT(clients->general->config().qps, 0);
}

}  // namespace
}  // namespace skiff::kubelet
