#include "kubelet/runtime/keyring.h"

#include <fnmatch.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "api/codec.h"
#include "base/files.h"
#include "base/log.h"
#include "base/tls.h"

namespace skiff::kubelet {
namespace {

constexpr char kDefaultRegistry[] = "index.docker.io";

// Of the credential as upstream's JSON has it, so that records of either kubelet mean the same.
std::string HashOf(const Credential& c) {
  std::string json = "{";
  for (const auto& [name, value] :
       {std::pair("username", &c.username), {"password", &c.password}, {"email", &c.email}}) {
    if (value->empty()) continue;
    absl::StrAppend(&json, json.size() > 1 ? "," : "", "\"", name, "\":");
    api::AppendJsonString(*value, &json);
  }
  json += "}";
  return absl::BytesToHexString(Sha256(json));
}

std::string Text(const nlohmann::json& entry, const char* name) {
  auto found = entry.find(name);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
}

struct Place {
  std::vector<std::string> host;
  std::string port, path;
};

Place Split(std::string_view text) {
  Place out;
  const size_t slash = text.find('/');
  std::string_view authority = text.substr(0, slash);
  if (slash != std::string_view::npos) out.path = text.substr(slash);
  if (const size_t colon = authority.rfind(':'); colon != std::string_view::npos) {
    out.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  out.host = absl::StrSplit(absl::string_view(authority), '.');
  return out;
}

bool IsDefaultRegistry(std::string_view image) {
  const size_t slash = image.find('/');
  const std::string_view first = image.substr(0, slash);
  if (first.empty()) return false;
  if (slash == std::string_view::npos || first == "docker.io" || first == kDefaultRegistry) return true;
  return first.find_first_of(".:") == std::string_view::npos;
}

}  // namespace

bool ImageMatches(std::string_view pattern, std::string_view image) {
  const Place a = Split(pattern), b = Split(image);
  if (a.port != b.port || a.host.size() != b.host.size() || !b.path.starts_with(a.path)) return false;
  for (size_t i = 0; i < a.host.size(); ++i) {
    if (fnmatch(a.host[i].c_str(), b.host[i].c_str(), FNM_NOESCAPE) != 0) return false;
  }
  return true;
}

std::string WithoutTag(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const size_t colon = image.rfind(':'), slash = image.rfind('/');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash))
    image = image.substr(0, colon);
  return std::string(image);
}

std::string RepositoryOf(std::string_view image) {
  std::string name = WithoutTag(image);
  const size_t slash = name.find('/');
  const std::string first = name.substr(0, slash);
  const bool has_host =
      slash != std::string::npos && (first == "localhost" || first.find_first_of(".:") != std::string::npos);
  if (!has_host) return absl::StrCat("docker.io/", slash == std::string::npos ? "library/" : "", name);
  if (first == kDefaultRegistry) return absl::StrCat("docker.io", name.substr(slash));
  return name;
}

void Keyring::Add(std::string_view location, std::string username, std::string password, std::string email,
                  const CredentialSource& source) {
  absl::string_view rest(location);
  if (!absl::ConsumePrefix(&rest, "https://")) absl::ConsumePrefix(&rest, "http://");
  const size_t slash = rest.find('/');
  std::string host(rest.substr(0, slash));
  absl::string_view path = slash == absl::string_view::npos ? absl::string_view() : rest.substr(slash);
  if (host.empty()) return;
  // Docker's own client takes /v1/ and /v2/ for the host alone.
  if (absl::StartsWith(path, "/v1/") || absl::StartsWith(path, "/v2/")) path.remove_prefix(3);
  if (path == "/") path = "";
  Credential credential{std::move(username), std::move(password), std::move(email), "", source};
  credential.hash = HashOf(credential);
  entries_[absl::StrCat(host, path)].push_back(std::move(credential));
}

void Keyring::AddDockerCfg(const nlohmann::json& entries, const CredentialSource& source) {
  if (!entries.is_object()) return;
  for (const auto& [location, entry] : entries.items()) {
    if (!entry.is_object()) continue;
    std::string username = Text(entry, "username"), password = Text(entry, "password");
    if (std::string both, encoded = Text(entry, "auth"); !encoded.empty()) {
      if (!absl::Base64Unescape(encoded, &both)) continue;
      const size_t colon = both.find(':');
      if (colon == std::string::npos) continue;
      username = both.substr(0, colon);
      password = both.substr(colon + 1);
    }
    Add(location, std::move(username), std::move(password), Text(entry, "email"), source);
  }
}

std::vector<Credential> Keyring::Lookup(std::string_view repository) const {
  std::vector<Credential> out;
  for (const auto& [location, credentials] : entries_) {
    if (ImageMatches(location, repository)) out.insert(out.end(), credentials.begin(), credentials.end());
  }
  if (out.empty() && IsDefaultRegistry(repository)) {
    if (auto found = entries_.find(kDefaultRegistry); found != entries_.end()) return found->second;
  }
  return out;
}

Status AddSecret(Keyring* keyring, std::string_view type, const std::map<std::string, std::string>& data,
                 const CredentialSource& source) {
  const bool nested = type == "kubernetes.io/dockerconfigjson";
  if (!nested && type != "kubernetes.io/dockercfg") return absl::OkStatus();
  const auto found = data.find(nested ? ".dockerconfigjson" : ".dockercfg");
  if (found == data.end() || found->second.empty()) return absl::OkStatus();
  auto parsed = api::ParseJson(found->second);
  // The parser's words could show what it parsed.
  if (!parsed.ok() || !parsed->is_object()) {
    return InvalidArgument("secret ", source.ns, "/", source.name, ": ", found->first, " is not a JSON object");
  }
  if (!nested) {
    keyring->AddDockerCfg(*parsed, source);
  } else if (auto auths = parsed->find("auths"); auths != parsed->end()) {
    keyring->AddDockerCfg(*auths, source);
  }
  return absl::OkStatus();
}

Keyring NodeKeyring(const std::string& root_dir) {
  const char* home = getenv("HOME");
  const std::string at_home = home == nullptr ? "" : home;
  constexpr size_t kLongest = 1 << 20;
  Keyring out;
  for (const std::string& dir : {root_dir, std::string("."), JoinPath(at_home, ".docker"), std::string("/.docker")}) {
    auto text = ReadFile(JoinPath(dir, "config.json"), kLongest);
    if (!text.ok()) continue;
    auto parsed = api::ParseJson(*text);
    if (!parsed.ok() || !parsed->is_object()) continue;
    if (auto auths = parsed->find("auths"); auths != parsed->end()) out.AddDockerCfg(*auths, {});
    return out;
  }
  for (const std::string& dir : {root_dir, std::string("."), at_home, std::string("/")}) {
    auto text = ReadFile(JoinPath(dir, ".dockercfg"), kLongest);
    if (!text.ok()) continue;
    auto parsed = api::ParseJson(*text);
    if (!parsed.ok()) continue;
    out.AddDockerCfg(*parsed, {});
    return out;
  }
  return out;
}

}  // namespace skiff::kubelet
