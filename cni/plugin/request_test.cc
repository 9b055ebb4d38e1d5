#include "cni/plugin/request.h"

#include <map>

#include <gtest/gtest.h>

#include "cni/plugin/error.h"
#include "cni/plugin/plugin.h"

namespace skiff::cni {
namespace {

using Env = std::map<std::string, std::string>;

StatusOr<Request> Parse(const Env& env, std::string_view input) {
  return ParseRequest(
      [&](const char* name) -> const char* {
        const auto it = env.find(name);
        return it == env.end() ? nullptr : it->second.c_str();
      },
      input);
}

const Env kAdd = {
    {"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", "c1"}, {"CNI_NETNS", "/run/netns/x"}, {"CNI_IFNAME", "eth0"}};
constexpr std::string_view kConfig =
    R"({"cniVersion":"1.0.0","name":"skiff","type":"skiff-cni","ranges":["10.244.1.0/24"]})";

TEST(RequestTest, ReadsEnvironmentAndConfiguration) {
  const auto request = Parse(kAdd, kConfig);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->verb, Verb::kAdd);
  EXPECT_EQ(request->attachment, (Attachment{"c1", "eth0"}));
  EXPECT_EQ(request->config.ranges.at(0).ToString(), "10.244.1.0/24");
  EXPECT_EQ(request->config.mtu, 1500u);
}

TEST(RequestTest, ReadsPrevResult) {
  const auto request = Parse(kAdd, R"({"cniVersion":"1.1.0","name":"n","ranges":["fd00::/64"],
      "prevResult":{"ips":[{"address":"fd00::5/128"}]}})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->previous->at(0).ToString(), "fd00::5/128");
}

TEST(RequestTest, ReadsValidAttachments) {
  auto parse = [](std::string_view list) {
    return Parse({{"CNI_COMMAND", "GC"}},
                 absl::StrCat(R"({"cniVersion":"1.1.0","name":"n","ranges":["fd00::/64"])", list, "}"));
  };
  const auto request = parse(R"(,"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}])");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->valid_attachments.at(0), (Attachment{"a", "eth0"}));
  EXPECT_TRUE(parse(R"(,"cni.dev/valid-attachments":null)").ok()) << "libcni's empty list";
  EXPECT_EQ(parse("").status().message(), "invalid network configuration: \"cni.dev/valid-attachments\" is missing");
}

TEST(RequestTest, ReadsPortMappings) {
  auto parse = [](std::string_view runtime, const char* command = "ADD") {
    Env env = kAdd;
    env["CNI_COMMAND"] = command;
    return Parse(env, absl::StrCat(R"({"cniVersion":"1.0.0","name":"n","ranges":["10.0.0.0/24"],"runtimeConfig":)",
                                   runtime, "}"));
  };
  // The first as containerd writes them: Go's names, protocols in lower case, no address as "".
  const auto request = parse(R"({"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""},
      {"hostPort":53,"containerPort":5353,"protocol":"UDP","hostIP":"fd00::7"}, {"hostPort":1,"containerPort":2}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->ports.size(), 3u);
  EXPECT_EQ(request->ports[0].ToString(), "tcp * 8080 80");
  EXPECT_EQ(request->ports[1].ToString(), "udp fd00::7 53 5353");
  EXPECT_EQ(request->ports[2].ToString(), "tcp * 1 2");
  EXPECT_TRUE(parse("null").ok());
  EXPECT_TRUE(parse(R"({"portMappings":null})").ok());

  const std::pair<const char*, const char*> bad[] = {
      {"[]", "\"runtimeConfig\" must be an object"},
      {R"({"portMappings":{}})", "\"runtimeConfig.portMappings\" must be a list"},
      {R"({"portMappings":[1]})", "\"runtimeConfig.portMappings[0]\" must be an object"},
      {R"({"portMappings":[{"hostPort":0,"containerPort":80}]})",
       "\"runtimeConfig.portMappings[0].hostPort\" must be a number from 1 to 65535"},
      {R"({"portMappings":[{"hostPort":65536,"containerPort":80}]})",
       "\"runtimeConfig.portMappings[0].hostPort\" must be a number from 1 to 65535"},
      {R"({"portMappings":[{"hostPort":1,"containerPort":"80"}]})",
       "\"runtimeConfig.portMappings[0].containerPort\" must be a number from 1 to 65535"},
      {R"({"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"icmp; accept"}]})",
       "\"runtimeConfig.portMappings[0].protocol\" must be tcp, udp or sctp, not \"icmp; accept\""},
      {R"({"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"1.2.3.4 }"}]})",
       "\"runtimeConfig.portMappings[0].hostIP\" invalid IP address: 1.2.3.4 }"},
  };
  for (const auto& [runtime, message] : bad) {
    EXPECT_EQ(parse(runtime).status().message(), absl::StrCat("invalid network configuration: ", message));
    EXPECT_TRUE(parse(runtime, "DEL").ok()) << "DEL needs none of it: " << runtime;
  }
}

TEST(RequestTest, BadInputNamesTheFieldAndCarriesTheCode) {
  struct Case {
    Env env;
    std::string input, message;
    ErrorCode code;
  };
  auto with = [](const char* key, const char* value) {
    Env env = kAdd;
    env[key] = value;
    return env;
  };
  auto config = [](std::string_view more) {
    return absl::StrCat(R"({"cniVersion":"1.0.0","name":"n")", more.empty() ? "" : ",", more, "}");
  };
  const Case cases[] = {
      {{}, "", "required env variables [CNI_COMMAND] missing", ErrorCode::kInvalidEnvironment},
      {with("CNI_COMMAND", "MOVE"), "", "unknown CNI_COMMAND: \"MOVE\"", ErrorCode::kInvalidEnvironment},
      {{{"CNI_COMMAND", "ADD"}},
       "",
       "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
       ErrorCode::kInvalidEnvironment},
      {with("CNI_CONTAINERID", "../../etc"), "", "invalid CNI_CONTAINERID: \"../../etc\"",
       ErrorCode::kInvalidEnvironment},
      {with("CNI_IFNAME", "a/b"), "", "invalid CNI_IFNAME: \"a/b\"", ErrorCode::kInvalidEnvironment},
      {with("CNI_IFNAME", "sixteencharacter"), "", "invalid CNI_IFNAME: \"sixteencharacter\"",
       ErrorCode::kInvalidEnvironment},
      {kAdd, "{", "network configuration is not valid JSON", ErrorCode::kDecodeFailure},
      {kAdd, "[]", "network configuration is not a JSON object", ErrorCode::kDecodeFailure},
      {kAdd, R"({"cniVersion":"9.9.9"})",
       "incompatible CNI versions: config is \"9.9.9\", plugin supports [\"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" "
       "\"1.1.0\"]",
       ErrorCode::kIncompatibleVersion},
      {kAdd, R"({"cniVersion":"1.0.0","name":"../x"})",
       "invalid network configuration: \"name\" is not a valid network name: \"../x\"", ErrorCode::kInvalidConfig},
      {kAdd, config(""), "invalid network configuration: \"ranges\" must list at least one subnet",
       ErrorCode::kInvalidConfig},
      {kAdd, config(R"("ranges":["10.0.0.0/33"])"),
       "invalid network configuration: \"ranges\" invalid CIDR address: 10.0.0.0/33", ErrorCode::kInvalidConfig},
      {kAdd, config(R"("ranges":["10.0.0.0/31"])"),
       "invalid network configuration: \"ranges\" 10.0.0.0/31 is too small to allocate from",
       ErrorCode::kInvalidConfig},
      {kAdd, config(R"("ranges":["10.0.0.0/24","10.1.0.0/24"])"),
       "invalid network configuration: \"ranges\" must hold at most one subnet of each family",
       ErrorCode::kInvalidConfig},
      {kAdd, config(R"("ranges":["10.0.0.0/24"],"mtu":"big")"),
       "invalid network configuration: \"mtu\" must be a number from 576 to 65535", ErrorCode::kInvalidConfig},
      {kAdd, config(R"("stateDir":"x","ranges":["10.0.0.0/24"])"),
       "invalid network configuration: \"stateDir\" must be an absolute path", ErrorCode::kInvalidConfig},
  };
  for (const Case& c : cases) {
    const auto request = Parse(c.env, c.input);
    ASSERT_FALSE(request.ok()) << c.message;
    EXPECT_EQ(request.status().message(), c.message);
    EXPECT_EQ(CodeOf(request.status()), c.code) << c.message;
  }
}

TEST(PluginTest, VersionAnswersWithoutNameAndErrorsAreJson) {
  auto env = [](const char* name) -> const char* {
    return std::string_view(name) == "CNI_COMMAND" ? "VERSION" : nullptr;
  };
  EXPECT_EQ(RunPlugin(env, R"({"cniVersion":"0.4.0"})").out,
            R"({"cniVersion":"0.4.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]})");
  const Outcome bad = RunPlugin(env, "nonsense");
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.out, R"({"cniVersion":"1.1.0","code":6,"msg":"network configuration is not valid JSON"})");
}

}  // namespace
}  // namespace skiff::cni
