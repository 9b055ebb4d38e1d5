#include "controlplane/apiserver/service_account_tokens.h"

#include <nlohmann/json.hpp>

#include "api/codec.h"
#include "api/json_number.h"
#include "base/tls.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
using api::json;

// Clients may hold a token a little past a pod's end.
constexpr int64_t kDeletedLeewaySeconds = 60;

StatusOr<std::string> DerOf(const std::string& pem) {
  const size_t begin = pem.find('\n');
  const size_t end = pem.rfind("\n-----END");
  if (begin == std::string::npos || end == std::string::npos || end <= begin) return InvalidArgument("no PEM block");
  std::string text;
  for (char c : std::string_view(pem).substr(begin, end - begin))
    if (!isspace(static_cast<unsigned char>(c))) text.push_back(c);
  return Base64Decode(text);
}

struct Parts {
  std::string_view input, signature;  // header.claims, signature
  json header, claims;
};

StatusOr<Parts> Split(std::string_view token) {
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.size() > 16384) return InvalidArgument("not a JWT");
  Parts parts;
  parts.input = token.substr(0, second);
  parts.signature = token.substr(second + 1);
  ASSIGN_OR_RETURN(std::string header, Base64UrlDecode(token.substr(0, first)));
  ASSIGN_OR_RETURN(std::string claims, Base64UrlDecode(token.substr(first + 1, second - first - 1)));
  ASSIGN_OR_RETURN(parts.header, api::ParseJson(header));
  ASSIGN_OR_RETURN(parts.claims, api::ParseJson(claims));
  if (!parts.header.is_object() || !parts.claims.is_object()) return InvalidArgument("not a JWT");
  return parts;
}

std::string Text(const json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}
int64_t Number(const json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() ? api::IntegerOf(*it) : 0;
}

std::string Quoted(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) absl::StrAppend(&out, out.size() > 1 ? " " : "", "\"", word, "\"");
  return out + "]";
}

}  // namespace

StatusOr<ServiceAccountTokens> ServiceAccountTokens::Make(std::string issuer, std::vector<std::string> api_audiences,
                                                          const std::string& signing_key_pem,
                                                          const std::vector<std::string>& more_keys_pem) {
  ServiceAccountTokens out;
  out.issuer_ = std::move(issuer);
  out.api_audiences_ = std::move(api_audiences);
  if (out.api_audiences_.empty()) out.api_audiences_.push_back(out.issuer_);
  out.signing_key_ = signing_key_pem;
  std::vector<std::string> all = {signing_key_pem};
  all.insert(all.end(), more_keys_pem.begin(), more_keys_pem.end());
  for (const std::string& pem : all) {
    Key key;
    if (pem.find("PRIVATE KEY") != std::string::npos) {
      ASSIGN_OR_RETURN(key.public_pem, PublicKeyOf(pem), "service account key");
    } else {
      key.public_pem = pem;
    }
    ASSIGN_OR_RETURN(std::string der, DerOf(key.public_pem), "service account key");
    key.id = Base64UrlEncode(Sha256(der));
    // An RSA public key's DER names rsaEncryption, 1.2.840.113549.1.1.1.
    key.algorithm = der.find("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01") != std::string::npos ? "RS256" : "ES256";
    out.keys_.push_back(std::move(key));
  }
  return out;
}

StatusOr<std::string> ServiceAccountTokens::Sign(const TokenClaims& claims) const {
  json bound = {{"namespace", claims.ns}, {"serviceaccount", {{"name", claims.account}, {"uid", claims.account_uid}}}};
  if (!claims.pod.empty()) bound["pod"] = {{"name", claims.pod}, {"uid", claims.pod_uid}};
  if (!claims.secret.empty()) bound["secret"] = {{"name", claims.secret}, {"uid", claims.secret_uid}};
  if (!claims.node.empty()) {
    bound["node"] = {{"name", claims.node}};
    if (!claims.node_uid.empty()) bound["node"]["uid"] = claims.node_uid;
  }
  if (claims.warn_after > 0) bound["warnafter"] = claims.warn_after;
  const json body = {
      {"aud", claims.audiences}, {"exp", claims.expires},
      {"iat", claims.issued},    {"iss", issuer_},
      {"jti", RandomUuid()},     {"kubernetes.io", bound},
      {"nbf", claims.issued},    {"sub", absl::StrCat("system:serviceaccount:", claims.ns, ":", claims.account)}};
  std::string header_text, body_text;
  api::AppendJson(json{{"alg", keys_[0].algorithm}, {"kid", keys_[0].id}}, &header_text);
  api::AppendJson(body, &body_text);
  std::string input = absl::StrCat(Base64UrlEncode(header_text), ".", Base64UrlEncode(body_text));
  ASSIGN_OR_RETURN(std::string signature, SignJws(signing_key_, input));
  return absl::StrCat(input, ".", Base64UrlEncode(signature));
}

bool ServiceAccountTokens::IsOurs(std::string_view token) const {
  auto parts = Split(token);
  return parts.ok() && Text(parts->claims, "iss") == issuer_;
}

StatusOr<ServiceAccountTokens::Verified> ServiceAccountTokens::Verify(std::string_view token,
                                                                      const std::vector<std::string>& audiences,
                                                                      const Admission& objects, WallTime now) const {
  const Status invalid = absl::UnauthenticatedError("invalid bearer token");
  auto parts = Split(token);
  if (!parts.ok() || Text(parts->claims, "iss") != issuer_) return invalid;
  auto signature = Base64UrlDecode(parts->signature);
  if (!signature.ok()) return invalid;
  const std::string kid = Text(parts->header, "kid"), algorithm = Text(parts->header, "alg");
  bool believed = false;
  for (const Key& key : keys_) {
    // The algorithm is the key's; a header that names another is not believed.
    if ((!kid.empty() && kid != key.id) || algorithm != key.algorithm) continue;
    if (VerifyJws(key.public_pem, parts->input, *signature).ok()) {
      believed = true;
      break;
    }
  }
  if (!believed) return invalid;
  const json& claims = parts->claims;
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (seconds > Number(claims, "exp"))
    return absl::UnauthenticatedError("[invalid bearer token, service account token has expired]");
  if (seconds < Number(claims, "nbf")) return invalid;

  std::vector<std::string> token_audiences;
  if (auto it = claims.find("aud"); it != claims.end()) {
    if (it->is_string()) token_audiences.push_back(it->get<std::string>());
    if (it->is_array())
      for (const json& audience : *it)
        if (audience.is_string()) token_audiences.push_back(audience.get<std::string>());
  }
  const std::vector<std::string>& wanted = audiences.empty() ? api_audiences_ : audiences;
  Verified out;
  for (const std::string& audience : token_audiences)
    if (std::find(wanted.begin(), wanted.end(), audience) != wanted.end()) out.audiences.push_back(audience);
  if (out.audiences.empty())
    return absl::UnauthenticatedError(absl::StrCat("[invalid bearer token, token audiences ", Quoted(token_audiences),
                                                   " is invalid for the target audiences ", Quoted(wanted), "]"));

  auto bound = claims.find("kubernetes.io");
  if (bound == claims.end() || !bound->is_object()) return invalid;
  const std::string ns = Text(*bound, "namespace");
  auto part = [&](const char* key) {
    return bound->contains(key) && (*bound)[key].is_object() ? (*bound)[key] : json::object();
  };
  const json account_part = part("serviceaccount"), pod_part = part("pod"), node_part = part("node"),
             secret_part = part("secret");
  const std::string name = Text(account_part, "name");
  const std::string subject = absl::StrCat("system:serviceaccount:", ns, ":", name);
  if (Text(claims, "sub") != subject) return invalid;
  // A bound object that is gone, or on its way for longer than the leeway, takes its tokens with it.
  auto gone = [&](const metav1::ObjectMeta& meta) {
    return meta.has_deletiontimestamp() && meta.deletiontimestamp().seconds() + kDeletedLeewaySeconds < seconds;
  };
  auto account = objects.Find<core::ServiceAccount>("serviceaccounts", ns, name);
  if (!account || account->metadata().uid() != Text(account_part, "uid") || gone(account->metadata()))
    return absl::UnauthenticatedError(
        "[invalid bearer token, service account UID does not match claim or it was deleted]");
  out.user.name = subject;
  out.user.uid = account->metadata().uid();
  out.user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns, std::string(kAuthenticated)};
  if (const std::string jti = Text(claims, "jti"); !jti.empty())
    out.user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + jti};
  if (const std::string pod_name = Text(pod_part, "name"); !pod_name.empty()) {
    auto pod = objects.Find<core::Pod>("pods", ns, pod_name);
    if (!pod || pod->metadata().uid() != Text(pod_part, "uid") || gone(pod->metadata()))
      return absl::UnauthenticatedError("[invalid bearer token, service account token has been invalidated]");
    out.user.extra["authentication.kubernetes.io/pod-name"] = {pod_name};
    out.user.extra["authentication.kubernetes.io/pod-uid"] = {pod->metadata().uid()};
  }
  if (const std::string secret_name = Text(secret_part, "name"); !secret_name.empty()) {
    auto secret = objects.Find<core::Secret>("secrets", ns, secret_name);
    if (!secret || secret->metadata().uid() != Text(secret_part, "uid") || gone(secret->metadata()))
      return absl::UnauthenticatedError("[invalid bearer token, service account token has been invalidated]");
  }
  if (const std::string node_name = Text(node_part, "name"); !node_name.empty()) {
    if (Text(pod_part, "name").empty()) {
      auto node = objects.Find<core::Node>("nodes", "", node_name);
      if (!node || node->metadata().uid() != Text(node_part, "uid"))
        return absl::UnauthenticatedError("[invalid bearer token, service account token has been invalidated]");
    }
    out.user.extra["authentication.kubernetes.io/node-name"] = {node_name};
    if (const std::string uid = Text(node_part, "uid"); !uid.empty())
      out.user.extra["authentication.kubernetes.io/node-uid"] = {uid};
  }
  return out;
}

std::string ServiceAccountTokens::JwksJson() const {
  json keys = json::array();
  for (const Key& key : keys_) {
    auto der = DerOf(key.public_pem);
    if (!der.ok() || key.algorithm != "RS256") continue;
    // SEQUENCE { SEQUENCE { oid, NULL }, BIT STRING { SEQUENCE { INTEGER n, INTEGER e } } }: the integers are the last
    // two elements; e is 65537 in every key that is made today, three bytes.
    const std::string& d = *der;
    if (d.size() < 6 + 256 + 5 || d.substr(d.size() - 5, 2) != std::string("\x02\x03", 2)) continue;
    const std::string e = d.substr(d.size() - 3);
    size_t begin = d.find(std::string("\x02\x82", 2), 24);
    if (begin == std::string::npos) continue;
    const size_t length = static_cast<unsigned char>(d[begin + 2]) << 8 | static_cast<unsigned char>(d[begin + 3]);
    if (begin + 4 + length > d.size()) continue;
    std::string n = d.substr(begin + 4, length);
    if (!n.empty() && n[0] == 0) n.erase(0, 1);
    keys.push_back({{"use", "sig"},
                    {"kty", "RSA"},
                    {"kid", key.id},
                    {"alg", "RS256"},
                    {"n", Base64UrlEncode(n)},
                    {"e", Base64UrlEncode(e)}});
  }
  std::string out;
  api::AppendJson(json{{"keys", keys}}, &out);
  return out;
}

}  // namespace skiff::controlplane
