// What the kubelet answers itself: logs, exec, attach, port forwarding, and the node proxy. The API server finds the
// kubelet, checks the options and passes bytes on; an upgraded connection is relayed as it is.
#include <random>

#include <arpa/inet.h>

#include "absl/strings/numbers.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/time.h"
#include "api/websocket_token.h"
#include "base/log.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/kubelet_connections.h"
#include "controlplane/apiserver/message_stream.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery_api = ::k8s::io::api::discovery::v1;

constexpr size_t kCopyBytes = 32 * 1024;

// Headers that belong to one hop.
bool IsHopHeader(const std::string& name) {
  static constexpr const char* kHop[] = {"connection", "keep-alive",    "proxy-authenticate", "proxy-authorization",
                                         "te",         "trailer",       "transfer-encoding",  "upgrade",
                                         "host",       "content-length"};
  for (const char* hop : kHop)
    if (strcasecmp(name.c_str(), hop) == 0) return true;
  return false;
}

// The client's credentials stay here; the kubelet sees the API server's.
http::Headers ForwardedHeaders(const http::Request& request, bool upgrade) {
  http::Headers out;
  for (const auto& [name, value] : request.headers.fields()) {
    if (strcasecmp(name.c_str(), "authorization") == 0) continue;
    if (strncasecmp(name.c_str(), "impersonate-", 12) == 0) continue;
    if (IsHopHeader(name)) continue;
    out.Add(name, value);
  }
  api::RemoveWebSocketToken(&out);
  if (upgrade) {
    out.Set("Connection", "Upgrade");
    out.Set("Upgrade", request.headers.Get("Upgrade"));
  }
  return out;
}

Status Unreachable(const Status& status) {
  if (absl::IsCancelled(status)) return status;
  return api::ServiceUnavailableError(absl::StrCat("error trying to reach service: ", std::string(status.message())));
}

// A kubelet's answer, streamed to the client. `text`: as upstream shows logs.
Task<Status> CopyAnswer(http::Exchange& exchange, http::BodyReader& reader, bool text) {
  http::Headers headers;
  if (text) {
    headers = AnswerHeaders("text/plain", nullptr);
  } else {
    for (const auto& [name, value] : reader.headers().fields())
      if (!IsHopHeader(name)) headers.Add(name, value);
  }
  if (Status status = co_await exchange.Begin(text ? 200 : reader.status(), std::move(headers)); !status.ok())
    co_return status;
  std::vector<char> buffer(kCopyBytes);
  while (true) {
    auto n = co_await reader.Read(buffer);
    if (!n.ok()) co_return n.status();
    if (*n == 0) break;
    if (Status status = co_await exchange.Write(std::string_view(buffer.data(), *n)); !status.ok()) co_return status;
  }
  co_return co_await exchange.End();
}

Task<Status> RelayUpgrade(ServerParts& parts, http::Exchange& exchange, const std::string& authority, bool tls,
                          std::string target) {
  auto client = parts.kubelets.ClientFor(authority, tls);
  http::ClientRequest request;
  request.method = exchange.request().method;
  request.target = std::move(target);
  request.headers = ForwardedHeaders(exchange.request(), true);
  auto upgraded = co_await client->Upgrade(std::move(request));
  if (!upgraded.ok()) co_return Unreachable(upgraded.status());
  if (!upgraded->stream) {
    // A refusal, passed on as it is; a redirect is one, too.
    http::Headers headers;
    for (const auto& [name, value] : upgraded->headers.fields())
      if (!IsHopHeader(name) && strcasecmp(name.c_str(), "location") != 0) headers.Add(name, value);
    const int code = upgraded->status >= 300 && upgraded->status < 400 ? 502 : upgraded->status;
    co_return co_await exchange.Respond(code, std::move(headers), std::move(upgraded->body));
  }
  http::Headers headers;
  for (const auto& [name, value] : upgraded->headers.fields())
    if (!IsHopHeader(name)) headers.Add(name, value);
  headers.Set("Connection", "Upgrade");
  headers.Set("Upgrade", upgraded->headers.Get("Upgrade"));
  auto stream = co_await exchange.Upgrade(101, std::move(headers));
  if (!stream.ok()) co_return stream.status();
  co_await http::Relay(**stream, *upgraded->stream);
  co_return absl::OkStatus();
}

bool WantsUpgrade(const http::Request& request) { return request.headers.HasToken("Connection", "upgrade"); }

// A container of any sort by name.
bool HasContainer(const core::Pod& pod, const std::string& name) {
  for (const auto& c : pod.spec().containers())
    if (c.name() == name) return true;
  for (const auto& c : pod.spec().initcontainers())
    if (c.name() == name) return true;
  for (const auto& c : pod.spec().ephemeralcontainers())
    if (c.ephemeralcontainercommon().name() == name) return true;
  return false;
}

// The container that a request without one means.
StatusOr<std::string> ChooseContainer(const core::Pod& pod, std::string wanted) {
  const std::string& name = pod.metadata().name();
  if (wanted.empty()) {
    auto it = pod.metadata().annotations().find("kubectl.kubernetes.io/default-container");
    if (it != pod.metadata().annotations().end() && HasContainer(pod, it->second)) return it->second;
    if (pod.spec().containers_size() == 1) return pod.spec().containers(0).name();
    std::string all, inits;
    for (const auto& c : pod.spec().containers()) absl::StrAppend(&all, all.empty() ? "" : " ", c.name());
    for (const auto& c : pod.spec().initcontainers()) absl::StrAppend(&inits, inits.empty() ? "" : " ", c.name());
    std::string message =
        absl::StrCat("a container name must be specified for pod ", name, ", choose one of: [", all, "]");
    if (!inits.empty()) absl::StrAppend(&message, " or one of the init containers: [", inits, "]");
    return api::BadRequestError(message);
  }
  if (!HasContainer(pod, wanted))
    return api::BadRequestError(absl::StrCat("container ", wanted, " is not valid for pod ", name));
  return wanted;
}

StatusOr<http::Query> LogQuery(const http::Query& query, const std::string& pod) {
  api::FieldErrors errors;
  http::Query out;
  auto number = [&](const char* key, int64_t least, const char* complaint) -> Status {
    const std::string_view text = query.Get(key);
    if (text.empty()) return absl::OkStatus();
    int64_t value = 0;
    if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value))
      return api::BadRequestError(
          absl::StrCat("strconv.ParseInt: parsing \"", std::string(text), "\": invalid syntax"));
    if (value < least) errors.Invalid(api::Path(key), value, complaint);
    out.Add(key, text);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(number("tailLines", 0, "must be greater than or equal to 0"));
  RETURN_IF_ERROR(number("limitBytes", 1, "must be greater than 0"));
  RETURN_IF_ERROR(number("sinceSeconds", 1, "must be greater than 0"));
  for (const char* key : {"follow", "previous", "timestamps"}) {
    const std::string_view value = query.Get(key);
    if (query.Has(key) && value != "false" && value != "0") out.Add(key, "true");
  }
  if (!query.Get("sinceTime").empty()) {
    auto time = api::ParseTime(query.Get("sinceTime"));
    if (!time.ok()) return api::BadRequestError(std::string(time.status().message()));
    out.Add("sinceTime", query.Get("sinceTime"));
    if (!query.Get("sinceSeconds").empty())
      errors.Forbidden(api::Path("[]"), "at most one of `sinceTime` or `sinceSeconds` may be specified");
  }
  if (query.Has("stream")) errors.Forbidden(api::Path("stream"), "may not be specified");
  RETURN_IF_ERROR(errors.ToStatus("", "PodLogOptions", pod));
  return out;
}

Task<Status> ServeLog(ServerParts& parts, Call& call) {
  const std::string ns = call.info().ns, name = call.info().name;
  auto pod = parts.admission.Find<core::Pod>("pods", ns, name);
  if (!pod) co_return api::NotFoundError({"", "pods", name});
  auto query = LogQuery(call.request().query, name);
  if (!query.ok()) co_return query.status();
  auto container = ChooseContainer(*pod, std::string(call.request().query.Get("container")));
  if (!container.ok()) co_return container.status();
  if (pod->spec().nodename().empty()) {
    http::Headers headers = AnswerHeaders("text/plain", nullptr);
    headers.Remove("Content-Type");
    co_return co_await call.exchange.Respond(204, std::move(headers), "");
  }
  auto endpoint = parts.kubelets.Find(parts.admission, pod->spec().nodename());
  if (!endpoint.ok()) co_return endpoint.status();
  const std::string encoded = query->Encode();
  std::string target =
      absl::StrCat("/containerLogs/", ns, "/", name, "/", *container, encoded.empty() ? "" : "?", encoded);
  auto client = parts.kubelets.ClientFor(endpoint->authority());
  auto reader = co_await client->Open({.method = "GET", .target = std::move(target)});
  if (!reader.ok()) {
    if (absl::IsCancelled(reader.status())) co_return reader.status();
    co_return api::InternalError(absl::StrCat("Get \"https://", endpoint->authority(), "/containerLogs/", ns, "/", name,
                                              "/", *container, "\": ", std::string(reader.status().message())));
  }
  if ((*reader)->status() != 200) {
    auto text = co_await (*reader)->ReadAll(64 * 1024);
    std::string message = text.ok() ? *text : "";
    while (!message.empty() && message.back() == '\n') message.pop_back();
    const int code = (*reader)->status();
    if (code == 400) co_return api::BadRequestError(message);
    if (code == 404) co_return api::NotFoundError({"", "pods", name});
    co_return api::InternalError(message.empty() ? absl::StrCat("the kubelet answered ", code) : message);
  }
  if (IsWebSocketRequest(call.request())) co_return co_await CopyAsMessages(call.exchange, **reader);
  co_return co_await CopyAnswer(call.exchange, **reader, true);
}

// exec, attach, portforward.
Task<Status> ServeSession(ServerParts& parts, Call& call) {
  const std::string ns = call.info().ns, name = call.info().name, sub = call.info().subresource;
  auto pod = parts.admission.Find<core::Pod>("pods", ns, name);
  if (!pod) co_return api::NotFoundError({"", "pods", name});
  const http::Query& query = call.request().query;
  std::string path;
  http::Query out;
  if (sub == "portforward") {
    if (pod->spec().nodename().empty())
      co_return api::BadRequestError(absl::StrCat("pod ", name, " does not have a host assigned"));
    path = absl::StrCat("/portForward/", ns, "/", name);
    for (const std::string& ports : query.All("ports")) out.Add("port", ports);
  } else {
    auto on = [&](const char* key) {
      const std::string_view value = query.Get(key);
      return query.Has(key) && value != "false" && value != "0";
    };
    const bool in = on("stdin"), stdout_on = on("stdout"), stderr_on = on("stderr"), tty = on("tty");
    if (!in && !stdout_on && !stderr_on)
      co_return api::BadRequestError("you must specify at least 1 of stdin, stdout, stderr");
    if (tty && stderr_on) co_return api::BadRequestError("tty and stderr cannot both be true");
    if (sub == "exec" && query.All("command").empty())
      co_return api::BadRequestError("you must specify at least 1 command for the container");
    auto container = ChooseContainer(*pod, std::string(query.Get("container")));
    if (!container.ok()) co_return container.status();
    if (pod->spec().nodename().empty())
      co_return api::BadRequestError(absl::StrCat("pod ", name, " does not have a host assigned"));
    path = absl::StrCat("/", sub, "/", ns, "/", name, "/", *container);
    if (in) out.Add("input", "1");
    if (stdout_on) out.Add("output", "1");
    if (stderr_on) out.Add("error", "1");
    if (tty) out.Add("tty", "1");
    if (sub == "exec")
      for (const std::string& word : query.All("command")) out.Add("command", word);
  }
  if (!WantsUpgrade(call.request())) co_return api::BadRequestError("Upgrade request required");
  auto endpoint = parts.kubelets.Find(parts.admission, pod->spec().nodename());
  if (!endpoint.ok()) co_return endpoint.status();
  const std::string encoded = out.Encode();
  co_return co_await RelayUpgrade(parts, call.exchange, endpoint->authority(), true,
                                  absl::StrCat(path, encoded.empty() ? "" : "?", encoded));
}

// "name", "name:port", "https:name:port".
struct ProxyTarget {
  std::string scheme, name, port;
  static ProxyTarget Parse(const std::string& text) {
    ProxyTarget out;
    const size_t first = text.find(':');
    if (first == std::string::npos) {
      out.name = text;
      return out;
    }
    const size_t second = text.find(':', first + 1);
    if (second == std::string::npos) {
      out.name = text.substr(0, first);
      out.port = text.substr(first + 1);
    } else {
      out.scheme = text.substr(0, first);
      out.name = text.substr(first + 1, second - first - 1);
      out.port = text.substr(second + 1);
    }
    return out;
  }
};

// What pods and nodes report as their address must not lead back to this machine.
bool Proxyable(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    const uint32_t ip = ntohl(v4.s_addr);
    const bool loopback = (ip >> 24) == 127, link_local = (ip >> 16) == 0xa9fe, multicast = (ip >> 28) == 0xe;
    return !loopback && !link_local && !multicast && ip != 0 && ip != 0xffffffff;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) == 1)
    return !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) &&
           !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_V4MAPPED(&v6);
  return false;
}

Task<Status> ProxyTo(ServerParts& parts, Call& call, const std::string& authority, bool tls) {
  // All behind .../proxy, still encoded as the client sent it.
  const std::string& sent = call.request().target;
  const size_t marker = sent.find("/proxy");
  std::string rest = marker == std::string::npos ? "" : sent.substr(marker + 6);
  if (rest.empty() || rest[0] == '?') {
    if (call.request().method == "GET" || call.request().method == "HEAD") {
      http::Headers headers;
      headers.Set("Location", absl::StrCat(sent.substr(0, marker + 6), "/", rest));
      co_return co_await call.exchange.Respond(301, std::move(headers), "");
    }
    rest = "/" + rest;
  }
  if (WantsUpgrade(call.request())) co_return co_await RelayUpgrade(parts, call.exchange, authority, tls, rest);
  auto body = co_await ReadWhole(call.exchange);
  if (!body.ok()) co_return body.status();
  http::ClientRequest request;
  request.method = call.request().method;
  request.target = std::move(rest);
  request.headers = ForwardedHeaders(call.request(), false);
  request.body = *std::move(body);
  auto client = parts.kubelets.ClientFor(authority, tls);
  auto reader = co_await client->Open(std::move(request));
  if (!reader.ok()) co_return Unreachable(reader.status());
  co_return co_await CopyAnswer(call.exchange, **reader, false);
}

Task<Status> ServeProxy(ServerParts& parts, Call& call) {
  const ProxyTarget target = ProxyTarget::Parse(call.info().name);
  if (call.kind.resource->plural == "nodes") {
    auto endpoint = parts.kubelets.Find(parts.admission, target.name);
    if (!endpoint.ok()) co_return endpoint.status();
    if (!Proxyable(endpoint->address)) co_return api::BadRequestError("address not allowed");
    const bool kubelet = target.port.empty() || target.port == absl::StrCat(endpoint->port);
    if (!kubelet) endpoint->port = atoi(target.port.c_str());
    // Any other port is not the kubelet's: it must not see the API server's certificate unasked.
    co_return co_await ProxyTo(parts, call, endpoint->authority(), kubelet || target.scheme == "https");
  }
  if (call.kind.resource->plural == "pods") {
    auto pod = parts.admission.Find<core::Pod>("pods", call.info().ns, target.name);
    if (!pod) co_return api::NotFoundError({"", "pods", target.name});
    std::string port = target.port;
    if (port.empty() && pod->spec().containers_size() > 0 && pod->spec().containers(0).ports_size() > 0)
      port = absl::StrCat(pod->spec().containers(0).ports(0).containerport());
    if (port.empty()) port = "80";
    if (!Proxyable(pod->status().podip())) co_return api::BadRequestError("address not allowed");
    co_return co_await ProxyTo(parts, call, absl::StrCat(pod->status().podip(), ":", port), target.scheme == "https");
  }
  auto service = parts.admission.Find<core::Service>("services", call.info().ns, target.name);
  if (!service) co_return api::NotFoundError({"", "services", target.name});
  // A port by its number or name, or the only one; then any ready endpoint that has it, as this machine need not reach
  // cluster addresses.
  std::string port_name = target.port;
  if (target.port.empty() && service->spec().ports_size() == 1) port_name = service->spec().ports(0).name();
  for (const auto& port : service->spec().ports())
    if (!target.port.empty() && absl::StrCat(port.port()) == target.port) port_name = port.name();
  std::vector<std::string> endpoints;
  const Kind& slices = *parts.kinds.Find("discovery.k8s.io", "v1", "endpointslices");
  parts.store.PeekPrefix(slices.Prefix(call.info().ns), [&](const std::string& key, const ValuePtr& value) {
    auto object = slices.Decode(key, *value);
    if (!object.ok()) return true;
    const auto& labels = object->meta().labels();
    if (const auto it = labels.find("kubernetes.io/service-name"); it == labels.end() || it->second != target.name)
      return true;
    const auto& slice = *object->As<discovery_api::EndpointSlice>();
    for (const auto& port : slice.ports()) {
      if (port.name() != port_name || port.port() == 0) continue;
      for (const auto& endpoint : slice.endpoints()) {
        if (endpoint.addresses_size() == 0 || (endpoint.conditions().has_ready() && !endpoint.conditions().ready()))
          continue;
        const std::string& address = endpoint.addresses(0);
        endpoints.push_back(
            absl::StrCat(address.find(':') == std::string::npos ? address : "[" + address + "]", ":", port.port()));
      }
    }
    return true;
  });
  if (!endpoints.empty()) {
    static std::minstd_rand random(std::random_device{}());
    co_return co_await ProxyTo(parts, call, endpoints[random() % endpoints.size()], target.scheme == "https");
  }
  co_return api::ServiceUnavailableError(absl::StrCat("no endpoints available for service \"", call.info().name, "\""));
}

}  // namespace

Task<Status> ServeStream(ServerParts& parts, Call& call) {
  const std::string& sub = call.info().subresource;
  if (sub == "log") co_return co_await ServeLog(parts, call);
  if (sub == "proxy") co_return co_await ServeProxy(parts, call);
  co_return co_await ServeSession(parts, call);
}

}  // namespace skiff::controlplane
