#include "client/rest.h"

#include <errno.h>  // program_invocation_short_name

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/scheme.h"
#include "base/log.h"
#include "base/timed_wait.h"
#include "client/credentials.h"
#include "client/limited_call.h"
#include "client/object.h"
#include "client/rate_limit.h"
#include "client/request_metrics.h"
#include "client/wire.h"

namespace skiff::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxRetryAfter = 10;  // upstream's maximum for answers that name a Retry-After
constexpr int kMaxReadRetries = 3;  // for reads that failed without one
constexpr size_t kMaxFrame = 64 * 1024 * 1024;

struct Origin {
  std::string authority, prefix;
  bool tls = true;
};

StatusOr<Origin> ParseServer(const std::string& server) {
  Origin out;
  std::string_view rest = server;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    out.tls = false;
  } else {
    return InvalidArgument("server \"", server, "\": host must be a URL or a host:port pair with https:// or http://");
  }
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    out.prefix = std::string(rest.substr(slash));
    while (!out.prefix.empty() && out.prefix.back() == '/') out.prefix.pop_back();
    rest = rest.substr(0, slash);
  }
  if (rest.empty()) return InvalidArgument("server \"", server, "\": no host");
  out.authority = std::string(rest);
  const size_t colon = rest.rfind(':');
  const size_t bracket = rest.rfind(']');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  if (!has_port) absl::StrAppend(&out.authority, out.tls ? ":443" : ":80");
  return out;
}

std::string DefaultUserAgent() { return absl::StrCat(program_invocation_short_name, "/v1.36.2 (linux/amd64) skiff"); }

std::string PathOf(const api::Resource& resource, const std::string& ns, const std::string& name,
                   const std::string& subresource) {
  std::string path = resource.group.empty() ? absl::StrCat("/api/", resource.version)
                                            : absl::StrCat("/apis/", resource.group, "/", resource.version);
  if (resource.namespaced && !ns.empty()) absl::StrAppend(&path, "/namespaces/", http::PercentEncode(ns));
  absl::StrAppend(&path, "/", resource.plural);
  if (!name.empty()) absl::StrAppend(&path, "/", http::PercentEncode(name));
  if (!subresource.empty()) absl::StrAppend(&path, "/", subresource);
  return path;
}

std::string TargetOf(std::string path, const std::vector<std::pair<std::string, std::string>>& pairs) {
  http::Query query;
  for (const auto& [key, value] : pairs) query.Add(key, value);
  const std::string text = query.Encode();
  return text.empty() ? path : absl::StrCat(path, "?", text);
}

std::vector<std::pair<std::string, std::string>> ListQuery(const ListOptions& options) {
  std::vector<std::pair<std::string, std::string>> out;
  if (!options.label_selector.empty()) out.emplace_back("labelSelector", options.label_selector);
  if (!options.field_selector.empty()) out.emplace_back("fieldSelector", options.field_selector);
  if (!options.resource_version.empty()) out.emplace_back("resourceVersion", options.resource_version);
  if (!options.resource_version_match.empty()) out.emplace_back("resourceVersionMatch", options.resource_version_match);
  if (options.limit > 0) out.emplace_back("limit", absl::StrCat(options.limit));
  if (!options.continue_token.empty()) out.emplace_back("continue", options.continue_token);
  return out;
}

class WatchImpl final : public Watch {
 public:
  WatchImpl(std::unique_ptr<http::BodyReader> body, const Message& prototype)
      : body_(std::move(body)), prototype_(prototype), protobuf_(IsProtobuf(body_->headers().Get("Content-Type"))) {}

  Task<StatusOr<WatchEvent>> Next() override {
    while (true) {
      const std::string_view waiting = std::string_view(buffer_).substr(start_);
      size_t head = 0, size = 0;
      bool whole = false;
      if (protobuf_) {
        head = 4;
        if (waiting.size() >= 4) {
          for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(waiting[i]);
          if (size > kMaxFrame) co_return absl::DataLossError(absl::StrCat("a watch frame of ", size, " bytes"));
          whole = waiting.size() - 4 >= size;
        }
      } else if (const size_t newline = waiting.find('\n'); newline != std::string_view::npos) {
        size = newline + 1;
        whole = true;
      } else if (waiting.size() > kMaxFrame) {
        co_return absl::DataLossError("a watch line without end");
      }
      if (whole) {
        auto event = DecodeWatchEvent(protobuf_, waiting.substr(head, size), prototype_);
        start_ += head + size;
        co_return event;
      }
      buffer_.erase(0, start_);
      start_ = 0;
      if (buffer_.empty() && buffer_.capacity() > 64 * 1024) buffer_.shrink_to_fit();
      const size_t had = buffer_.size();
      buffer_.resize(std::max(had + 4096, protobuf_ && had >= 4 ? head + size : 0));
      auto read = co_await body_->Read(std::span(buffer_).subspan(had));
      buffer_.resize(had + (read.ok() ? *read : 0));
      if (!read.ok()) {
        if (absl::IsCancelled(read.status())) co_return read.status();
        co_return Unavailable("the watch broke off: ", read.status().message());
      }
      if (*read == 0) {
        if (had > 0) co_return Unavailable("the watch ended within an event");
        co_return absl::OutOfRangeError("the watch ended");
      }
    }
  }

 private:
  const std::unique_ptr<http::BodyReader> body_;
  const Message& prototype_;
  const bool protobuf_;
  std::string buffer_;
  size_t start_ = 0;
};

class RestImpl final : public Rest {
 public:
  RestImpl(asio::any_io_executor executor, Config config, Origin origin, std::unique_ptr<Credentials> credentials,
           Clock& clock)
      : executor_(executor),
        config_(std::move(config)),
        origin_(std::move(origin)),
        clock_(clock),
        bucket_(config_.qps, config_.burst, clock),
        credentials_(std::move(credentials)),
        client_(executor, origin_.authority, origin_.tls ? credentials_->tls() : nullptr) {
    if (config_.user_agent.empty()) config_.user_agent = DefaultUserAgent();
  }

  Task<Status> Run(Call call, Message* out) override { return RunUntil(std::nullopt, std::move(call), out); }

  // `deadline`: what would wait until then for the rate limit is refused instead.
  Task<Status> RunUntil(std::optional<SteadyTime> deadline, Call call, Message* out) {
    auto self = shared_from_this();
    auto resource = ResourceOf(*call.prototype);
    if (!resource.ok()) co_return resource.status();
    http::ClientRequest request;
    request.method = call.method;
    request.target = TargetOf(PathOf(**resource, call.ns, call.name, call.subresource), call.query);
    request.headers.Set("Accept", "application/vnd.kubernetes.protobuf,application/json");
    if (!call.content_type.empty()) request.headers.Set("Content-Type", call.content_type);
    request.body = std::move(call.body);
    auto answer = co_await Send(std::move(request), call.idempotent, true, deadline);
    if (!answer.ok()) co_return answer.status();
    if (out == nullptr) co_return absl::OkStatus();
    co_return DecodeObject(answer->headers.Get("Content-Type"), answer->body, out);
  }

  Task<StatusOr<RawList>> RunList(const Message& prototype, std::string ns, ListOptions options,
                                  std::function<void(std::shared_ptr<Message>)> item) override {
    auto self = shared_from_this();
    auto resource = ResourceOf(prototype);
    if (!resource.ok()) co_return resource.status();
    http::ClientRequest request;
    request.target = TargetOf(PathOf(**resource, ns, "", ""), ListQuery(options));
    request.headers.Set("Accept", "application/vnd.kubernetes.protobuf,application/json");
    // A list is one request to the rate limit, in however many pages it comes: upstream's clients have it in one piece.
    const bool paced = options.continue_token.empty();
    auto answer = co_await Send(std::move(request), true, paced);
    if (!answer.ok()) co_return answer.status();
    co_return DecodeList(answer->headers.Get("Content-Type"), answer->body, prototype, item);
  }

  Task<StatusOr<std::unique_ptr<Watch>>> StartWatch(const Message& prototype, std::string ns, ListOptions options,
                                                    std::chrono::seconds timeout) override {
    auto self = shared_from_this();
    auto resource = ResourceOf(prototype);
    if (!resource.ok()) co_return resource.status();
    options.limit = 0;
    auto query = ListQuery(options);
    query.emplace_back("watch", "true");
    query.emplace_back("allowWatchBookmarks", "true");
    if (timeout.count() > 0) query.emplace_back("timeoutSeconds", absl::StrCat(timeout.count()));
    http::ClientRequest request;
    request.target = origin_.prefix + TargetOf(PathOf(**resource, ns, "", ""), query);
    request.timeout = seconds(30);  // until the head; a server sends it at once
    request.headers.Set("Accept", "application/vnd.kubernetes.protobuf,application/json");
    CO_RETURN_IF_ERROR(co_await Authorize(&request.headers));
    const std::string name = NameOf(request);
    auto body = co_await client_.Open(std::move(request));
    CountRequest(origin_.authority, "GET", body.ok() ? (*body)->status() : 0);
    if (!body.ok()) co_return Annotate(body.status(), name);
    if ((*body)->status() != 200) {
      auto text = co_await (*body)->ReadAll(1 << 20);
      if ((*body)->status() == 401) credentials_->Refused();
      co_return DecodeError((*body)->status(), (*body)->headers().Get("Content-Type"), text.ok() ? *text : "", "GET",
                            std::string((*body)->headers().Get("Retry-After")));
    }
    co_return std::make_unique<WatchImpl>(*std::move(body), prototype);
  }

  Task<StatusOr<http::ClientResponse>> Raw(RawRequest raw) override {
    auto self = shared_from_this();
    auto request = co_await RawPrepared(std::move(raw));
    if (!request.ok()) co_return request.status();
    const std::string name = NameOf(*request), method = request->method;
    const size_t sent = request->body.size();
    const SteadyTime begin = clock_.Steady();
    auto answer = co_await client_.Do(*std::move(request));
    Measure(method, begin, sent, answer);
    if (!answer.ok()) co_return Annotate(answer.status(), name);
    co_return answer;
  }

  Task<StatusOr<std::unique_ptr<http::BodyReader>>> RawOpen(RawRequest raw) override {
    auto self = shared_from_this();
    auto request = co_await RawPrepared(std::move(raw));
    if (!request.ok()) co_return request.status();
    const std::string name = NameOf(*request);
    const std::string method = request->method;
    auto answer = co_await client_.Open(*std::move(request));
    CountRequest(origin_.authority, method, answer.ok() ? (*answer)->status() : 0);
    if (!answer.ok()) co_return Annotate(answer.status(), name);
    co_return answer;
  }

  const Config& config() const override { return config_; }
  asio::any_io_executor executor() const override { return executor_; }
  Clock& clock() const override { return clock_; }

 private:
  // As Go's client names a request in errors: Get "https://host/path".
  std::string NameOf(const http::ClientRequest& request) const {
    std::string method = absl::AsciiStrToLower(request.method);
    method[0] = absl::ascii_toupper(static_cast<unsigned char>(method[0]));
    return absl::StrCat(method, " \"", origin_.tls ? "https://" : "http://", origin_.authority, request.target, "\"");
  }

  Task<Status> Authorize(http::Headers* headers) {
    headers->Set("User-Agent", config_.user_agent);
    co_return co_await credentials_->Authorize(headers);
  }

  void Measure(const std::string& method, SteadyTime begin, size_t sent,
               const StatusOr<http::ClientResponse>& answer) const {
    CountRequest(origin_.authority, method, answer.ok() ? answer->status : 0);
    ObserveRequest(origin_.authority, method, clock_.Steady() - begin, sent, answer.ok() ? answer->body.size() : 0);
  }

  Task<Status> Throttle(const std::string& method, std::optional<SteadyTime> deadline = std::nullopt) {
    if (deadline && clock_.Steady() + bucket_.Wait() > *deadline) {
      co_return absl::DeadlineExceededError("client rate limiter Wait returned an error: would exceed the deadline");
    }
    const auto wait = bucket_.Reserve();
    ObserveThrottle(origin_.authority, method, wait);
    if (wait.count() == 0) co_return absl::OkStatus();
    if (wait > seconds(1)) VLOG(3, "Waited before sending request", {"delay_s", wait.count() / 1e9});
    Status slept = co_await clock_.Sleep(wait);
    if (!slept.ok()) bucket_.Cancel();
    co_return slept;
  }

  Task<StatusOr<http::ClientRequest>> RawPrepared(RawRequest raw) {
    http::ClientRequest request;
    request.method = std::move(raw.method);
    request.target = origin_.prefix + raw.target;
    request.timeout = raw.timeout.count() > 0 ? raw.timeout : config_.timeout;
    if (!raw.accept.empty()) request.headers.Set("Accept", raw.accept);
    if (!raw.content_type.empty()) request.headers.Set("Content-Type", raw.content_type);
    request.body = std::move(raw.body);
    CO_RETURN_IF_ERROR(co_await Authorize(&request.headers));
    CO_RETURN_IF_ERROR(co_await Throttle(request.method));
    co_return std::move(request);
  }

  // A successful answer, or the error that the answer stands for. `safe`: sending it twice does no harm.
  Task<StatusOr<http::ClientResponse>> Send(http::ClientRequest request, bool safe, bool paced = true,
                                            std::optional<SteadyTime> deadline = std::nullopt) {
    request.target = origin_.prefix + request.target;
    request.timeout = config_.timeout;
    const bool read = request.method == "GET";
    const std::string name = NameOf(request);
    Backoff backoff(milliseconds(200), seconds(5), 2, 0.5);
    int reads = 0;
    bool refreshed = false;
    for (int tries = 0;; ++tries) {
      CO_RETURN_IF_ERROR(co_await Authorize(&request.headers));
      if (paced || tries > 0) CO_RETURN_IF_ERROR(co_await Throttle(request.method, deadline));
      http::ClientRequest copy = request;
      const SteadyTime begin = clock_.Steady();
      auto answer = co_await client_.Do(std::move(copy));
      Measure(request.method, begin, request.body.size(), answer);
      if (tries > 0) CountRetry(origin_.authority, request.method, answer.ok() ? answer->status : 0);
      if (!answer.ok()) {
        if (!safe || !absl::IsUnavailable(answer.status()) || reads++ >= kMaxReadRetries) {
          co_return Annotate(answer.status(), name);
        }
        CO_RETURN_IF_ERROR(co_await clock_.Sleep(backoff.Next()));
        continue;
      }
      const int status = answer->status;
      if (status >= 200 && status < 300) co_return answer;
      const std::string retry_after(answer->headers.Get("Retry-After"));
      if (status == 401 && credentials_->Refused() && !refreshed) {
        refreshed = true;
        continue;
      }
      int after = 0;
      if ((status == 429 || status >= 500) && absl::SimpleAtoi(retry_after, &after) && after >= 0) {
        if (tries < kMaxRetryAfter) {
          VLOG(4, "Got a Retry-After response", {"delay_s", after}, {"attempt", tries + 1}, {"request", name});
          const auto wait = std::max<std::chrono::nanoseconds>(milliseconds(50), seconds(after));
          CO_RETURN_IF_ERROR(co_await clock_.Sleep(wait + Jitter(milliseconds(50), 1)));
          continue;
        }
      } else if (read && (status == 429 || status == 502 || status == 503 || status == 504) &&
                 reads++ < kMaxReadRetries) {
        CO_RETURN_IF_ERROR(co_await clock_.Sleep(backoff.Next()));
        continue;
      }
      co_return DecodeError(status, answer->headers.Get("Content-Type"), answer->body, request.method, retry_after);
    }
  }

  const asio::any_io_executor executor_;
  Config config_;
  const Origin origin_;
  Clock& clock_;
  TokenBucket bucket_;
  const std::unique_ptr<Credentials> credentials_;
  http::Client client_;
};

}  // namespace

StatusOr<std::shared_ptr<Rest>> Rest::Make(asio::any_io_executor executor, Config config, Clock& clock) {
  ASSIGN_OR_RETURN(Origin origin, ParseServer(config.server));
  ASSIGN_OR_RETURN(auto credentials, Credentials::Make(config, clock));
  std::shared_ptr<Rest> out = std::make_shared<RestImpl>(std::move(executor), std::move(config), std::move(origin),
                                                         std::move(credentials), clock);
  return out;
}

Task<Status> RunWithin(std::shared_ptr<Rest> rest, std::chrono::nanoseconds limit, Rest::Call call, Message* out) {
  Clock& clock = rest->clock();
  const std::string what = absl::StrCat(call.method, " with a limit");
  // One of another kind knows no line to wait in: it is only given the time.
  auto* impl = dynamic_cast<RestImpl*>(rest.get());
  Task<Status> run =
      impl == nullptr ? rest->Run(std::move(call), out) : impl->RunUntil(clock.Steady() + limit, std::move(call), out);
  co_return co_await WithTimeout(clock, limit, what, std::move(run));
}

StatusOr<Rest::Call> Rest::ObjectCall(std::string method, const Message& object, std::string subresource,
                                      const WriteOptions& options) {
  const meta::ObjectMeta& metadata = MetadataOf(object);
  Call call;
  const bool create = method == "POST";
  if (!create && metadata.name().empty()) return InvalidArgument("resource name may not be empty");
  call.prototype = object.GetReflection()->GetMessageFactory()->GetPrototype(object.GetDescriptor());
  call.ns = metadata.namespace_();
  if (!create) call.name = metadata.name();
  call.idempotent = method == "PUT" && !metadata.resourceversion().empty();
  call.method = std::move(method);
  call.subresource = std::move(subresource);
  if (!options.field_manager.empty()) call.query.emplace_back("fieldManager", options.field_manager);
  if (options.dry_run) call.query.emplace_back("dryRun", "All");
  call.content_type = std::string(api::kProtobufType);
  call.body = EncodeObject(object);
  return call;
}

StatusOr<Rest::Call> Rest::SubCall(std::string method, const Message& prototype, std::string ns, std::string name,
                                   std::string subresource, const Message* body) {
  if (name.empty()) return InvalidArgument("resource name may not be empty");
  Call call{&prototype, std::move(method), std::move(ns), std::move(name), std::move(subresource)};
  call.idempotent = call.method == "GET";
  if (body != nullptr) {
    call.content_type = std::string(api::kProtobufType);
    call.body = EncodeObject(*body);
  }
  return call;
}

StatusOr<Rest::Call> Rest::DeleteCall(const Message& prototype, std::string ns, std::string name,
                                      const ListOptions& list, const meta::DeleteOptions& options) {
  Call call{&prototype, "DELETE", std::move(ns), std::move(name)};
  call.query = ListQuery(list);
  if (options.ByteSizeLong() > 0) {
    call.content_type = std::string(api::kProtobufType);
    call.body = EncodeObject(options);
  }
  return call;
}

Rest::Call Rest::PatchCall(const Message& prototype, std::string ns, std::string name, std::string patch,
                           const PatchOptions& options) {
  Call call{&prototype, "PATCH", std::move(ns), std::move(name), options.subresource};
  switch (options.type) {
    case PatchType::kJson: call.content_type = "application/json-patch+json"; break;
    case PatchType::kMerge: call.content_type = "application/merge-patch+json"; break;
    case PatchType::kStrategicMerge: call.content_type = "application/strategic-merge-patch+json"; break;
    case PatchType::kApply: call.content_type = "application/apply-patch+yaml"; break;
  }
  if (!options.field_manager.empty()) call.query.emplace_back("fieldManager", options.field_manager);
  if (options.force) call.query.emplace_back("force", "true");
  call.body = std::move(patch);
  return call;
}

}  // namespace skiff::client
