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

TEST(RequestTest, ReadsPrevResultAndValidAttachments) {
  const auto request = Parse(kAdd, R"({"cniVersion":"1.1.0","name":"n","ranges":["fd00::/64"],
      "prevResult":{"ips":[{"address":"fd00::5/128"}]},"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->previous->at(0).ToString(), "fd00::5/128");
  EXPECT_EQ(request->valid_attachments.at(0), (Attachment{"a", "eth0"}));
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
