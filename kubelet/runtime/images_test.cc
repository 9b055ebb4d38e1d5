// Images: who may use and pull which, with whose credentials.
#include <sys/stat.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "api/codec.h"
#include "base/async_testing.h"
#include "base/tls.h"
#include "cri/fake_runtime.h"
#include "kubelet/pod/pod_testing.h"
#include "kubelet/runtime/image_puller.h"
#include "kubelet/volume/testing.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Users(const std::vector<Credential>& credentials) {
  std::vector<std::string> out;
  for (const auto& c : credentials) out.push_back(c.username);
  return out;
}

Keyring FromJson(const char* text) {
  Keyring out;
  out.AddDockerCfg(*api::ParseJson(text), {});
  return out;
}

TEST(Keyring, MatchesHostsPortsPathsAndGlobs) {
  EXPECT_TRUE(ImageMatches("*.docker.io", "blah.docker.io/x"));
  EXPECT_FALSE(ImageMatches("*.docker.io", "not.right.io/x"));
  EXPECT_FALSE(ImageMatches("*.docker.io", "a.b.docker.io/x"));
  EXPECT_TRUE(ImageMatches("reg.example:5000/team", "reg.example:5000/team/app"));
  EXPECT_FALSE(ImageMatches("reg.example", "reg.example:5000/team/app"));
  EXPECT_FALSE(ImageMatches("reg.example/team", "reg.example/other/app"));
  EXPECT_FALSE(ImageMatches("reg.example", "reg.example.evil/app"));
  EXPECT_TRUE(ImageMatches("reg[0-9].example", "reg7.example/app"));
}

TEST(Keyring, NamesRepositories) {
  EXPECT_EQ(RepositoryOf("busybox"), "docker.io/library/busybox");
  EXPECT_EQ(RepositoryOf("team/app:1"), "docker.io/team/app");
  EXPECT_EQ(RepositoryOf("localhost/app:1"), "localhost/app");
  EXPECT_EQ(RepositoryOf("reg.example:5000/a/b:1@sha256:00"), "reg.example:5000/a/b");
  EXPECT_EQ(WithoutTag("reg.example:5000/a"), "reg.example:5000/a");
}

TEST(Keyring, MostSpecificFirstAndDockerHubByDefault) {
  const Keyring keyring = FromJson(R"({
    "https://reg.example/v1/": {"username": "host", "password": "p"},
    "reg.example/team": {"username": "team", "password": "p"},
    "reg.example/team/": {"username": "slash", "password": "p"},
    "https://index.docker.io/v1/": {"auth": "aHViOnA6cQ=="},
    "broken": 5})");
  EXPECT_THAT(Users(keyring.Lookup("reg.example/team/app")), ElementsAre("slash", "team", "host"));
  EXPECT_THAT(Users(keyring.Lookup("reg.example/x")), ElementsAre("host"));
  const auto hub = keyring.Lookup(RepositoryOf("busybox"));
  ASSERT_EQ(hub.size(), 1u);
  EXPECT_EQ(hub[0].username, "hub");
  EXPECT_EQ(hub[0].password, "p:q");
  EXPECT_TRUE(keyring.Lookup("other.example/x").empty());
}

TEST(Keyring, HashIsOfUpstreamsJson) {
  const Keyring keyring = FromJson(R"({"r.example": {"username": "u", "password": "<p>", "email": "e"}})");
  EXPECT_EQ(keyring.Lookup("r.example/x")[0].hash,
            absl::BytesToHexString(Sha256("{\"username\":\"u\",\"password\":\"\\u003cp\\u003e\",\"email\":\"e\"}")));
}

TEST(Keyring, BothFormsOfSecrets) {
  Keyring keyring;
  const CredentialSource source{CredentialSource::kSecret, "u", "ns", "s"};
  EXPECT_TRUE(
      AddSecret(&keyring, "kubernetes.io/dockercfg", {{".dockercfg", R"({"a.example":{"username":"old"}})"}}, source)
          .ok());
  EXPECT_TRUE(AddSecret(&keyring, "kubernetes.io/dockerconfigjson",
                        {{".dockerconfigjson", R"({"auths":{"a.example":{"username":"new"}}})"}}, source)
                  .ok());
  EXPECT_TRUE(AddSecret(&keyring, "Opaque", {{".dockercfg", R"({"a.example":{"username":"no"}})"}}, source).ok());
  EXPECT_THAT(Users(keyring.Lookup("a.example/x")), ElementsAre("old", "new"));
  const Status bad = AddSecret(&keyring, "kubernetes.io/dockercfg", {{".dockercfg", "{\"hunter2\""}}, source);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.message().find("hunter2"), std::string::npos) << "no secret in an error";
}

struct RecordsTest : testing::Test {
  TempDir dir;
  FakeClock clock;
  std::unique_ptr<PullRecords> Make(PullVerification policy, std::vector<std::string> allow = {}) {
    return std::make_unique<PullRecords>(dir.path(), policy, std::move(allow), clock);
  }
  static PullRecords::Verdict Ask(PullRecords& records, std::vector<Credential> mine = {}) {
    return records.Check("r.example/app:1", "sha256:1", [&] { return mine; });
  }
  static Credential Of(std::string uid, std::string hash) {
    Credential c;
    c.hash = std::move(hash);
    c.source = {CredentialSource::kSecret, std::move(uid), "ns", "s"};
    return c;
  }
  static PulledWith With(const Credential& c) {
    PulledWith out;
    out.secrets = {{c.source.uid, c.source.ns, c.source.name, c.hash}};
    return out;
  }
};

TEST_F(RecordsTest, PreloadedImagesNeedNoCredentialsAndPulledOnesDo) {
  using V = PullRecords::Verdict;
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  EXPECT_EQ(Ask(*records), V::kPolicyAllowed);
  ASSERT_TRUE(records->Intend("r.example/app:1").ok());
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate) << "a pull is under way";
  records->Pulled("r.example/app:1", "sha256:1", With(Of("u1", "h1")));
  EXPECT_EQ(records->CountIntents(), 0u);
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate);
  EXPECT_EQ(Ask(*records, {Of("u2", "h2")}), V::kMustAuthenticate);
  EXPECT_EQ(Ask(*records, {Of("u1", "h1")}), V::kRecordFound);
  EXPECT_EQ(Ask(*records, {Of("u2", "h1")}), V::kRecordFound) << "another secret with the same content";
  EXPECT_EQ(Ask(*records, {Of("u1", "h3")}), V::kRecordFound) << "the secret rotated";
  EXPECT_EQ(Ask(*records, {Of("u9", "h3")}), V::kRecordFound) << "which was noted";
  records->Pulled("r.example/app:1", "sha256:1", PulledWith{true, {}, {}});
  EXPECT_EQ(Ask(*records), V::kRecordFound);
  // Another name of the same image is another matter.
  EXPECT_EQ(records->Check("r.example/other:1", "sha256:1", [] { return std::vector<Credential>(); }),
            V::kMustAuthenticate);
  EXPECT_EQ(Ask(*Make(PullVerification::kNeverVerify)), V::kPolicyAllowed);
}

TEST_F(RecordsTest, FilesAreUpstreams) {
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  records->Pulled("r.example/app:1", "sha256:1", With(Of("u1", "h1")));
  const std::string path = dir / ("image_manager/pulled/sha256-" + absl::BytesToHexString(Sha256("sha256:1")));
  const json record = *api::ParseJson(*ReadFile(path));
  EXPECT_EQ(record["kind"], "ImagePulledRecord");
  EXPECT_EQ(record["apiVersion"], "kubelet.config.k8s.io/v1beta1");
  EXPECT_EQ(record["imageRef"], "sha256:1");
  EXPECT_EQ(record["credentialMapping"]["r.example/app"]["kubernetesSecrets"][0],
            (json{{"uid", "u1"}, {"namespace", "ns"}, {"name", "s"}, {"credentialHash", "h1"}}));
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  // One that upstream's kubelet left is taken as it is.
  ASSERT_TRUE(WriteFileAtomic(path, R"({"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1alpha1",
    "lastUpdatedTime":"2026-11-21T05:06:33Z","imageRef":"sha256:1","credentialMapping":{"r.example/app":{"nodePodsAccessible":true}}})")
                  .ok());
  EXPECT_EQ(Ask(*records), PullRecords::Verdict::kRecordFound);
  ASSERT_TRUE(WriteFileAtomic(path, "{").ok());
  EXPECT_EQ(Ask(*records), PullRecords::Verdict::kError) << "fails safe";
}

TEST_F(RecordsTest, IntentsOfAnEarlierKubeletAreRecoveredAndRecordsOfRemovedImagesGo) {
  using V = PullRecords::Verdict;
  { ASSERT_TRUE(Make(PullVerification::kNeverVerifyPreloadedImages)->Intend("r.example/app:1").ok()); }
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate) << "nobody knows with what";
  records->Recover({{"sha256:1", {"r.example/app:1"}}, {"sha256:2", {"r.example/b:1"}}});
  EXPECT_EQ(records->CountIntents(), 0u);
  EXPECT_EQ(records->CountPulled(), 1u);
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate);
  records->Forget("sha256:1", clock.Now());
  EXPECT_EQ(records->CountPulled(), 1u) << "pulled after its removal began";
  records->Forget("sha256:1", clock.Now() + 2s);
  EXPECT_EQ(records->CountPulled(), 0u);
}

// The image of a pull that could not be recorded is not taken for one that was there before the kubelet.
TEST_F(RecordsTest, AnIntentStaysUntilItsRecordIsWritten) {
  using V = PullRecords::Verdict;
  const std::string pulled = dir / "image_manager/pulled";
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  ASSERT_TRUE(records->Intend("r.example/app:1").ok());
  std::filesystem::remove_all(pulled);
  ASSERT_TRUE(WriteFileAtomic(pulled, "no directory").ok());
  records->Pulled("r.example/app:1", "sha256:1", With(Of("u1", "h1")));
  EXPECT_EQ(records->CountIntents(), 1u);
  records = Make(PullVerification::kNeverVerifyPreloadedImages);
  records->Recover({{"sha256:1", {"r.example/app:1"}}});
  EXPECT_EQ(records->CountIntents(), 1u);
  std::filesystem::remove(pulled);
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate);
  records->Recover({{"sha256:1", {"r.example/app:1"}}});
  EXPECT_EQ(records->CountIntents(), 0u);
  EXPECT_EQ(Ask(*records), V::kMustAuthenticate);
}

TEST_F(RecordsTest, AnIntentThatCannotBeReadFailsSafe) {
  using V = PullRecords::Verdict;
  const std::string path = dir / ("image_manager/pulling/sha256-" + absl::BytesToHexString(Sha256("r.example/app:1")));
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  for (const char* text : {"", "{", "[]", R"({"kind":"Other","image":"r.example/app:1"})"}) {
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
    EXPECT_EQ(Ask(*records), V::kError) << text;
  }
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(Ask(*records), V::kError) << "not readable";
  std::filesystem::remove(path);
  EXPECT_EQ(Ask(*records), V::kPolicyAllowed);
}

TEST_F(RecordsTest, RecordsOfImagesThatSomebodyElseRemovedGo) {
  auto records = Make(PullVerification::kNeverVerifyPreloadedImages);
  records->Pulled("r.example/app:1", "sha256:1", With(Of("u1", "h1")));
  records->Pulled("r.example/b:1", "sha256:2", With(Of("u1", "h1")));
  records->Prune({"sha256:2"}, clock.Now());
  EXPECT_EQ(records->CountPulled(), 2u) << "pulled since the pass began";
  records->Prune({"sha256:2"}, clock.Now() + 2s);
  EXPECT_EQ(records->CountPulled(), 1u);
  EXPECT_EQ(Ask(*records), PullRecords::Verdict::kPolicyAllowed);
  EXPECT_EQ(records->Check("r.example/b:1", "sha256:2", [] { return std::vector<Credential>(); }),
            PullRecords::Verdict::kMustAuthenticate);
}

TEST_F(RecordsTest, Allowlist) {
  using V = PullRecords::Verdict;
  EXPECT_EQ(Ask(*Make(PullVerification::kNeverVerifyAllowlistedImages, {"r.example/app"})), V::kPolicyAllowed);
  EXPECT_EQ(Ask(*Make(PullVerification::kNeverVerifyAllowlistedImages, {"r.example/*"})), V::kPolicyAllowed);
  EXPECT_EQ(Ask(*Make(PullVerification::kNeverVerifyAllowlistedImages, {"r.example/ap"})), V::kMustAuthenticate);
  EXPECT_TRUE(CheckAllowlistPattern("r.example/*").ok());
  EXPECT_FALSE(CheckAllowlistPattern("/*").ok());
  EXPECT_FALSE(CheckAllowlistPattern("r.*/x").ok());
  EXPECT_FALSE(CheckAllowlistPattern("r.example/x:1").ok());
}

constexpr char kProviders[] = R"(
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: give
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.example", "reg.other:5000/team"]
  defaultCacheDuration: 1m
  args: [say]
  env: [{name: WHO, value: me}]
)";

struct PluginsTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  FakeObjects objects;
  Pod pod = testing_pods::MakePod({"c"});
  StatusOr<std::unique_ptr<CredentialPlugins>> Make(std::string config, const std::string& script) {
    MakeDirs(dir / "bin").IgnoreError();
    WriteFileAtomic(dir / "bin/give", script, 0755).IgnoreError();
    WriteFileAtomic(dir / "config.yaml", config).IgnoreError();
    auto account = [](std::string ns, std::string name) -> Task<StatusOr<ServiceAccountFacts>> {
      co_return ServiceAccountFacts{"uid-" + ns + "-" + name, {{"role", "r1"}, {"other", "o"}}};
    };
    return CredentialPlugins::Make(dir / "config.yaml", dir / "bin", objects, account, clock);
  }
  std::vector<Credential> Ask(CredentialPlugins& plugins, const std::string& image) {
    Keyring keyring;
    RunTask(loop, plugins.Provide(image, pod, &keyring));
    return keyring.Lookup(image);
  }
  size_t Runs() {
    auto text = ReadFile(dir / "runs");
    return text.ok() ? static_cast<size_t>(std::count(text->begin(), text->end(), '\n')) : 0;
  }
  std::string Script(const std::string& fields) {
    return "#!/bin/sh\necho \"$1 $WHO\" >>" + (dir / "runs") + "\ncat >" + (dir / "request") +
           "\necho '{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\"," +
           fields + "}'\n";
  }
};

TEST_F(PluginsTest, AskedForMatchingImagesAndKept) {
  auto plugins =
      Make(kProviders, Script(R"("cacheKeyType":"Registry","auth":{"a.example":{"username":"u","password":"p"}})"));
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  EXPECT_THAT(Users(Ask(**plugins, "a.example/x")), ElementsAre("u"));
  EXPECT_EQ(*ReadFile(dir / "runs"), "say me\n");
  const json request = *api::ParseJson(*ReadFile(dir / "request"));
  EXPECT_EQ(request, (json{{"kind", "CredentialProviderRequest"},
                           {"apiVersion", "credentialprovider.kubelet.k8s.io/v1"},
                           {"image", "a.example/x"}}));
  EXPECT_THAT(Users(Ask(**plugins, "a.example/y")), ElementsAre("u")) << "the same registry";
  EXPECT_EQ(Runs(), 1u);
  clock.Advance(61s, loop);
  Ask(**plugins, "a.example/y");
  EXPECT_EQ(Runs(), 2u) << "forgotten";
  EXPECT_TRUE(Ask(**plugins, "reg.other/x").empty());
  EXPECT_EQ(Runs(), 2u) << "not its image";
}

TEST_F(PluginsTest, KeptHoweverLongTheAnswerAllows) {
  auto plugins = Make(kProviders, Script(R"("cacheKeyType":"Global","cacheDuration":"2562047h47m16s",)"
                                         R"("auth":{"a.example":{"username":"u","password":"p"}})"));
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  Ask(**plugins, "a.example/x");
  EXPECT_THAT(Users(Ask(**plugins, "a.example/y")), ElementsAre("u"));
  EXPECT_EQ(Runs(), 1u);
}

TEST_F(PluginsTest, OneRunForAllThatAskForAnImageAtOnce) {
  const auto give = [](CredentialPlugins& plugins, const Pod& pod, std::vector<std::string>* users) -> Task<void> {
    Keyring keyring;
    co_await plugins.Provide("a.example/x", pod, &keyring);
    for (const auto& credential : keyring.Lookup("a.example/x")) users->push_back(credential.username);
  };
  // An answer that must not be kept is shared all the same.
  auto plugins = Make(kProviders, Script(R"("cacheKeyType":"Image","cacheDuration":"0s",)"
                                         R"("auth":{"a.example":{"username":"u","password":"p"}})"));
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  std::vector<std::string> users;
  TaskGroup group(loop.get_executor());
  for (int i = 0; i < 5; ++i) group.Spawn("ask", give(**plugins, pod, &users));
  RunTask(loop, group.Join());
  EXPECT_THAT(users, ElementsAre("u", "u", "u", "u", "u"));
  EXPECT_EQ(Runs(), 1u);

  users.clear();
  const auto cancel = group.Spawn("ask", give(**plugins, pod, &users));
  for (int i = 0; i < 2; ++i) group.Spawn("ask", give(**plugins, pod, &users));
  loop.restart();
  loop.poll();
  cancel();
  RunTask(loop, group.Join());
  EXPECT_THAT(users, ElementsAre("u", "u")) << "whose run was cancelled leaves it to the next";
  EXPECT_LE(Runs(), 3u);
}

TEST_F(PluginsTest, ConfiguredVariablesGoBeforeOurOwn) {
  ::setenv("WHO", "the kubelet", 1);
  auto plugins = Make(kProviders, Script(R"("cacheKeyType":"Image","auth":{})"));
  Ask(**plugins, "a.example/x");
  ::unsetenv("WHO");
  EXPECT_EQ(*ReadFile(dir / "runs"), "say me\n");
}

TEST_F(PluginsTest, FailuresSayNothing) {
  auto plugins = Make(kProviders, "#!/bin/sh\necho no >&2\nexit 3\n");
  ASSERT_TRUE(plugins.ok());
  EXPECT_TRUE(Ask(**plugins, "a.example/x").empty());
  for (const char* answer : {"", "[]", R"({"kind":"X","apiVersion":"credentialprovider.kubelet.k8s.io/v1"})",
                             R"({"kind":"CredentialProviderResponse","apiVersion":"v2"})"}) {
    plugins = Make(kProviders, std::string("#!/bin/sh\necho '") + answer + "'\n");
    EXPECT_TRUE(Ask(**plugins, "a.example/x").empty()) << answer;
  }
  plugins = Make(kProviders, Script(R"("cacheKeyType":"What","auth":{"a.example":{"username":"u","password":"p"}})"));
  EXPECT_TRUE(Ask(**plugins, "a.example/x").empty());
}

TEST_F(PluginsTest, TokensOfServiceAccounts) {
  std::string config = kProviders;
  config += R"(  tokenAttributes:
    serviceAccountTokenAudience: registry
    cacheType: ServiceAccount
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: [role]
)";
  auto plugins = Make(config, Script(R"("cacheKeyType":"Image","auth":{"a.example":{"username":"u","password":"p"}})"));
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  EXPECT_TRUE(Ask(**plugins, "a.example/x").empty()) << "no service account";
  pod.mutable_spec()->set_serviceaccountname("sa");
  const auto found = Ask(**plugins, "a.example/x");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].source.kind, CredentialSource::kServiceAccount);
  EXPECT_EQ(found[0].source.uid, "uid-ns-sa");
  const json request = *api::ParseJson(*ReadFile(dir / "request"));
  EXPECT_EQ(request["serviceAccountToken"], "token-for-registry-1");
  EXPECT_EQ(request["serviceAccountAnnotations"], (json{{"role", "r1"}}));
  plugins =
      Make(config,
           Script(R"("cacheKeyType":"Image","auth":{"a.example":{"username":"u","password":"token-for-registry-2"}})"));
  EXPECT_TRUE(Ask(**plugins, "a.example/x").empty()) << "the token as password, kept for the account, would leak it";
}

TEST_F(PluginsTest, BadConfigurations) {
  const auto error = [&](std::string config) {
    auto made = Make(std::move(config), "#!/bin/sh\n");
    return made.ok() ? std::string() : std::string(made.status().message());
  };
  EXPECT_THAT(error("kind: X\napiVersion: kubelet.config.k8s.io/v1\n"),
              HasSubstr("failed to decode \"X\" (wrong Kind)"));
  EXPECT_THAT(error("kind: CredentialProviderConfig\napiVersion: kubelet.config.k8s.io/v1\n"),
              HasSubstr("providers: Required value: at least 1 item in plugins is required"));
  std::string config = kProviders;
  config.replace(config.find("name: give"), 10, "name: none");
  EXPECT_THAT(error(config), HasSubstr("plugin binary executable"));
  config.replace(config.find("name: none"), 10, "name: ../x");
  EXPECT_THAT(error(config), HasSubstr("provider name cannot contain '/'"));
  config = std::string(kProviders) + "  colour: red\n";
  EXPECT_THAT(error(config), HasSubstr("unknown field \"providers.colour\""));
}

struct PullerTest : testing::Test {
  TempDir dir;
  asio::io_context loop;
  FakeClock clock;
  FakeObjects objects;
  cri::FakeRuntime runtime{clock};
  struct Events final : client::EventSink {
    using EventSink::Record;
    void Record(const client::ObjectReference&, std::string_view, std::string_view reason,
                std::string message) override {
      seen.push_back(absl::StrCat(reason, ": ", message));
    }
    std::vector<std::string> seen;
  } events;
  std::unique_ptr<ImagePuller> puller;

  void Make(ImagePullerOptions options = {}) {
    options.root_dir = dir.path();
    puller = std::make_unique<ImagePuller>(loop.get_executor(), runtime, clock, events, objects, options);
  }
  ImagePuller::Result Ensure(const std::string& image, const std::string& policy, const std::string& uid = "u-1",
                             std::vector<std::string> secrets = {}) {
    Pod pod = testing_pods::MakePod({"c"});
    pod.mutable_metadata()->set_uid(uid);
    pod.mutable_spec()->mutable_containers(0)->set_image(image);
    pod.mutable_spec()->mutable_containers(0)->set_imagepullpolicy(policy);
    for (const auto& name : secrets) pod.mutable_spec()->add_imagepullsecrets()->set_name(name);
    auto shared = std::make_shared<const Pod>(pod);
    return RunTask(loop, puller->Ensure(shared, pod.spec().containers(0), {}, {}));
  }
  Task<void> Busy(int* now, int* most) {
    *most = std::max(*most, ++*now);
    (void)co_await clock.Sleep(1s);
    --*now;
  }
  Task<void> EnsureOne(PodPtr pod, int* done) {
    const auto result = co_await puller->Ensure(pod, pod->spec().containers(0), {}, {});
    EXPECT_EQ(result.reason, "");
    ++*done;
  }
  void AddSecret(const std::string& name, const std::string& user) {
    Secret secret;
    secret.mutable_metadata()->set_name(name);
    secret.mutable_metadata()->set_namespace_("ns");
    secret.mutable_metadata()->set_uid("uid-" + name);
    secret.set_type("kubernetes.io/dockerconfigjson");
    (*secret.mutable_data())[".dockerconfigjson"] =
        "{\"auths\":{\"r.example\":{\"username\":\"" + user + "\",\"password\":\"hunter2\"}}}";
    objects.secrets[name] = secret;
  }
};

TEST_F(PullerTest, AnImageIsNotForPodsWithoutItsCredentials) {
  Make();
  AddSecret("a", "alice");
  AddSecret("b", "bob");
  EXPECT_EQ(Ensure("r.example/app:1", "IfNotPresent", "u-1", {"a"}).reason, "");
  ASSERT_EQ(runtime.pulls.size(), 1u);
  EXPECT_EQ(runtime.pulls[0].auth().username(), "alice");
  EXPECT_EQ(Ensure("r.example/app:1", "IfNotPresent", "u-1", {"a"}).reason, "");
  EXPECT_EQ(runtime.pulls.size(), 1u) << "known credentials";
  events.seen.clear();
  EXPECT_EQ(Ensure("r.example/app:1", "Never", "u-2").reason, "ErrImageNeverPull");
  EXPECT_THAT(events.seen,
              ElementsAre("ErrImageNeverPull: Container image \"r.example/app:1\" is not present with pull "
                          "policy of Never"));
  runtime.pull_failures["r.example/app:1"] = absl::UnknownError("pull access denied");
  const auto denied = Ensure("r.example/app:1", "IfNotPresent", "u-2", {"b"});
  EXPECT_EQ(denied.reason, "ErrImagePull");
  EXPECT_EQ(denied.message, "pull access denied");
  const auto waiting = Ensure("r.example/app:1", "IfNotPresent", "u-2", {"b"});
  EXPECT_EQ(waiting.reason, "ImagePullBackOff");
  EXPECT_EQ(waiting.message, "Back-off pulling image \"r.example/app:1\": ErrImagePull: pull access denied");
  EXPECT_EQ(waiting.retry_after, 10s);
  for (const auto& line : events.seen) EXPECT_EQ(line.find("hunter2"), std::string::npos);
}

TEST_F(PullerTest, PreloadedImagesAreForAll) {
  Make();
  runtime.AddImage("r.example/app:1");
  EXPECT_EQ(Ensure("r.example/app:1", "IfNotPresent").reason, "");
  EXPECT_EQ(Ensure("r.example/app:1", "Never").reason, "");
  EXPECT_TRUE(runtime.pulls.empty());
  ImagePullerOptions strict;
  strict.verification = PullVerification::kAlwaysVerify;
  Make(strict);
  EXPECT_EQ(Ensure("r.example/app:1", "Never").reason, "ErrImageNeverPull");
  EXPECT_EQ(Ensure("r.example/app:1", "IfNotPresent").reason, "");
  EXPECT_EQ(runtime.pulls.size(), 1u) << "who may pull it may use it";
  EXPECT_EQ(Ensure("r.example/app:1", "Never").reason, "") << "it was pulled without credentials";
}

TEST_F(PullerTest, AllCredentialsAreTriedAndErrorsToldOnce) {
  Make();
  AddSecret("a", "alice");
  AddSecret("b", "bob");
  runtime.pull_failures["r.example/app:1"] = absl::UnknownError("no");
  const auto result = Ensure("r.example/app:1", "Always", "u-1", {"a", "b"});
  EXPECT_EQ(runtime.pulls.size(), 2u);
  EXPECT_EQ(result.message, "no");
}

TEST_F(PullerTest, RateLimit) {
  ImagePullerOptions options;
  options.qps = 1;
  options.burst = 2;
  Make(options);
  EXPECT_EQ(Ensure("r.example/a:1", "Always").reason, "");
  EXPECT_EQ(Ensure("r.example/b:1", "Always").reason, "");
  const auto third = Ensure("r.example/c:1", "Always");
  EXPECT_EQ(third.reason, "ErrImagePull");
  EXPECT_EQ(third.message, "pull QPS exceeded");
  EXPECT_EQ(runtime.pulls.size(), 2u);
  clock.Advance(10s, loop);
  EXPECT_EQ(Ensure("r.example/c:1", "Always").reason, "");
}

// serializeImagePulls, and maxParallelImagePulls without it: so many at once, in the order of asking.
TEST_F(PullerTest, OneAfterTheOtherOrSoManyAtOnce) {
  for (const int parallel : {1, 3}) {
    ImagePullerOptions options;
    options.parallel = parallel;
    Make(options);
    runtime.pulls.clear();
    int now = 0, most = 0, done = 0;
    runtime.on_pull = [&]() -> Task<void> { return Busy(&now, &most); };
    std::vector<std::string> asked;
    for (int i = 0; i < 6; ++i) {
      asked.push_back(absl::StrCat("r.example/", parallel, i, ":1"));
      Pod pod = testing_pods::MakePod({"c"});
      pod.mutable_spec()->mutable_containers(0)->set_image(asked.back());
      pod.mutable_spec()->mutable_containers(0)->set_imagepullpolicy("Always");
      Spawn(loop.get_executor(), "pull", EnsureOne(std::make_shared<const Pod>(pod), &done));
      loop.restart();
      loop.poll();
    }
    EXPECT_EQ(runtime.pulls.size(), static_cast<size_t>(parallel));
    for (int i = 0; i < 6 / parallel; ++i) {
      EXPECT_EQ(done, i * parallel);
      clock.Advance(1s, loop);
    }
    EXPECT_EQ(done, 6);
    EXPECT_EQ(most, parallel);
    std::vector<std::string> pulled;
    for (const auto& pull : runtime.pulls) pulled.push_back(pull.image().image());
    EXPECT_EQ(pulled, asked);
  }
}

TEST_F(PullerTest, TheNodesOwnConfiguration) {
  Make();
  ASSERT_TRUE(WriteFileAtomic(dir / "config.json", R"({"auths":{"r.example":{"auth":"bm9kZTpw"}}})").ok());
  EXPECT_EQ(Ensure("r.example/app:1", "IfNotPresent").reason, "");
  ASSERT_EQ(runtime.pulls.size(), 1u);
  EXPECT_EQ(runtime.pulls[0].auth().username(), "node");
  EXPECT_EQ(Ensure("r.example/app:1", "Never", "u-2").reason, "") << "the node's credentials are every pod's";
}

}  // namespace
}  // namespace skiff::kubelet
