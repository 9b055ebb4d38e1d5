#include "controlplane/controllers/raw_objects.h"

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "client/wire.h"

namespace skiff::controlplane {

std::string ObjectPath(std::string_view group, std::string_view version, std::string_view plural, bool namespaced,
                       std::string_view ns, std::string_view name) {
  std::string out = group.empty() ? absl::StrCat("/api/", version) : absl::StrCat("/apis/", group, "/", version);
  if (namespaced && !ns.empty()) absl::StrAppend(&out, "/namespaces/", http::PercentEncode(ns));
  absl::StrAppend(&out, "/", plural);
  if (!name.empty()) absl::StrAppend(&out, "/", http::PercentEncode(name));
  return out;
}

Task<StatusOr<nlohmann::json>> RequestJson(std::shared_ptr<client::Rest> rest, std::string method, std::string target,
                                           std::string content_type, std::string body) {
  client::RawRequest request;
  request.method = method;
  request.target = std::move(target);
  request.content_type = std::move(content_type);
  request.body = std::move(body);
  auto answer = co_await rest->Raw(std::move(request));
  if (!answer.ok()) co_return answer.status();
  if (answer->status < 200 || answer->status > 299) {
    co_return client::DecodeError(answer->status, answer->headers.Get("Content-Type"), answer->body, method,
                                  std::string(answer->headers.Get("Retry-After")));
  }
  auto document = api::ParseJson(answer->body);
  if (!document.ok()) co_return absl::DataLossError(document.status().message());
  co_return *std::move(document);
}

}  // namespace skiff::controlplane
