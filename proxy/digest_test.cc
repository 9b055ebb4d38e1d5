#include "proxy/digest.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "k8s/io/api/core/v1/service.pb.h"

namespace skiff::proxy {
namespace {

k8s::io::api::core::v1::Service Make(std::initializer_list<std::pair<const char*, int>> ports) {
  k8s::io::api::core::v1::Service out;
  out.mutable_spec()->set_clusterip("10.96.0.1");
  for (const auto& [protocol, number] : ports) {
    auto* port = out.mutable_spec()->add_ports();
    port->set_name(protocol);
    port->set_protocol(protocol);
    port->set_port(number);
  }
  return out;
}

TEST(DigestTest, Protocols) {
  auto digest = Digest(Make({{"TCP", 80}, {"SCTP", 3868}, {"UDP", 53}, {"DCCP", 7}}));
  ASSERT_TRUE(digest);
  ASSERT_EQ(digest->ports.size(), 3u);
  EXPECT_EQ(digest->ports[0].protocol, IPPROTO_TCP);
  EXPECT_EQ(digest->ports[1].protocol, IPPROTO_SCTP);
  EXPECT_EQ(digest->ports[2].protocol, IPPROTO_UDP);
}

TEST(DigestTest, LoadBalancingAnnotation) {
  auto service = Make({{"TCP", 80}});
  EXPECT_EQ(Digest(service)->balancing, Balancing::kDefault);
  auto& annotations = *service.mutable_metadata()->mutable_annotations();
  for (auto [text, want] : {std::pair{"maglev", Balancing::kMaglev},
                            {"random", Balancing::kRandom},
                            {"Maglev", Balancing::kDefault},
                            {"", Balancing::kDefault}}) {
    annotations["skiff.dev/load-balancing"] = text;
    EXPECT_EQ(Digest(service)->balancing, want) << text;
  }
}

}  // namespace
}  // namespace skiff::proxy
