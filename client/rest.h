// Typed REST against one API server. T is an API message (k8s::io::api::core::v1::Pod); its resource comes from the
// scheme. Bodies are application/vnd.kubernetes.protobuf both ways. Loop thread only; a Rest is kept by shared_ptr and
// every call keeps it alive.
//
// Errors: what the server answered, as client/errors.h says; kUnavailable when no connection could be made (after the
// retries), kDeadlineExceeded on time-out, kCancelled when the caller was cancelled. Retried here: connection errors of
// idempotent requests (reads, and writes that carry a resourceVersion), 429 and 5xx answers that name a Retry-After (up
// to 10 times, as upstream), 429, 502, 503 and 504 of reads. Waiting is jittered and takes the rate limit into account.
//
//   CO_ASSIGN_OR_RETURN(core::Pod pod, co_await rest->Get<core::Pod>("default", "web"));
//   pod.mutable_status()->set_phase("Running");
//   auto updated = co_await rest->UpdateStatus(pod);
//   if (IsConflict(updated.status())) ...
#ifndef SKIFF_CLIENT_REST_H_
#define SKIFF_CLIENT_REST_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/message.h>

#include "base/async.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "client/errors.h"
#include "client/kubeconfig.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::client {

using google::protobuf::Message;
namespace meta = ::k8s::io::apimachinery::pkg::apis::meta::v1;

struct ListOptions {
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;        // "": most recent, "0": any
  std::string resource_version_match;  // "", "Exact", "NotOlderThan"
  int64_t limit = 0;                   // items a page; 0: all in one answer
  std::string continue_token;
};

template <typename T>
struct ObjectList {
  std::vector<std::shared_ptr<T>> items;
  std::string resource_version;
  std::string continue_token;
};

enum class PatchType { kJson, kMerge, kStrategicMerge, kApply };

struct PatchOptions {
  PatchType type = PatchType::kStrategicMerge;
  std::string subresource;    // "status", or ""
  std::string field_manager;  // required for kApply
  bool force = false;         // kApply
};

struct WriteOptions {
  std::string field_manager;
  bool dry_run = false;
};

struct WatchEvent {
  enum Type { kAdded, kModified, kDeleted, kBookmark };
  Type type = kAdded;
  std::shared_ptr<Message> object;  // of the watched type; a bookmark has only its resourceVersion
};

// One running watch.
class Watch {
 public:
  virtual ~Watch() = default;
  // The next event. An ERROR event is its Status as an error (IsGone for 410); the server's orderly end is kOutOfRange
  // without a server code; a broken connection kUnavailable; an undecodable frame kDataLoss.
  virtual Task<StatusOr<WatchEvent>> Next() = 0;
};

struct RawRequest {
  std::string method = "GET";
  std::string target;  // "/readyz?verbose"; the server's path prefix is put before it
  std::string content_type, accept = "application/json";
  std::string body;
  std::chrono::nanoseconds timeout{0};  // 0: the Config's
};

class Rest : public std::enable_shared_from_this<Rest> {
 public:
  // Errors: an unparsable server URL or unusable TLS material.
  static StatusOr<std::shared_ptr<Rest>> Make(asio::any_io_executor executor, Config config,
                                              Clock& clock = Clock::Real());
  virtual ~Rest() = default;

  // `ns` is "" for cluster-scoped resources; for lists also for all namespaces.
  template <typename T>
  Task<StatusOr<T>> Get(std::string ns, std::string name, std::string resource_version = "");
  // One page (limit 0: everything).
  template <typename T>
  Task<StatusOr<ObjectList<T>>> List(std::string ns, ListOptions options = {});
  // Namespace and name come from the object's metadata.
  template <typename T>
  Task<StatusOr<T>> Create(T object, WriteOptions options = {});
  template <typename T>
  Task<StatusOr<T>> Update(T object, WriteOptions options = {});
  template <typename T>
  Task<StatusOr<T>> UpdateStatus(T object, WriteOptions options = {});
  // `patch` is JSON text (kApply: JSON or YAML).
  template <typename T>
  Task<StatusOr<T>> Patch(std::string ns, std::string name, std::string patch, PatchOptions options = {});
  template <typename T>
  Task<Status> Delete(std::string ns, std::string name, meta::DeleteOptions options = {});
  template <typename T>
  Task<Status> DeleteCollection(std::string ns, ListOptions list = {}, meta::DeleteOptions options = {});

  // Subresources of T with bodies of other types: CreateSub<core::Pod, core::Binding, meta::Status>(ns, name,
  // "binding", b), CreateSub<core::ServiceAccount, authn::TokenRequest>(ns, name, "token", request).
  template <typename T, typename Body, typename Out = Body>
  Task<StatusOr<Out>> CreateSub(std::string ns, std::string name, std::string subresource, Body body);
  template <typename T, typename Out>
  Task<StatusOr<Out>> GetSub(std::string ns, std::string name, std::string subresource);
  template <typename T, typename Body, typename Out = Body>
  Task<StatusOr<Out>> UpdateSub(std::string ns, std::string name, std::string subresource, Body body);

  // Starts a watch from options.resource_version, with bookmarks. `prototype` is T::default_instance().
  virtual Task<StatusOr<std::unique_ptr<Watch>>> StartWatch(const Message& prototype, std::string ns,
                                                            ListOptions options, std::chrono::seconds timeout) = 0;

  // Any request, with the credentials; an HTTP error status is not an error here. Rate-limited, not retried.
  virtual Task<StatusOr<http::ClientResponse>> Raw(RawRequest request) = 0;
  virtual Task<StatusOr<std::unique_ptr<http::BodyReader>>> RawOpen(RawRequest request) = 0;

  // The untyped core, for code that works over several types (garbage collector, namespace deletion).
  struct Call {
    const Message* prototype = nullptr;  // names the resource; must live for ever (a default instance)
    std::string method, ns, name, subresource;
    std::vector<std::pair<std::string, std::string>> query;
    std::string content_type, body;  // content_type empty: no body
    bool idempotent = false;
  };
  // `out` (may be null) is filled from the answer and must outlive the call.
  virtual Task<Status> Run(Call call, Message* out) = 0;
  struct RawList {
    std::string resource_version, continue_token;
    int64_t remaining = 0;
  };
  // Calls `item` for every decoded object of the page.
  virtual Task<StatusOr<RawList>> RunList(const Message& prototype, std::string ns, ListOptions options,
                                          std::function<void(std::shared_ptr<Message>)> item) = 0;

  virtual const Config& config() const = 0;
  virtual asio::any_io_executor executor() const = 0;
  virtual Clock& clock() const = 0;

 protected:
  // Calls on objects: paths from metadata, bodies encoded.
  static StatusOr<Call> ObjectCall(std::string method, const Message& object, std::string subresource,
                                   const WriteOptions& options);
  static StatusOr<Call> SubCall(std::string method, const Message& prototype, std::string ns, std::string name,
                                std::string subresource, const Message* body);
  static Call PatchCall(const Message& prototype, std::string ns, std::string name, std::string patch,
                        const PatchOptions& options);
  static StatusOr<Call> DeleteCall(const Message& prototype, std::string ns, std::string name, const ListOptions& list,
                                   const meta::DeleteOptions& options);

 private:
  template <typename Out>
  Task<StatusOr<Out>> Finish(StatusOr<Call> call);
};

// Templates only below.

template <typename Out>
Task<StatusOr<Out>> Rest::Finish(StatusOr<Call> call) {
  auto self = shared_from_this();
  if (!call.ok()) co_return call.status();
  Out out;
  Status status = co_await self->Run(*std::move(call), &out);
  if (!status.ok()) co_return status;
  co_return std::move(out);
}

template <typename T>
Task<StatusOr<T>> Rest::Get(std::string ns, std::string name, std::string resource_version) {
  Call call{&T::default_instance(), "GET", std::move(ns), std::move(name)};
  if (!resource_version.empty()) call.query.emplace_back("resourceVersion", std::move(resource_version));
  call.idempotent = true;
  return Finish<T>(std::move(call));
}

template <typename T>
Task<StatusOr<ObjectList<T>>> Rest::List(std::string ns, ListOptions options) {
  auto self = shared_from_this();
  ObjectList<T> out;
  auto add = [&out](std::shared_ptr<Message> item) {
    out.items.push_back(std::static_pointer_cast<T>(std::move(item)));
  };
  std::function<void(std::shared_ptr<Message>)> item = add;
  auto list = co_await self->RunList(T::default_instance(), std::move(ns), std::move(options), std::move(item));
  if (!list.ok()) co_return list.status();
  out.resource_version = std::move(list->resource_version);
  out.continue_token = std::move(list->continue_token);
  co_return std::move(out);
}

template <typename T>
Task<StatusOr<T>> Rest::Create(T object, WriteOptions options) {
  return Finish<T>(ObjectCall("POST", object, "", options));
}
template <typename T>
Task<StatusOr<T>> Rest::Update(T object, WriteOptions options) {
  return Finish<T>(ObjectCall("PUT", object, "", options));
}
template <typename T>
Task<StatusOr<T>> Rest::UpdateStatus(T object, WriteOptions options) {
  return Finish<T>(ObjectCall("PUT", object, "status", options));
}
template <typename T>
Task<StatusOr<T>> Rest::Patch(std::string ns, std::string name, std::string patch, PatchOptions options) {
  return Finish<T>(PatchCall(T::default_instance(), std::move(ns), std::move(name), std::move(patch), options));
}
template <typename T>
Task<Status> Rest::Delete(std::string ns, std::string name, meta::DeleteOptions options) {
  auto self = shared_from_this();
  auto call = DeleteCall(T::default_instance(), std::move(ns), std::move(name), {}, options);
  if (!call.ok()) co_return call.status();
  co_return co_await self->Run(*std::move(call), nullptr);
}
template <typename T>
Task<Status> Rest::DeleteCollection(std::string ns, ListOptions list, meta::DeleteOptions options) {
  auto self = shared_from_this();
  auto call = DeleteCall(T::default_instance(), std::move(ns), "", list, options);
  if (!call.ok()) co_return call.status();
  co_return co_await self->Run(*std::move(call), nullptr);
}
template <typename T, typename Body, typename Out>
Task<StatusOr<Out>> Rest::CreateSub(std::string ns, std::string name, std::string subresource, Body body) {
  return Finish<Out>(
      SubCall("POST", T::default_instance(), std::move(ns), std::move(name), std::move(subresource), &body));
}
template <typename T, typename Out>
Task<StatusOr<Out>> Rest::GetSub(std::string ns, std::string name, std::string subresource) {
  return Finish<Out>(
      SubCall("GET", T::default_instance(), std::move(ns), std::move(name), std::move(subresource), nullptr));
}
template <typename T, typename Body, typename Out>
Task<StatusOr<Out>> Rest::UpdateSub(std::string ns, std::string name, std::string subresource, Body body) {
  return Finish<Out>(
      SubCall("PUT", T::default_instance(), std::move(ns), std::move(name), std::move(subresource), &body));
}

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_REST_H_
