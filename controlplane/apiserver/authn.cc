#include "controlplane/apiserver/authn.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "api/errors.h"
#include "api/websocket_token.h"
#include "base/files.h"

namespace skiff::controlplane {
namespace {

void AddAuthenticated(User* user) {
  if (!user->InGroup(kAuthenticated) && user->name != kAnonymous) user->groups.emplace_back(kAuthenticated);
}

// One CSV line, with double quotes around fields that hold commas.
std::vector<std::string> SplitCsv(std::string_view line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back().push_back(c);
  }
  return fields;
}

}  // namespace

Status Authenticator::LoadTokenFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path), "token auth file");
  std::string_view rest = text;
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const size_t newline = rest.find('\n');
    std::string_view line = rest.substr(0, newline);
    rest = newline == std::string_view::npos ? std::string_view() : rest.substr(newline + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> fields = SplitCsv(line);
    if (fields.size() < 3 || fields[0].empty())
      return InvalidArgument("token auth file ", path, " line ", line_number,
                             ": must have at least 3 columns (token, user name, user uid)");
    User user{fields[1], fields[2], {}, {}};
    if (fields.size() > 3)
      for (std::string& group : SplitCsv(fields[3])) user.groups.push_back(std::move(group));
    static_tokens_[fields[0]] = std::move(user);
  }
  return absl::OkStatus();
}

StatusOr<ServiceAccountTokens::Verified> Authenticator::AuthenticateToken(const std::string& token,
                                                                          const std::vector<std::string>& audiences,
                                                                          WallTime now) const {
  if (auto it = static_tokens_.find(token); it != static_tokens_.end()) {
    ServiceAccountTokens::Verified out;
    out.user = it->second;
    AddAuthenticated(&out.user);
    return out;
  }
  return tokens_.Verify(token, audiences, objects_, now);
}

StatusOr<User> Authenticator::Authenticate(const http::Request& request, WallTime now) const {
  if (request.peer.has_certificate && !request.peer.common_name.empty()) {
    User user{request.peer.common_name, "", request.peer.organizations, {}};
    AddAuthenticated(&user);
    return user;
  }
  std::string token;
  const std::string_view header = request.headers.Get("Authorization");
  if (header.size() > 7 && absl::EqualsIgnoreCase(absl::string_view(header.data(), 7), "bearer ")) {
    token = std::string(header.substr(7));
    while (!token.empty() && token.front() == ' ') token.erase(0, 1);
  }
  if (token.empty()) {
    auto found = api::WebSocketToken(request.headers);
    if (!found.ok()) return api::UnauthorizedError("Unauthorized");
    token = *std::move(found);
  }
  if (!token.empty()) {
    auto verified = AuthenticateToken(token, {}, now);
    if (!verified.ok()) return api::UnauthorizedError("Unauthorized");
    return std::move(verified->user);
  }
  // As upstream: one whose certificate does not verify is nobody, not anonymous.
  if (!anonymous_ || !request.peer.certificate_error.empty()) return api::UnauthorizedError("Unauthorized");
  return User{std::string(kAnonymous), "", {std::string(kUnauthenticated)}, {}};
}

StatusOr<std::optional<User>> Authenticator::Impersonated(const http::Request& request) {
  const std::string_view name = request.headers.Get("Impersonate-User");
  bool others = request.headers.Has("Impersonate-Group") || request.headers.Has("Impersonate-Uid");
  User user;
  user.name = std::string(name);
  user.uid = std::string(request.headers.Get("Impersonate-Uid"));
  for (std::string_view group : request.headers.All("Impersonate-Group")) user.groups.emplace_back(group);
  constexpr std::string_view kExtra = "impersonate-extra-";
  for (const auto& [key, value] : request.headers.fields()) {
    if (key.size() <= kExtra.size()) continue;
    const std::string lower = absl::AsciiStrToLower(key);
    if (!lower.starts_with(kExtra)) continue;
    others = true;
    user.extra[http::PercentDecode(lower.substr(kExtra.size()))].push_back(value);
  }
  if (name.empty()) {
    if (others) return api::InternalError("requested impersonation without impersonating a user");
    return std::optional<User>();
  }
  if (name.starts_with("system:serviceaccount:") && user.groups.empty()) {
    const std::string_view rest = name.substr(22);
    user.groups = {"system:serviceaccounts",
                   absl::StrCat("system:serviceaccounts:", std::string(rest.substr(0, rest.find(':'))))};
  }
  if (name == kAnonymous) {
    if (!user.InGroup(kUnauthenticated)) user.groups.emplace_back(kUnauthenticated);
  } else {
    AddAuthenticated(&user);
  }
  return std::optional<User>(std::move(user));
}

}  // namespace skiff::controlplane
