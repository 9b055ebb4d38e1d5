#include "api/int_or_string.h"
#include "base/go_text.h"
#include "base/http_client.h"
#include "base/program.h"
#include "base/tls.h"
#include "kubelet/probe/probe_action.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr size_t kBodyLimit = 10 << 10;
constexpr int kMaxRedirects = 10;

struct Url {
  std::string scheme, host;  // host without brackets
  int port = 0;
  std::string target = "/";  // encoded path and query

  std::string Authority() const { return JoinHostPort(host, port); }
  std::string Text() const { return absl::StrCat(scheme, "://", Authority(), target); }
};

// Keeps what is already encoded and encodes the rest, as Go does with a URL's path.
std::string EncodeTarget(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  text = text.substr(0, text.find('#'));
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = text[i];
    const bool escape = c == '%' && i + 2 < text.size() && isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (isalnum(c) || escape || (c != '%' && strchr("-._~!$&'()*+,;=:@/?", c) != nullptr && c != 0)) {
      out.push_back(static_cast<char>(c));
    } else {
      out += {'%', kHex[c >> 4], kHex[c & 15]};
    }
  }
  if (out.empty() || out[0] != '/') out.insert(out.begin(), '/');
  return out;
}

bool IsAbsolute(std::string_view location) {
  const size_t scheme = location.find("://");
  return scheme != std::string_view::npos && location.find('/') == scheme + 1;
}

// The place a redirect names, from `base`. nullopt for what is no http URL.
std::optional<Url> Resolve(const Url& base, std::string_view location) {
  Url out = base;
  if (IsAbsolute(location)) {
    const size_t scheme = location.find("://");
    out.scheme = absl::AsciiStrToLower(location.substr(0, scheme));
    location.remove_prefix(scheme + 1);
    out.port = 0;
  }
  if (out.scheme != "http" && out.scheme != "https") return std::nullopt;
  if (absl::StartsWith(location, "//")) {
    location.remove_prefix(2);
    std::string_view authority = location.substr(0, location.find_first_of("/?#"));
    location.remove_prefix(authority.size());
    if (const size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    out.port = out.scheme == "https" ? 443 : 80;
    const size_t colon = authority.rfind(':');
    if (colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos) {
      if (!absl::SimpleAtoi(authority.substr(colon + 1), &out.port)) return std::nullopt;
      authority = authority.substr(0, colon);
    }
    if (authority.size() > 1 && authority.front() == '[') authority = authority.substr(1, authority.size() - 2);
    out.host = std::string(authority);
    out.target = EncodeTarget(location);
    return out;
  }
  if (absl::StartsWith(location, "/")) {
    out.target = EncodeTarget(location);
  } else if (absl::StartsWith(location, "?")) {
    out.target = EncodeTarget(absl::StrCat(base.target.substr(0, base.target.find('?')), location));
  } else if (!location.empty()) {
    const std::string path = base.target.substr(0, base.target.find('?'));
    out.target = EncodeTarget(absl::StrCat(path.substr(0, path.rfind('/') + 1), location));
  }
  return out;
}

std::string UserAgent(const std::string& purpose) {
  const std::string_view version = std::string_view(kKubernetesVersion).substr(1);
  return absl::StrCat("kube-", purpose, "/", version.substr(0, version.rfind('.')));
}

std::shared_ptr<TlsClientConfig> ProbeTls() {
  // A probe asks whether something serves, not who it is.
  static const StatusOr<std::shared_ptr<TlsClientConfig>> config = [] {
    TlsClientConfig::Options options;
    options.insecure_skip_verify = true;
    return TlsClientConfig::Make(std::move(options));
  }();
  return config.ok() ? *config : nullptr;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

Status GetError(const Url& url, const Status& status) {
  std::string_view text = status.message();
  std::string replaced;
  if (absl::IsDeadlineExceeded(status)) {
    text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  } else if (absl::StrContains(text, "first record does not look like a TLS handshake")) {
    text = "http: server gave HTTP response to HTTPS client";
  }
  return Status(status.code(), absl::StrCat("Get ", GoQuote(url.Text()), ": ", text));
}

// One request. `host` is what the Host header says, "" for the URL's own.
Task<StatusOr<std::unique_ptr<http::BodyReader>>> GetOnce(Url url, std::string host, http::Headers headers,
                                                          std::chrono::nanoseconds timeout) {
  http::ClientOptions options;
  options.keep_alive = false;
  options.reset_on_close = true;
  options.connect_timeout = timeout;
  http::Client client(co_await asio::this_coro::executor, url.Authority(), url.scheme == "https" ? ProbeTls() : nullptr,
                      options);
  http::ClientRequest request;
  request.target = url.target;
  request.headers = std::move(headers);
  if (!host.empty()) request.headers.Set("Host", host);
  request.timeout = timeout;
  request.limit_body = true;
  auto answer = co_await client.Open(std::move(request));
  if (!answer.ok()) co_return GetError(url, answer.status());
  co_return answer;
}

Task<HttpGetResult> ReadResult(std::unique_ptr<http::BodyReader> answer) {
  HttpGetResult result;
  result.status = answer->status();
  char buffer[4096];
  while (result.body.size() < kBodyLimit) {
    const auto got = co_await answer->Read(buffer);
    result.body_error = got.status();
    if (!got.ok() || *got == 0) break;
    result.body.append(buffer, std::min(*got, kBodyLimit - result.body.size()));
  }
  co_return result;
}

}  // namespace

Task<StatusOr<HttpGetResult>> HttpGet(core::HTTPGetAction action, core::Container container, std::string pod_ip,
                                      std::string purpose, std::chrono::nanoseconds timeout) {
  Url url;
  CO_ASSIGN_OR_RETURN(url.port, ResolvePort(action.port(), container));
  url.scheme = absl::AsciiStrToLower(action.scheme());
  if (url.scheme.empty()) url.scheme = "http";
  url.host = action.host().empty() ? pod_ip : action.host();
  url.target = EncodeTarget(action.path());

  http::Headers headers;
  std::string host;
  bool has_host = false, agent = false, accept = false;
  for (const auto& header : action.httpheaders()) {
    if (absl::EqualsIgnoreCase(header.name(), "Host")) {
      if (!std::exchange(has_host, true)) host = header.value();
      continue;
    }
    if (absl::EqualsIgnoreCase(header.name(), "User-Agent")) agent = true;
    if (absl::EqualsIgnoreCase(header.name(), "Accept")) {
      accept = true;
      if (header.value().empty()) continue;
    }
    headers.Add(header.name(), header.value());
  }
  if (!agent) headers.Set("User-Agent", UserAgent(purpose));
  if (!accept) headers.Set("Accept", "*/*");
  headers.Set("Connection", "close");

  const std::string first_host = url.host;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (int hop = 0;; ++hop) {
    const auto left =
        std::max<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now(), std::chrono::milliseconds(1));
    CO_ASSIGN_OR_RETURN(auto answer, co_await GetOnce(url, host, headers, left));
    const std::string location(answer->headers().Get("Location"));
    const bool redirect = IsRedirect(answer->status()) && !location.empty();
    const auto next = redirect ? Resolve(url, location) : std::nullopt;
    // A redirect to elsewhere is not followed: the probe is about this pod.
    if (!next || next->host != first_host) {
      HttpGetResult result = co_await ReadResult(std::move(answer));
      if (absl::IsCancelled(result.body_error)) co_return result.body_error;
      co_return result;
    }
    if (hop + 1 >= kMaxRedirects) co_return Unavailable("Get ", GoQuote(next->target), ": stopped after 10 redirects");
    // As Go: what the caller named goes along with a redirect that names no other place.
    if (IsAbsolute(location) || host == url.Authority()) host.clear();
    url = *next;
  }
}

Task<ProbeOutcome> ProbeHttp(core::HTTPGetAction action, core::Container container, std::string pod_ip,
                             std::chrono::nanoseconds timeout) {
  auto result = co_await HttpGet(std::move(action), std::move(container), std::move(pod_ip), "probe", timeout);
  if (absl::IsInvalidArgument(result.status())) {
    co_return ProbeOutcome{ProbeOutcome::kError, std::string(result.status().message())};
  }
  if (!result.ok()) co_return ProbeOutcome{ProbeOutcome::kFailure, std::string(result.status().message())};
  if (!result->body_error.ok()) {
    co_return ProbeOutcome{ProbeOutcome::kError, std::string(result->body_error.message()), "failure"};
  }
  if (result->status >= 200 && result->status < 300) {
    co_return ProbeOutcome{ProbeOutcome::kSuccess, std::move(result->body)};
  }
  if (result->status >= 300 && result->status < 400) {
    co_return ProbeOutcome{ProbeOutcome::kWarning,
                           absl::StrCat("Probe terminated redirects, Response body: ", result->body)};
  }
  co_return ProbeOutcome{ProbeOutcome::kFailure, absl::StrCat("HTTP probe failed with statuscode: ", result->status)};
}

}  // namespace skiff::kubelet
