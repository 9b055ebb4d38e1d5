#include "kubelet/runtime/credential_plugins.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/flags.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "base/tls.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;

constexpr const char* kVersions[] = {"credentialprovider.kubelet.k8s.io/v1",
                                     "credentialprovider.kubelet.k8s.io/v1alpha1",
                                     "credentialprovider.kubelet.k8s.io/v1beta1"};
constexpr size_t kLongestConfig = 4 << 20, kMostCached = 4096;

std::string Text(const json& from, const char* name) {
  auto found = from.find(name);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> Texts(const json& from, const char* name) {
  std::vector<std::string> out;
  auto found = from.find(name);
  if (found == from.end() || !found->is_array()) return out;
  for (const json& item : *found) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

Status OnlyFields(const json& object, std::initializer_list<std::string_view> known, std::string_view at) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return InvalidArgument("strict decoding error: unknown field \"", at, at.empty() ? "" : ".", name, "\"");
    }
  }
  return absl::OkStatus();
}

Status ReadTokenAttributes(const json& from, std::vector<std::string>* problems, CredentialProviderSpec* spec) {
  RETURN_IF_ERROR(OnlyFields(from,
                             {"serviceAccountTokenAudience", "cacheType", "requireServiceAccount",
                              "requiredServiceAccountAnnotationKeys", "optionalServiceAccountAnnotationKeys"},
                             "providers.tokenAttributes"));
  CredentialProviderSpec::TokenAttributes token;
  token.audience = Text(from, "serviceAccountTokenAudience");
  if (token.audience.empty()) {
    problems->push_back("providers.tokenAttributes.serviceAccountTokenAudience: Required value");
  }
  if (auto require = from.find("requireServiceAccount"); require != from.end() && require->is_boolean()) {
    token.require_service_account = *require;
  } else {
    problems->push_back("providers.tokenAttributes.requireServiceAccount: Required value");
  }
  if (spec->api_version != kVersions[0]) {
    problems->push_back(absl::StrCat("providers.tokenAttributes: Forbidden: tokenAttributes is only supported for ",
                                     kVersions[0], " API version"));
  }
  token.required_annotations = Texts(from, "requiredServiceAccountAnnotationKeys");
  token.optional_annotations = Texts(from, "optionalServiceAccountAnnotationKeys");
  if (!token.require_service_account && !token.required_annotations.empty()) {
    problems->push_back(
        "providers.tokenAttributes.requiredServiceAccountAnnotationKeys: Forbidden: requireServiceAccount cannot be "
        "false when requiredServiceAccountAnnotationKeys is set");
  }
  const std::string cache_type = Text(from, "cacheType");
  if (cache_type.empty()) {
    problems->push_back(
        "providers.tokenAttributes.cacheType: Required value: cacheType is required to be set when tokenAttributes is "
        "specified. Supported values are: ServiceAccount, Token");
  } else if (cache_type != "ServiceAccount" && cache_type != "Token") {
    problems->push_back(absl::StrCat("providers.tokenAttributes.cacheType: Unsupported value: \"", cache_type,
                                     "\": supported values: \"ServiceAccount\", \"Token\""));
  }
  token.cache_by_token = cache_type == "Token";
  spec->token = std::move(token);
  return absl::OkStatus();
}

Status ReadProvider(const json& from, std::vector<std::string>* problems, CredentialProviderSpec* spec) {
  if (!from.is_object()) return InvalidArgument("providers: must be objects");
  RETURN_IF_ERROR(
      OnlyFields(from, {"name", "matchImages", "defaultCacheDuration", "apiVersion", "args", "env", "tokenAttributes"},
                 "providers"));
  spec->name = Text(from, "name");
  auto bad_name = [&](std::string_view why) {
    problems->push_back(absl::StrCat("providers.name: Invalid value: \"", spec->name, "\": ", why));
  };
  if (absl::StrContains(spec->name, '/')) bad_name("provider name cannot contain '/'");
  if (absl::StrContains(spec->name, ' ')) bad_name("provider name cannot contain spaces");
  if (spec->name == ".") bad_name("provider name cannot be '.'");
  if (spec->name == "..") bad_name("provider name cannot be '..'");
  spec->api_version = Text(from, "apiVersion");
  if (spec->api_version.empty()) {
    problems->push_back("providers.apiVersion: Required value");
  } else if (std::find(std::begin(kVersions), std::end(kVersions), spec->api_version) == std::end(kVersions)) {
    problems->push_back(absl::StrCat("providers.apiVersion: Unsupported value: \"", spec->api_version,
                                     "\": supported values: \"", absl::StrJoin(kVersions, "\", \""), "\""));
  }
  spec->match_images = Texts(from, "matchImages");
  if (spec->match_images.empty()) {
    problems->push_back("providers.matchImages: Required value: at least 1 item in matchImages is required");
  }
  spec->args = Texts(from, "args");
  if (auto env = from.find("env"); env != from.end() && env->is_array()) {
    for (const json& item : *env) {
      if (item.is_object()) spec->env.emplace_back(Text(item, "name"), Text(item, "value"));
    }
  }
  const std::string cache = Text(from, "defaultCacheDuration");
  if (cache.empty()) {
    problems->push_back("providers.defaultCacheDuration: Required value");
  } else {
    ASSIGN_OR_RETURN(spec->cache, ParseDuration(cache), "providers.defaultCacheDuration");
    if (spec->cache.count() < 0) {
      problems->push_back(absl::StrCat("providers.defaultCacheDuration: Invalid value: \"", cache,
                                       "\": must be greater than or equal to 0"));
    }
  }
  if (auto token = from.find("tokenAttributes"); token != from.end() && token->is_object()) {
    RETURN_IF_ERROR(ReadTokenAttributes(*token, problems, spec));
  }
  return absl::OkStatus();
}

Status ReadConfigFile(const std::string& path, std::vector<std::string>* problems,
                      std::vector<CredentialProviderSpec>* out) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLongestConfig), "unable to read file \"", path, "\"");
  ASSIGN_OR_RETURN(const std::string as_json, api::YamlToJson(text, nullptr), "error decoding config \"", path, "\"");
  ASSIGN_OR_RETURN(const json parsed, api::ParseJson(as_json), "error decoding config \"", path, "\"");
  if (!parsed.is_object()) return InvalidArgument("error decoding config \"", path, "\": not an object");
  const std::string kind = Text(parsed, "kind"), version = Text(parsed, "apiVersion");
  if (kind != "CredentialProviderConfig") {
    return InvalidArgument("error decoding config \"", path, "\": failed to decode \"", kind, "\" (wrong Kind)");
  }
  if (version != "kubelet.config.k8s.io/v1" && version != "kubelet.config.k8s.io/v1beta1" &&
      version != "kubelet.config.k8s.io/v1alpha1") {
    return InvalidArgument("error decoding config \"", path, "\": no kind \"", kind, "\" is registered for version \"",
                           version, "\"");
  }
  RETURN_IF_ERROR(OnlyFields(parsed, {"kind", "apiVersion", "providers"}, ""), "error decoding config \"", path, "\"");
  auto providers = parsed.find("providers");
  if (providers == parsed.end() || !providers->is_array()) return absl::OkStatus();
  for (const json& item : *providers) {
    CredentialProviderSpec spec;
    RETURN_IF_ERROR(ReadProvider(item, problems, &spec), "error decoding config \"", path, "\"");
    for (const auto& known : *out) {
      if (known.name == spec.name) {
        return InvalidArgument("duplicate provider name \"", spec.name, "\" found in configuration file(s)");
      }
    }
    out->push_back(std::move(spec));
  }
  return absl::OkStatus();
}

// Our own environment and `more`, each name once: programs take the first of several.
std::vector<std::string> EnvironmentWith(const std::vector<std::pair<std::string, std::string>>& more) {
  std::map<std::string, std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = std::min(text.find('='), text.size());
    merged.emplace(text.substr(0, equals), text.substr(equals));
  }
  for (const auto& [name, value] : more) merged[name] = absl::StrCat("=", value);
  std::vector<std::string> out;
  for (const auto& [name, rest] : merged) out.push_back(absl::StrCat(name, rest));
  return out;
}

std::string RegistryOf(const std::string& image) { return image.substr(0, image.find('/')); }

}  // namespace

StatusOr<CredentialAnswer> ParseCredentialAnswer(std::string_view text, std::string_view api_version) {
  constexpr std::string_view kUndecodable = "error decoding credential provider plugin response from stdout";
  auto parsed = api::ParseJson(text);  // its own words could show a password
  if (!parsed.ok() || !parsed->is_object()) return InvalidArgument(kUndecodable);
  if (const std::string version = Text(*parsed, "apiVersion"); version != api_version) {
    return InvalidArgument("apiVersion from credential plugin response did not match expected apiVersion:", api_version,
                           ", actual apiVersion:", version);
  }
  if (Text(*parsed, "kind") != "CredentialProviderResponse") return InvalidArgument(kUndecodable);
  CredentialAnswer out;
  if (auto entries = parsed->find("auth"); entries != parsed->end() && entries->is_object()) {
    for (const auto& [location, entry] : entries->items()) {
      if (entry.is_object()) out.auth.push_back({location, Text(entry, "username"), Text(entry, "password")});
    }
  }
  const std::string type = Text(*parsed, "cacheKeyType");
  if (type == "Image") {
    out.cache_by = CredentialAnswer::CacheBy::kImage;
  } else if (type == "Registry") {
    out.cache_by = CredentialAnswer::CacheBy::kRegistry;
  } else if (type == "Global") {
    out.cache_by = CredentialAnswer::CacheBy::kGlobal;
  } else {
    return InvalidArgument("credential provider plugin did not return a valid cacheKeyType: ", type);
  }
  if (const std::string given = Text(*parsed, "cacheDuration"); !given.empty()) {
    ASSIGN_OR_RETURN(out.keep, ParseDuration(given), kUndecodable);
  }
  return out;
}

StatusOr<std::vector<CredentialProviderSpec>> ReadCredentialProviders(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("unable to access path \"", path, "\""));
  std::vector<std::string> files;
  if (S_ISDIR(info.st_mode)) {
    ASSIGN_OR_RETURN(std::vector<std::string> names, ListDir(path), "unable to read directory \"", path, "\"");
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (name.ends_with(".json") || name.ends_with(".yaml") || name.ends_with(".yml"))
        files.push_back(JoinPath(path, name));
    }
    if (files.empty()) return InvalidArgument("no configuration files found in directory \"", path, "\"");
  } else {
    files.push_back(path);
  }
  std::vector<CredentialProviderSpec> out;
  std::vector<std::string> problems;
  for (const std::string& file : files) RETURN_IF_ERROR(ReadConfigFile(file, &problems, &out));
  if (out.empty()) problems.push_back("providers: Required value: at least 1 item in plugins is required");
  if (!problems.empty()) {
    const std::string all = absl::StrJoin(problems, ", ");
    return InvalidArgument("failed to validate credential provider config: ",
                           problems.size() > 1 ? absl::StrCat("[", all, "]") : all);
  }
  return out;
}

StatusOr<std::unique_ptr<CredentialPlugins>> CredentialPlugins::Make(const std::string& config_path,
                                                                     std::string bin_dir, ObjectSource& objects,
                                                                     GetServiceAccount get_service_account,
                                                                     Clock& clock) {
  if (!Exists(bin_dir)) return NotFound("plugin binary directory ", bin_dir, " did not exist");
  ASSIGN_OR_RETURN(auto providers, ReadCredentialProviders(config_path));
  for (const auto& provider : providers) {
    const std::string program = JoinPath(bin_dir, provider.name);
    if (access(program.c_str(), X_OK) != 0) {
      return NotFound("plugin binary executable ", program, " did not exist");
    }
  }
  return std::unique_ptr<CredentialPlugins>(
      new CredentialPlugins(std::move(providers), std::move(bin_dir), objects, std::move(get_service_account), clock));
}

Task<StatusOr<std::optional<CredentialPlugins::Account>>> CredentialPlugins::AccountFor(
    const CredentialProviderSpec& provider, const Pod& pod) {
  Account out;
  if (!provider.token) co_return out;
  const auto& wanted = *provider.token;
  const std::string& name = pod.spec().serviceaccountname();
  const std::string& ns = pod.metadata().namespace_();
  if (name.empty()) {
    if (wanted.require_service_account) co_return std::optional<Account>();
    co_return out;
  }
  CO_ASSIGN_OR_RETURN(const ServiceAccountFacts facts, co_await get_service_account_(ns, name),
                      "failed to get service account");
  for (const std::string& key : wanted.required_annotations) {
    auto found = facts.annotations.find(key);
    if (found == facts.annotations.end()) {
      VLOG(5, "Failed to get service account data", {"provider", provider.name},
           {"err", absl::StrCat("required annotation ", key, " not found")});
      co_return std::optional<Account>();
    }
    out.annotations[key] = found->second;
  }
  for (const std::string& key : wanted.optional_annotations) {
    if (auto found = facts.annotations.find(key); found != facts.annotations.end())
      out.annotations[key] = found->second;
  }
  TokenRequest request;
  request.ns = ns;
  request.service_account = name;
  request.audience = wanted.audience;
  request.pod_name = pod.metadata().name();
  request.pod_uid = pod.metadata().uid();
  CO_ASSIGN_OR_RETURN(Token token, co_await objects_.GetToken(std::move(request)),
                      "failed to get service account token");
  out.token = std::move(token.token);
  out.source = {CredentialSource::kServiceAccount, facts.uid, ns, name};
  out.cache_key = absl::StrCat(ns, "/", name, "/", facts.uid);
  for (const auto& [key, value] : out.annotations) absl::StrAppend(&out.cache_key, "\n", key, "=", value);
  if (wanted.cache_by_token) absl::StrAppend(&out.cache_key, "\n", absl::BytesToHexString(Sha256(out.token)));
  co_return out;
}

Task<StatusOr<CredentialPlugins::Auth>> CredentialPlugins::Ask(const CredentialProviderSpec& provider,
                                                               const std::string& image, const Account& account) {
  const SteadyTime now = clock_.Steady();
  for (const std::string& key : {image, RegistryOf(image), std::string("<global>")}) {
    auto found = cache_.find({provider.name, key, account.cache_key});
    if (found != cache_.end() && found->second.expires > now) co_return found->second.auth;
  }
  const Key key = {provider.name, image, account.cache_key};
  std::shared_ptr<Flight> flight = flights_[key].lock();
  if (flight == nullptr) {
    std::erase_if(flights_, [](const auto& entry) { return entry.second.expired(); });
    flight = std::make_shared<Flight>();
    flights_[key] = flight;
  }
  CO_ASSIGN_OR_RETURN(const AsyncLock::Guard turn, co_await flight->Lock());
  if (!flight->answer) {
    auto answer = co_await Execute(provider, image, account);
    if (absl::IsCancelled(answer.status())) co_return answer.status();
    flight->answer = std::move(answer);
    flights_.erase(key);
  }
  co_return *flight->answer;
}

Task<StatusOr<CredentialPlugins::Auth>> CredentialPlugins::Execute(const CredentialProviderSpec& provider,
                                                                   const std::string& image, const Account& account) {
  json request = {{"kind", "CredentialProviderRequest"}, {"apiVersion", provider.api_version}, {"image", image}};
  if (!account.token.empty()) request["serviceAccountToken"] = account.token;
  for (const auto& [key, value] : account.annotations) request["serviceAccountAnnotations"][key] = value;
  Command command;
  command.argv = {JoinPath(bin_dir_, provider.name)};
  command.argv.insert(command.argv.end(), provider.args.begin(), provider.args.end());
  command.env = EnvironmentWith(provider.env);
  command.input = DumpJson(request) + "\n";
  command.timeout = std::chrono::minutes(1);
  const std::string what =
      absl::StrCat("error execing credential provider plugin ", provider.name, " for image ", image);
  CO_ASSIGN_OR_RETURN(const CommandResult result, co_await RunCommand(std::move(command)), what);
  if (result.exit_code != 0) {
    co_return Unavailable(what, ": exit status ", result.exit_code, ": ", result.err.substr(0, 1024));
  }
  CO_ASSIGN_OR_RETURN(CredentialAnswer answer, ParseCredentialAnswer(result.out, provider.api_version));
  for (const auto& entry : answer.auth) {
    if (!account.token.empty() && !provider.token->cache_by_token && entry[2] == account.token) {
      co_return InvalidArgument(
          "credential provider plugin returned the service account token as the password which is not allowed when "
          "service account cache type is not set to 'Token'");
    }
  }
  const std::string key = answer.cache_by == CredentialAnswer::CacheBy::kImage      ? image
                          : answer.cache_by == CredentialAnswer::CacheBy::kRegistry ? RegistryOf(image)
                                                                                    : "<global>";
  // Bounded, so that it can be added to the time.
  const std::chrono::nanoseconds keep =
      std::min<std::chrono::nanoseconds>(answer.keep.value_or(provider.cache), std::chrono::hours(24 * 365));
  if (keep.count() > 0) {
    const SteadyTime now = clock_.Steady();
    std::erase_if(cache_, [now](const auto& entry) { return entry.second.expires <= now; });
    if (cache_.size() >= kMostCached) cache_.clear();
    cache_[{provider.name, key, account.cache_key}] = {answer.auth, now + keep};
  }
  co_return std::move(answer.auth);
}

Task<void> CredentialPlugins::Provide(const std::string& image, const Pod& pod, Keyring* keyring) {
  for (const CredentialProviderSpec& provider : providers_) {
    if (std::none_of(provider.match_images.begin(), provider.match_images.end(),
                     [&](const std::string& pattern) { return ImageMatches(pattern, image); })) {
      continue;
    }
    auto account = co_await AccountFor(provider, pod);
    if (account.ok() && !account->has_value()) continue;
    StatusOr<Auth> auth = Auth();
    if (account.ok()) {
      auth = co_await Ask(provider, image, **account);
    } else {
      auth = account.status();
    }
    if (!auth.ok()) {
      LOG_ERROR(auth.status(), "Failed to provide credentials for image", {"provider", provider.name}, {"image", image},
                {"pod", absl::StrCat(pod.metadata().namespace_(), "/", pod.metadata().name())});
      continue;
    }
    for (const auto& [location, username, password] : *auth) {
      keyring->Add(location, username, password, "", (*account)->source);
    }
  }
}

}  // namespace skiff::kubelet
