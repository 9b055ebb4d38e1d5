#include "client/lease.h"

#include <gtest/gtest.h>

#include "client/fake_api_server.h"
#include "client/testing.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"

namespace skiff::client {
namespace {

using ::k8s::io::api::coordination::v1::Lease;

TEST(NodeLeaseTest, IsMadeRenewedAndMadeAgain) {
  asio::io_context loop;
  FakeApiServer server(loop.get_executor());
  TaskGroup group(loop.get_executor());
  std::string uid;
  // A quarter of the shortest duration: renewals every 250 ms.
  group.Spawn("lease",
              RunNodeLease(server.NewRest(),
                           {.node_name = "n1", .duration = std::chrono::seconds(1), .node_uid = [&] { return uid; }}));
  const std::string key = "kube-node-lease/n1";
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key) != nullptr; }));
  const auto first = server.Get<Lease>(key);
  EXPECT_EQ(first->spec().holderidentity(), "n1");
  EXPECT_EQ(first->spec().leasedurationseconds(), 1);
  EXPECT_EQ(first->metadata().ownerreferences_size(), 0);
  uid = "node-uid";
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key)->metadata().ownerreferences_size() == 1; }));
  EXPECT_EQ(server.Get<Lease>(key)->metadata().ownerreferences(0).uid(), "node-uid");
  // Someone else writes it: the next renewal conflicts, reads and goes on.
  Lease touched = *server.Get<Lease>(key);
  (*touched.mutable_metadata()->mutable_labels())["a"] = "b";
  server.Put(touched);
  const std::string version = server.Get<Lease>(key)->metadata().resourceversion();
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key)->metadata().resourceversion() != version; }));
  EXPECT_EQ(server.Get<Lease>(key)->metadata().labels().at("a"), "b");
  server.Remove(Lease(), key);
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Get<Lease>(key) != nullptr; }));
  group.Cancel();
  ASSERT_TRUE(RunUntil(loop, [&] { return group.size() == 0; }));
}

}  // namespace
}  // namespace skiff::client
