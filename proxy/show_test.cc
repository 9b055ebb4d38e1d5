#include "proxy/show.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "api/codec.h"
#include "base/files.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

using nlohmann::json;

TEST(ShowTest, Services) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  ModelPort port{.name = "http", .protocol = IPPROTO_TCP, .affinity_seconds = 30};
  port.endpoints = {
      {*ParseAddress("10.1.0.1"), 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING},
      {*ParseAddress("10.1.0.2"), 8080, SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_LOCAL | SKIFF_BACKEND_SERVING}};
  port.frontends = {{MakeKey(*ParseAddress("10.96.0.1"), 80, IPPROTO_TCP), 0},
                    {NodePortKey(Family::kIPv4, 30080, IPPROTO_TCP), SKIFF_FRONTEND_OUTSIDE_LOCAL}};
  r.SetNodeAddresses({{*ParseAddress("10.250.0.1"), false}, {*ParseAddress("127.0.0.1"), true}});
  ASSERT_TRUE(r.ApplyAll({{"ns/a", ServiceModel{.ports = {port}}}}).ok());
  EXPECT_EQ(*ShowServices(maps),
            "SERVICE FRONTEND                     FROM    AFFINITY ENDPOINTS\n"
            "1       node:30080/TCP               inside  30s      10.1.0.1:8080 10.1.0.2:8080\n"
            "1       node:30080/TCP               outside 30s      10.1.0.2:8080\n"
            "1       10.96.0.1:80/TCP             all     30s      10.1.0.1:8080 10.1.0.2:8080\n"
            "\nNodePorts answer on: 10.250.0.1, 127.0.0.1 (own processes)\n");
}

TEST(ShowTest, CountsOfServices) {
  FakeBpfMaps maps;
  Reconciler r(maps);
  ModelPort port{.name = "http", .protocol = IPPROTO_TCP}, other{.name = "dns", .protocol = IPPROTO_UDP};
  port.frontends = {{NodePortKey(Family::kIPv4, 30080, IPPROTO_TCP), 0},
                    {MakeKey(*ParseAddress("10.96.0.1"), 80, IPPROTO_TCP), 0}};
  other.frontends = {{MakeKey(*ParseAddress("10.96.0.2"), 53, IPPROTO_UDP), SKIFF_FRONTEND_INSIDE_DROP}};
  maps.counts[1] = {9, 9};  // of a service before this one
  ASSERT_TRUE(r.ApplyAll({{"ns/a", ServiceModel{.ports = {port}}}, {"ns/b", ServiceModel{.ports = {other}}}}).ok());
  EXPECT_TRUE(maps.counts.empty()) << "a number that is used again begins at nothing";
  maps.counts[1] = {1234567, 2};
  maps.counts[2] = {0, 7};
  maps.counts[77] = {5, 5};  // gone
  EXPECT_EQ(*ShowServiceCounts(maps),
            "SERVICE FRONTEND                     CONNECTIONS  REFUSED\n"
            "1       10.96.0.1:80/TCP             1234567      2\n"
            "2       10.96.0.2:53/UDP             0            7\n");
  std::string services = *ShowServices(maps);
  EXPECT_NE(services.find("10.96.0.2:53/UDP             inside  -        dropped\n"), std::string::npos) << services;
  EXPECT_NE(services.find("10.96.0.2:53/UDP             outside -        refused\n"), std::string::npos) << services;
}

TEST(ShowTest, AffinityAndConnections) {
  FakeBpfMaps maps;
  maps.backends[7] = {.address = *ParseAddress("10.1.0.1"), .port = htons(8080), .state = 1, .service = 3};
  AffinityEntry by_address = {{.service = 3, .kind = 0, .client = {}},
                              {.used = 5000000000, .backend = 7, .reserved = 0}};
  Address client = *ParseAddress("203.0.113.9");
  for (size_t i = 0; i < 4; i++) by_address.key.client[i] = client.word[i];
  AffinityEntry by_netns = {{.service = 3, .kind = 1, .client = {42, 0, 0, 0}},
                            {.used = 9000000000, .backend = 8, .reserved = 0}};
  EXPECT_EQ(ShowAffinity({by_netns, by_address}, maps, 9500000000),
            "SERVICE CLIENT                       ENDPOINT                 UNUSED FOR\n"
            "3       203.0.113.9                  10.1.0.1:8080            4s\n"
            "3       netns 42                     gone                     0s\n");
  FlowEntry to = {{.source = client,
                   .destination = *ParseAddress("10.250.0.1"),
                   .source_port = htons(40000),
                   .destination_port = htons(30080),
                   .protocol = IPPROTO_TCP,
                   .kind = SKIFF_FLOW_TO_BACKEND},
                  {.used = 1000000000, .address = *ParseAddress("10.1.0.1"), .port = htons(8080)}};
  FlowEntry as = {{.source = client,
                   .destination = *ParseAddress("10.1.0.1"),
                   .source_port = htons(40000),
                   .destination_port = htons(8080),
                   .protocol = IPPROTO_TCP,
                   .kind = SKIFF_FLOW_MASQUERADE},
                  {.used = 1000000000, .address = *ParseAddress("10.250.0.1"), .port = htons(61000)}};
  EXPECT_EQ(
      ShowConnections({as, to}, 3000000000),
      "PROTO CLIENT                   SERVICE                  ENDPOINT                 AS                       "
      "UNUSED FOR\n"
      "TCP   203.0.113.9:40000        10.250.0.1:30080         10.1.0.1:8080            10.250.0.1:61000         2s\n");
  EXPECT_EQ(Show("/nonexistent", {"pods"}).status().message(),
            "kube-proxy show: \"pods\" is not one of services, affinity, connections, counters");
}

// The recorded rule sets of upstream's nftables mode, read as "who goes where", say the same as our maps.
class RecordedRules {
 public:
  explicit RecordedRules(const json& recording) {
    std::string chain;
    for (const auto& entry : recording["nftChains"]) {
      auto line = entry.get<std::string>();
      std::string_view text = absl::StripAsciiWhitespace(line);
      if (text.starts_with("chain ")) {
        chain = std::string(text.substr(6, text.find(' ', 6) - 6));
        chains_[chain];
      } else if (size_t at = text.find(" map { "); text.find("dnat") != text.npos && at != text.npos) {
        std::string_view list = text.substr(at + 7, text.rfind(" }") - at - 7);
        for (std::string_view item : absl::StrSplit(list, ", ")) {
          std::vector<std::string> words = absl::StrSplit(item, ' ');  // 0 : IP . PORT
          if (words.size() == 5) chains_[chain].push_back(words[2] + ":" + words[4]);
        }
      } else if (text.starts_with("goto ")) {
        gotos_[chain] = std::string(text.substr(5));
      }
      if (size_t d = text.find("dnat to "); d != text.npos && text.find(" map ") == text.npos) {
        std::string to(text.substr(d + 8));
        to = to.substr(0, to.find(' '));
        endpoint_chains_[chain] = to;
      }
    }
    for (const auto& entry : recording["nftElementLines"]) {
      auto line = entry.get<std::string>();
      if (size_t open = line.find("{ "); open != line.npos) line = line.substr(open + 2);  // "elements = { ..."
      if (line.starts_with("fib ")) continue;
      std::vector<std::string> words = absl::StrSplit(absl::StripTrailingAsciiWhitespace(line), ' ');
      size_t to = std::find(words.begin(), words.end(), "goto") - words.begin();
      if (to + 1 >= words.size()) continue;
      std::string chain_name(absl::StripSuffix(words[to + 1], ","));
      // "IP . tcp . 80 : goto CHAIN" or "tcp . 30080 : goto CHAIN"
      if (to == 6) elements_[absl::StrCat(words[0], ":", words[4], "/", absl::AsciiStrToUpper(words[2]))] = chain_name;
      if (to == 4) elements_[absl::StrCat("node:", words[2], "/", absl::AsciiStrToUpper(words[0]))] = chain_name;
    }
  }
  // For traffic from outside: "10.0.0.1:80/TCP -> 10.1.0.1:8080 ...".
  std::vector<std::string> Lines() const {
    std::vector<std::string> out;
    for (const auto& [key, first] : elements_) {
      std::string chain = first;
      for (auto next = gotos_.find(chain); next != gotos_.end(); next = gotos_.find(chain)) chain = next->second;
      auto found = chains_.find(chain);
      std::vector<std::string> to = found == chains_.end() ? std::vector<std::string>() : found->second;
      if (to.empty()) {
        for (const auto& [name, endpoint] : endpoint_chains_) to.push_back(endpoint);
      }
      std::sort(to.begin(), to.end());
      out.push_back(absl::StrCat(key, to.empty() ? " refused" : absl::StrCat(" -> ", absl::StrJoin(to, " "))));
    }
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  std::map<std::string, std::vector<std::string>> chains_;
  std::map<std::string, std::string> gotos_, elements_, endpoint_chains_;
};

TEST(RecordingsTest, MapsSayWhatUpstreamsRulesSay) {
  auto names = ListDir("../shared/goldens/proxy/15-kube-proxy");
  if (!names.ok()) GTEST_SKIP() << "no recordings here";
  int compared = 0;
  for (const std::string& name : *names) {
    if (!name.starts_with("service-")) continue;
    auto text = ReadFile(absl::StrCat("../shared/goldens/proxy/15-kube-proxy/", name));
    json recording = json::parse(*text);
    k8s::io::api::core::v1::Service service;
    ASSERT_TRUE(api::FromJson(recording["service"].dump(), &service).ok()) << name;
    auto digest = Digest(service);
    std::vector<std::string> want = RecordedRules(recording).Lines();
    FakeBpfMaps maps;
    if (digest) {
      std::vector<SliceDigest> slices;
      for (json& item : recording["endpointSlices"]) {
        item["kind"] = "EndpointSlice";
        item["apiVersion"] = "discovery.k8s.io/v1";
        k8s::io::api::discovery::v1::EndpointSlice slice;
        ASSERT_TRUE(api::FromJson(item.dump(), &slice).ok()) << name;
        if (auto d = Digest(slice, "n1")) slices.push_back(*d);
      }
      std::vector<const SliceDigest*> pointers;
      for (const auto& s : slices) pointers.push_back(&s);
      Reconciler r(maps);
      ASSERT_TRUE(r.ApplyAll({{"golden/x", Build(*digest, pointers, {"n1", ""})}}).ok());
    }
    std::vector<std::string> have = maps.ShowAll(true);
    // Refusals stand in the recordings' rule sets, not in the chains of the service.
    std::erase_if(have, [](const std::string& line) { return line.ends_with(" refused"); });
    std::erase_if(want, [](const std::string& line) { return line.ends_with(" refused"); });
    EXPECT_EQ(have, want) << name;
    compared++;
  }
  EXPECT_GE(compared, 12);
}

}  // namespace
}  // namespace skiff::proxy
