// Every Service and EndpointSlice of the recordings of upstream's kube-proxy (nftables mode), through digest, model and
// reconciler, against where upstream's rules lead and what its clients saw.
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "api/codec.h"
#include "base/files.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "proxy/fake_bpf_maps.h"
#include "proxy/node_addresses.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {
namespace {

using nlohmann::json;
using Set = std::set<std::string>;

constexpr char kFolder[] = "../shared/goldens/proxy/15-kube-proxy";
constexpr char kRefused[] = "refused";

json Load(const std::string& name) {
  auto text = ReadFile(JoinPath(kFolder, name));
  return text.ok() ? json::parse(*text) : json();
}

template <typename T>
T From(const json& object) {
  T out;
  EXPECT_TRUE(api::FromJson(object.dump(), &out).ok());
  return out;
}

// "... map { 0 : 10.244.0.131 . 8080, 1 : .. }" or "dnat to 10.244.0.131:8080" -> addresses with ports.
Set DnatTargets(std::string_view line) {
  Set out;
  if (size_t to = line.find("dnat to "); to != std::string_view::npos) {
    out.insert(std::string(line.substr(to + 8)));
    return out;
  }
  size_t open = line.find(" map { ");
  if (open == std::string_view::npos || line.find("dnat") == std::string_view::npos) return out;
  std::string_view list = line.substr(open + 7, line.find('}', open) - open - 7);
  for (absl::string_view item : absl::StrSplit(list, ',')) {
    std::vector<std::string> parts = absl::StrSplit(item, " : ");
    if (parts.size() == 2)
      out.insert(std::string(absl::StripAsciiWhitespace(absl::StrReplaceAll(parts[1], {{" . ", ":"}}))));
  }
  return out;
}

// Where upstream's chains lead traffic from outside: frontend -> endpoints.
std::map<std::string, Set> RulesOf(const json& recording) {
  std::map<std::string, Set> to;
  std::map<std::string, std::string> next;
  Set single;
  std::string chain;
  for (const json& item : recording["nftChains"]) {
    std::string line(absl::StripAsciiWhitespace(item.get<std::string>()));
    if (line.starts_with("chain ")) {
      chain = line.substr(6, line.find(" {") - 6);
    } else if (Set targets = DnatTargets(line); !targets.empty()) {
      if (line.find(" map { ") != std::string::npos)
        to[chain] = targets;
      else
        single.merge(targets);
    } else if (line.starts_with("goto ")) {
      next[chain] = line.substr(5);
    }
  }
  std::map<std::string, Set> out;
  for (const json& item : recording["nftElementLines"]) {
    std::string line(absl::StripAsciiWhitespace(item.get<std::string>()));
    size_t jump = line.find(" : goto ");
    if (jump == std::string::npos) continue;
    std::string where = line.substr(0, line.find(" comment ")), name = line.substr(jump + 8);
    where = where.substr(0, where.find(" : "));
    if (size_t brace = where.find("{ "); brace != std::string::npos) where = where.substr(brace + 2);
    while (!name.empty() && (name.back() == ',' || name.back() == '}' || name.back() == ' ')) name.pop_back();
    std::vector<std::string> parts = absl::StrSplit(where, " . ");
    if (name.starts_with("firewall-") || parts.size() < 2 || parts.size() > 3) continue;
    if (parts.size() == 2) parts.insert(parts.begin(), "node");
    if (parts[0].find(' ') != std::string::npos) continue;
    while (next.contains(name)) name = next[name];
    Set targets = to.contains(name) ? to[name] : single;
    if (name == "reject-chain" || targets.empty()) targets = {kRefused};
    out[absl::StrCat(parts[0], ":", parts[2], "/", absl::AsciiStrToUpper(parts[1]))] = targets;
  }
  return out;
}

class GoldensTest : public testing::Test {
 protected:
  void SetUp() override {
    auto names = ListDir(kFolder);
    if (!names.ok()) GTEST_SKIP() << "no recordings here";
    for (const std::string& name : *names) {
      if (name.starts_with("service-")) recordings_[name] = Load(name);
    }
    ASSERT_EQ(recordings_.size(), 12u);
  }

  // All services at once. `drop`: endpoints of these addresses are gone.
  void ApplyAll(const Set& drop = {}) {
    std::vector<ServiceChange> all;
    for (const auto& [name, recording] : recordings_) {
      auto service = From<k8s::io::api::core::v1::Service>(recording["service"]);
      auto digest = Digest(service);
      EXPECT_EQ(digest.has_value(), name != "service-headless.json" && name != "service-externalname.json") << name;
      if (!digest) continue;
      std::vector<SliceDigest> slices;
      for (const json& item : recording.value("endpointSlices", json::array())) {
        auto slice = Digest(From<k8s::io::api::discovery::v1::EndpointSlice>(item), "n1");
        if (!slice) continue;
        std::erase_if(slice->endpoints, [&](const auto& e) { return drop.contains(FormatAddress(e.address)); });
        slices.push_back(*std::move(slice));
      }
      std::vector<const SliceDigest*> pointers;
      for (const SliceDigest& slice : slices) pointers.push_back(&slice);
      all.push_back({absl::StrCat(service.metadata().namespace_(), "/", service.metadata().name()),
                     Build(*digest, pointers, {"n1", ""})});
    }
    reconciler_.SetNodeAddresses({{*ParseAddress("10.250.0.11"), false}});
    auto result = reconciler_.ApplyAll(all);
    ASSERT_TRUE(result.ok()) << result.status();
  }

  // frontend -> endpoints, for traffic from outside or clients inside.
  std::map<std::string, Set> Have(bool outside) const {
    std::map<std::string, Set> out;
    for (const std::string& line : maps_.ShowAll(outside)) {
      std::vector<std::string> words = absl::StrSplit(line, ' ');
      Set to(words.begin() + 1, words.end());
      to.erase("->");
      out[words[0]] = to;
    }
    return out;
  }

  std::map<std::string, json> recordings_;
  FakeBpfMaps maps_;
  Reconciler reconciler_{maps_};
};

TEST_F(GoldensTest, EveryServiceLeadsWhereUpstreamsRulesDo) {
  ApplyAll();
  auto outside = Have(true);
  size_t frontends = 0;
  for (const auto& [name, recording] : recordings_) {
    for (const auto& [frontend, want] : RulesOf(recording)) {
      ASSERT_TRUE(outside.contains(frontend)) << name << ": " << frontend;
      EXPECT_EQ(outside[frontend], want) << name << ": " << frontend;
      frontends++;
    }
    // What upstream leaves to other means (headless, ExternalName) has no frontend here either.
    for (const json& ip : recording["service"]["spec"].value("clusterIPs", json::array())) {
      bool any = false;
      for (const auto& [frontend, to] : outside) any |= frontend.starts_with(ip.get<std::string>() + ":");
      EXPECT_EQ(any, ip != "None") << name;
    }
  }
  EXPECT_GE(frontends, 14u);
}

TEST_F(GoldensTest, AnEndpointGoes) {
  ApplyAll({"10.244.0.132"});
  auto outside = Have(true);
  // New content of chains: context and added lines of the difference.
  std::map<std::string, Set> chains;
  std::string chain;
  const json change = Load("change-endpoint-removed.json");
  for (const json& item : change["nftDiff"]) {
    std::string text = item.get<std::string>();
    if (text.empty() || text[0] == '-') continue;
    std::string line(absl::StripAsciiWhitespace(text.substr(1)));
    if (line.starts_with("chain ")) chain = line.substr(6, line.find(" {") - 6);
    if (Set targets = DnatTargets(line); !targets.empty() && line.find(" map { ") != std::string::npos) {
      chains[chain] = targets;
    }
  }
  EXPECT_GE(chains.size(), 5u);
  for (const auto& [name, recording] : recordings_) {
    for (const auto& [frontend, before] : RulesOf(recording)) {
      Set want = before;
      want.erase("10.244.0.132:8080");
      want.erase("10.244.0.132:8081");
      EXPECT_EQ(outside[frontend], want) << name << ": " << frontend;
    }
    for (const auto& [changed, targets] : chains) {
      std::string service = absl::StrCat("/", recording["service"]["metadata"]["name"].get<std::string>(), "/");
      if (changed.find(service) == std::string::npos) continue;
      bool found = false;
      for (const auto& [frontend, before] : RulesOf(recording)) found |= outside[frontend] == targets;
      EXPECT_TRUE(found) << changed;
    }
  }
}

TEST_F(GoldensTest, AllEndpointsGo) {
  ApplyAll({"10.244.0.131", "10.244.0.132", "10.244.0.106"});
  auto outside = Have(true);
  size_t refused = 0;
  const json change = Load("change-all-endpoints-removed.json");
  for (const json& item : change["nftDiff"]) {
    std::string line = item.get<std::string>();
    size_t jump = line.find(" comment \"golden/kp-");
    if (!line.starts_with('+') || jump == std::string::npos || line.find("goto reject-chain") == std::string::npos) {
      continue;
    }
    std::vector<std::string> parts = absl::StrSplit(absl::StripAsciiWhitespace(line.substr(1, jump - 1)), " . ");
    if (size_t brace = parts[0].find("{ "); brace != std::string::npos) parts[0] = parts[0].substr(brace + 2);
    if (parts.size() == 2) parts.insert(parts.begin(), "node");
    ASSERT_EQ(parts.size(), 3u) << line;
    std::string frontend = absl::StrCat(parts[0], ":", parts[2], "/", absl::AsciiStrToUpper(parts[1]));
    EXPECT_EQ(outside[frontend], Set{kRefused}) << line;
    refused++;
  }
  EXPECT_GE(refused, 10u);
  for (const auto& [frontend, to] : outside) EXPECT_EQ(to, Set{kRefused}) << frontend;
  auto gone = reconciler_.ApplyAll({});
  ASSERT_TRUE(gone.ok());
  EXPECT_TRUE(Have(true).empty());
}

TEST_F(GoldensTest, WhatClientsSaw) {
  ApplyAll();
  auto inside = Have(false);
  const json results = Load("behaviour.json")["results"];
  const std::map<std::string, std::string> pods = {{"10.244.0.131:8080", "be1"}, {"10.244.0.132:8080", "be2"}};
  size_t checked = 0;
  for (const auto& [name, result] : results.items()) {
    if (!result.is_object() || !result.contains("url")) continue;
    std::string url = result["url"], path;
    std::string host = url.substr(7);
    size_t slash = host.find('/');
    path = host.substr(slash);
    host = host.substr(0, slash);
    std::string address = host.substr(0, host.find(':')), port = "80";
    if (size_t colon = host.find(':'); colon != std::string::npos) port = host.substr(colon + 1);
    std::string frontend = absl::StrCat(address, ":", port, "/TCP");
    Set have;
    if (inside.contains(frontend)) {
      for (const std::string& to : inside[frontend]) have.insert(pods.contains(to) ? pods.at(to) : to);
    } else {
      // A NodePort, an unused port of a service, or nobody's.
      auto it = maps_.frontends.find(AddressKey(*ParseAddress(address)));
      if (it == maps_.frontends.end()) {
        have = {"not ours"};
      } else if (it->second.flags & SKIFF_FRONTEND_NODE_ADDRESS) {
        for (const std::string& to : inside[absl::StrCat("node:", port, "/TCP")]) {
          have.insert(pods.contains(to) ? pods.at(to) : to);
        }
      } else {
        have = {kRefused};
      }
    }
    Set want;
    for (const json& seen : result["results"]) {
      std::string text = seen;
      if (text.find("(7)") != std::string::npos)
        want.insert(kRefused);
      else if (text.starts_with("be"))
        want.insert(text);
    }
    if (name == "nodeport-on-loopback" || name == "unallocated-cluster-ip") {
      // Left to the network: nobody listens at 127.0.0.1, and upstream's drop is a silence like the default route's.
      EXPECT_EQ(have, Set{"not ours"}) << name;
    } else if (path == "/hostname" || path == "/") {
      // With source ranges the kernel programs decide, by where the connection comes from.
      if (name == "loadbalancer-ip") {
        EXPECT_EQ(have, Set{"passed"});
        checked++;
        continue;
      }
      // One client with affinity, or one request, sees one of the endpoints.
      for (const std::string& pod : want) EXPECT_TRUE(have.contains(pod)) << name << ": " << absl::StrJoin(have, " ");
      if (want.contains(kRefused)) EXPECT_EQ(have, want) << name;
      if (result.value("curl", 0) >= 10 && name != "affinity-from-node") EXPECT_EQ(have, want) << name;
    }
    checked++;
  }
  EXPECT_EQ(checked, 11u);
  // Affinity: upstream's set has a timeout of 10 minutes.
  auto service = From<k8s::io::api::core::v1::Service>(recordings_["service-affinity.json"]["service"]);
  EXPECT_EQ(Digest(service)->affinity_seconds, 600u);
}

}  // namespace
}  // namespace skiff::proxy
