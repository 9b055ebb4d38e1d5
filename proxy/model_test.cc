#include "proxy/model.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;

core::Service ServiceFrom(std::string_view json) {
  core::Service out;
  EXPECT_TRUE(api::FromJson(json, &out).ok()) << json;
  return out;
}

discovery::EndpointSlice SliceFrom(std::string_view json) {
  discovery::EndpointSlice out;
  EXPECT_TRUE(api::FromJson(json, &out).ok()) << json;
  return out;
}

// "10.1.0.1 rs n1" : address, flags (r ready, s serving, t terminating), node; "zone=a" and "node=n1" are hints.
std::string SliceJson(std::string_view type, std::string_view ports, const std::vector<std::string>& endpoints) {
  std::string list;
  for (const std::string& text : endpoints) {
    std::vector<std::string> words = absl::StrSplit(text, ' ');
    std::string flags = words.size() > 1 ? words[1] : "rs";
    auto has = [&](char c) { return flags.find(c) != std::string::npos ? "true" : "false"; };
    std::string hints;
    for (size_t i = 3; i < words.size(); i++) {
      std::vector<std::string> kv = absl::StrSplit(words[i], '=');
      absl::StrAppend(&hints, hints.empty() ? "" : ",", "\"", kv[0] == "zone" ? "forZones" : "forNodes",
                      "\":[{\"name\":\"", kv[1], "\"}]");
    }
    absl::StrAppend(&list, list.empty() ? "" : ",", "{\"addresses\":[\"", words[0],
                    "\"],\"conditions\":{\"ready\":", has('r'), ",\"serving\":", has('s'),
                    ",\"terminating\":", has('t'), "}",
                    words.size() > 2 ? absl::StrCat(",\"nodeName\":\"", words[2], "\"") : "",
                    hints.empty() ? "" : absl::StrCat(",\"hints\":{", hints, "}"), "}");
  }
  return absl::StrCat(
      "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
      "\"s\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"addressType\":\"",
      type, "\",\"ports\":", ports, ",\"endpoints\":[", list, "]}");
}

constexpr char kPort[] = R"([{"name":"http","protocol":"TCP","port":8080}])";

std::string ServiceJson(std::string_view spec, std::string_view status = "{}") {
  return absl::StrCat(R"({"metadata":{"namespace":"ns","name":"web"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":)"
                      R"(["10.96.0.1"],"ports":[{"name":"http","protocol":"TCP","port":80,"nodePort":30080}])",
                      spec.empty() ? "" : ",", spec, "},\"status\":", status, "}");
}

// Builds, applies to fake maps and shows what a client inside and traffic from outside see.
struct Seen {
  std::vector<std::string> inside, outside;
};
Seen Apply(std::string_view service, const std::vector<std::string>& slices, NodeInfo node = {"n1", "a"}) {
  auto digest = Digest(ServiceFrom(service));
  if (!digest) return {};
  std::vector<SliceDigest> digests;
  for (const std::string& slice : slices) {
    if (auto d = Digest(SliceFrom(slice), node.name)) digests.push_back(*d);
  }
  std::vector<const SliceDigest*> pointers;
  for (const SliceDigest& d : digests) pointers.push_back(&d);
  FakeBpfMaps maps;
  Reconciler reconciler(maps);
  EXPECT_TRUE(reconciler.ApplyAll({{"ns/web", Build(*digest, pointers, node)}}).ok());
  return {maps.ShowAll(), maps.ShowAll(true)};
}

using Lines = std::vector<std::string>;

TEST(ModelTest, ClusterIpAndNodePort) {
  Seen seen = Apply(ServiceJson(""), {SliceJson("IPv4", kPort, {"10.1.0.1 rs n1", "10.1.0.2 rs n2"})});
  EXPECT_EQ(seen.inside, (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080 10.1.0.2:8080",
                                "node:30080/TCP -> 10.1.0.1:8080 10.1.0.2:8080"}));
  EXPECT_EQ(seen.inside, seen.outside);
}

TEST(ModelTest, NotProxied) {
  for (const char* spec : {R"({"clusterIP":"None"})", R"({"clusterIP":""})",
                           R"({"clusterIP":"10.96.0.1","type":"ExternalName","externalName":"x"})"}) {
    EXPECT_FALSE(Digest(ServiceFrom(absl::StrCat(R"({"metadata":{"name":"a","namespace":"b"},"spec":)", spec, "}"))));
  }
  EXPECT_FALSE(Digest(ServiceFrom(R"({"metadata":{"name":"a","namespace":"b","labels":)"
                                  R"({"service.kubernetes.io/service-proxy-name":"x"}},)"
                                  R"("spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"]}})")));
}

TEST(ModelTest, NoEndpointsRefuse) {
  Seen seen = Apply(ServiceJson(""), {});
  EXPECT_EQ(seen.inside, (Lines{"10.96.0.1:80/TCP refused", "node:30080/TCP refused"}));
}

TEST(ModelTest, EndpointStates) {
  struct Case {
    const char* what;
    std::vector<std::string> endpoints;
    const char* want;
  };
  for (const Case& c : std::vector<Case>{
           {"not ready is out", {"10.1.0.1 rs", "10.1.0.2 x"}, "-> 10.1.0.1:8080"},
           {"terminating is out while one is ready", {"10.1.0.1 rs", "10.1.0.2 st"}, "-> 10.1.0.1:8080"},
           {"serving and terminating when none is ready", {"10.1.0.1 st", "10.1.0.2 t"}, "-> 10.1.0.1:8080"},
           {"terminating and not serving never", {"10.1.0.2 t"}, "refused"},
           {"ready wins over an old terminating one of the same address",
            {"10.1.0.1 st", "10.1.0.1 rs"},
            "-> 10.1.0.1:8080"},
           {"leading zeros are decimal", {"010.001.0.010 rs"}, "-> 10.1.0.10:8080"},
       }) {
    Seen seen = Apply(ServiceJson(""), {SliceJson("IPv4", kPort, c.endpoints)});
    ASSERT_EQ(seen.inside.size(), 2u) << c.what;
    EXPECT_EQ(seen.inside[0], absl::StrCat("10.96.0.1:80/TCP ", c.want)) << c.what;
  }
}

TEST(ModelTest, ExternalIpHijack_LoopbackAndLinkLocalEndpointsAreRefused) {
  for (const char* bad : {"127.0.0.1", "127.8.8.8", "169.254.169.254", "224.0.0.1", "0.0.0.0"}) {
    Seen seen = Apply(ServiceJson(""), {SliceJson("IPv4", kPort, {bad, "10.1.0.3"})});
    EXPECT_EQ(seen.inside[0], "10.96.0.1:80/TCP -> 10.1.0.3:8080") << bad;
  }
  for (const char* bad : {"::1", "fe80::1", "ff02::1", "::", "::ffff:127.0.0.1", "::ffff:10.1.0.1"}) {
    auto slice = Digest(SliceFrom(SliceJson("IPv6", kPort, {bad})), "n1");
    ASSERT_TRUE(slice);
    EXPECT_TRUE(slice->endpoints.empty()) << bad;
  }
}

TEST(ModelTest, TrafficPolicies) {
  Lines endpoints = {"10.1.0.1 rs n1", "10.1.0.2 rs n2", "10.1.0.3 st n1"};
  auto slice = SliceJson("IPv4", kPort, endpoints);
  Seen seen = Apply(ServiceJson(R"("type":"NodePort","externalTrafficPolicy":"Local")"), {slice});
  EXPECT_EQ(seen.inside[1], "node:30080/TCP -> 10.1.0.1:8080 10.1.0.2:8080") << "inside is short-circuited";
  EXPECT_EQ(seen.outside[1], "node:30080/TCP -> 10.1.0.1:8080");
  seen = Apply(ServiceJson(R"("type":"NodePort","internalTrafficPolicy":"Local")"), {slice});
  EXPECT_EQ(seen.inside[0], "10.96.0.1:80/TCP -> 10.1.0.1:8080");
  EXPECT_EQ(seen.inside[1], "node:30080/TCP -> 10.1.0.1:8080 10.1.0.2:8080");
  seen = Apply(ServiceJson(R"("type":"NodePort","externalTrafficPolicy":"Local")"),
               {SliceJson("IPv4", kPort, {"10.1.0.2 rs n2", "10.1.0.3 st n1", "10.1.0.4 st n2"})});
  EXPECT_EQ(seen.outside[1], "node:30080/TCP -> 10.1.0.3:8080") << "the node's draining endpoint";
  seen = Apply(ServiceJson(R"("internalTrafficPolicy":"Local")"), {SliceJson("IPv4", kPort, {"10.1.0.2 rs n2"})});
  EXPECT_EQ(seen.inside, (Lines{"10.96.0.1:80/TCP dropped", "node:30080/TCP -> 10.1.0.2:8080"}));
  EXPECT_EQ(seen.outside, (Lines{"10.96.0.1:80/TCP dropped", "node:30080/TCP -> 10.1.0.2:8080"}));
  seen = Apply(ServiceJson(R"("type":"NodePort","externalTrafficPolicy":"Local")"),
               {SliceJson("IPv4", kPort, {"10.1.0.2 rs n2"})});
  EXPECT_EQ(seen.inside, (Lines{"10.96.0.1:80/TCP -> 10.1.0.2:8080", "node:30080/TCP -> 10.1.0.2:8080"}));
  EXPECT_EQ(seen.outside, (Lines{"10.96.0.1:80/TCP -> 10.1.0.2:8080", "node:30080/TCP dropped"}));
  for (const char* policy :
       {R"("internalTrafficPolicy":"Local")", R"("externalTrafficPolicy":"Local","type":"NodePort")"}) {
    seen = Apply(ServiceJson(policy), {SliceJson("IPv4", kPort, {"10.1.0.2 x n2"})});
    EXPECT_EQ(seen.outside, (Lines{"10.96.0.1:80/TCP refused", "node:30080/TCP refused"})) << "nowhere at all";
  }
}

TEST(ModelTest, TopologyHints) {
  struct Case {
    const char* what;
    Lines endpoints;
    const char* want;
  };
  for (const Case& c : std::vector<Case>{
           {"our zone", {"10.1.0.1 rs n1 zone=a", "10.1.0.2 rs n2 zone=b"}, "-> 10.1.0.1:8080"},
           {"one without a hint", {"10.1.0.1 rs n1 zone=a", "10.1.0.2 rs n2"}, "-> 10.1.0.1:8080 10.1.0.2:8080"},
           {"none for us", {"10.1.0.1 rs n1 zone=c", "10.1.0.2 rs n2 zone=b"}, "-> 10.1.0.1:8080 10.1.0.2:8080"},
           {"our node before our zone",
            {"10.1.0.1 rs n1 zone=a node=n1", "10.1.0.2 rs n2 zone=a node=n2"},
            "-> 10.1.0.1:8080"},
           {"no hint for our node falls back to the zone",
            {"10.1.0.1 rs n3 zone=a node=n3", "10.1.0.2 rs n2 zone=b node=n2"},
            "-> 10.1.0.1:8080"},
       }) {
    EXPECT_EQ(Apply(ServiceJson(""), {SliceJson("IPv4", kPort, c.endpoints)}).inside[0],
              absl::StrCat("10.96.0.1:80/TCP ", c.want))
        << c.what;
  }
}

TEST(ModelTest, ExternalAddresses) {
  auto slice = SliceJson("IPv4", kPort, {"10.1.0.1 rs n2"});
  Seen seen = Apply(ServiceJson(R"("type":"LoadBalancer","externalIPs":["192.0.2.10","192.0.2.20"])",
                                R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.20","ipMode":"VIP"},{"ip":"192.0.2.30",)"
                                R"("ipMode":"Proxy"},{"hostname":"x"}]}})"),
                    {slice});
  EXPECT_EQ(seen.inside, (Lines{"10.96.0.1:80/TCP -> 10.1.0.1:8080", "192.0.2.10:80/TCP -> 10.1.0.1:8080",
                                "192.0.2.20:80/TCP -> 10.1.0.1:8080", "node:30080/TCP -> 10.1.0.1:8080"}));
  seen = Apply(ServiceJson(R"("type":"LoadBalancer","loadBalancerSourceRanges":["203.0.113.0/24"])",
                           R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.20"}]}})"),
               {slice});
  EXPECT_EQ(seen.inside[1], "192.0.2.20:80/TCP passed");
  EXPECT_EQ(seen.outside[1], "192.0.2.20:80/TCP -> 10.1.0.1:8080");
}

TEST(ModelTest, DualStackAndPorts) {
  Seen seen = Apply(
      R"({"metadata":{"namespace":"ns","name":"web"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"],
         "ports":[{"name":"dns","protocol":"UDP","port":53},{"name":"dns-tcp","port":53},{"name":"gone","port":99}]}})",
      {SliceJson("IPv4",
                 R"([{"name":"dns","protocol":"UDP","port":1053},{"name":"dns-tcp","protocol":"TCP","port":2053}])",
                 {"10.1.0.1"}),
       SliceJson("IPv6", R"([{"name":"dns","protocol":"UDP","port":1053}])", {"fd01::1", "::1", "fe80::1"})});
  EXPECT_EQ(seen.inside,
            (Lines{"10.96.0.1:53/TCP -> 10.1.0.1:2053", "10.96.0.1:53/UDP -> 10.1.0.1:1053", "10.96.0.1:99/TCP refused",
                   "[fd00::1]:53/TCP refused", "[fd00::1]:53/UDP -> [fd01::1]:1053", "[fd00::1]:99/TCP refused"}));
}

TEST(ModelTest, AffinityAndHealthCheck) {
  auto digest = Digest(ServiceFrom(
      ServiceJson(R"("type":"LoadBalancer","sessionAffinity":"ClientIP","externalTrafficPolicy":"Local",)"
                  R"("healthCheckNodePort":31000,"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":30}})")));
  ASSERT_TRUE(digest);
  EXPECT_EQ(digest->affinity_seconds, 30u);
  auto slice = Digest(
      SliceFrom(SliceJson("IPv4", kPort, {"10.1.0.1 rs n1", "10.1.0.2 rs n1", "10.1.0.3 rs n2", "10.1.0.4 x n1"})),
      "n1");
  const SliceDigest* pointer = &*slice;
  ServiceModel model = Build(*digest, {&pointer, 1}, {"n1", ""});
  EXPECT_EQ(model.health_check_node_port, 31000);
  EXPECT_EQ(model.local_ready_endpoints[0], 2);
  EXPECT_EQ(model.local_ready_endpoints[1], 0);
}

TEST(AddressTest, ParsesAndRefuses) {
  EXPECT_EQ(FormatAddress(*ParseAddress("10.0.0.1")), "10.0.0.1");
  EXPECT_EQ(FormatAddress(*ParseAddress("fd00::1")), "fd00::1");
  EXPECT_EQ(FormatAddress(*ParseAddress("::ffff:10.0.0.1")), "10.0.0.1");
  for (const char* bad :
       {"", "10.0.0", "10.0.0.256", "10.0.0.1.1", "10.0.0.-1", "a.b.c.d", "10..0.1", "fd00::g", "::1::", "10.0.0.1 "}) {
    EXPECT_FALSE(ParseAddress(bad)) << bad;
  }
  EXPECT_TRUE(ParsePrefix("10.1.2.3/9")->Contains(*ParseAddress("10.127.0.1")));
  EXPECT_FALSE(ParsePrefix("10.1.2.3/9")->Contains(*ParseAddress("10.128.0.1")));
  EXPECT_FALSE(ParsePrefix("10.0.0.0/8")->Contains(*ParseAddress("fd00::1")));
  EXPECT_TRUE(ParsePrefix("0.0.0.0/0")->Contains(*ParseAddress("1.2.3.4")));
  for (const char* bad : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "/8", "fd00::/129"}) {
    EXPECT_FALSE(ParsePrefix(bad)) << bad;
  }
}

}  // namespace
}  // namespace skiff::proxy
