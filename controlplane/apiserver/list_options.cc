#include "controlplane/apiserver/list_options.h"

#include <map>

#include "absl/strings/numbers.h"
#include "api/codec.h"
#include "api/errors.h"
#include "api/field_errors.h"
#include "api/json_number.h"
#include "base/tls.h"
#include "controlplane/apiserver/stored_bytes.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

StatusOr<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value))
    return api::BadRequestError(absl::StrCat("strconv.ParseInt: parsing \"", std::string(text), "\": invalid syntax"));
  return value;
}

bool IsTrue(std::string_view text) {
  return text.empty() || text == "true" || text == "1" || text == "t" || text == "T" || text == "TRUE" ||
         text == "True";
}

// What a field selector asks of a stored object, read from its bytes; nothing where only the whole object tells.
std::optional<std::string> StoredText(const Kind& kind, const StoredValue& value, const StoredIdentity& identity,
                                      std::string_view field) {
  if (field == "metadata.name") return std::string(identity.name);
  if (field == "metadata.namespace") return std::string(identity.ns);
  // Each kubelet watches by it: a change of a pod must not be decoded for every one of them.
  if (field == "spec.nodeName" && kind.resource->plural == "pods" && kind.resource->group.empty()) {
    if (const auto node = StoredField(value, {core::Pod::kSpecFieldNumber, core::PodSpec::kNodeNameFieldNumber}))
      return std::string(*node);
  }
  return std::nullopt;
}

}  // namespace

StatusOr<int64_t> ParseResourceVersion(const std::string& text) {
  uint64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value > INT64_MAX)
    return api::InvalidError(
        "meta.k8s.io", "ListOptions", "",
        {{"FieldValueInvalid",
          absl::StrCat("Invalid value: \"", text, "\": strconv.ParseUint: parsing \"", text, "\": invalid syntax"),
          "resourceVersion"}});
  return static_cast<int64_t>(value);
}

StatusOr<ListQuery> ListQuery::Parse(const http::Query& query, const Kind& kind, bool watch) {
  ListQuery out;
  auto labels = api::LabelSelector::Parse(query.Get("labelSelector"));
  if (!labels.ok()) return api::BadRequestError(std::string(labels.status().message()));
  out.labels = *std::move(labels);
  auto fields = api::FieldSelector::Parse(query.Get("fieldSelector"));
  if (!fields.ok()) return api::BadRequestError(std::string(fields.status().message()));
  out.fields = *std::move(fields);
  for (const auto& term : out.fields.terms()) RETURN_IF_ERROR(kind.strategy->CheckField(*kind.resource, term.field));
  if (query.Has("limit") && !query.Get("limit").empty()) {
    ASSIGN_OR_RETURN(out.limit, ParseInt(query.Get("limit")));
  }
  if (query.Has("timeoutSeconds") && !query.Get("timeoutSeconds").empty()) {
    ASSIGN_OR_RETURN(out.timeout_seconds, ParseInt(query.Get("timeoutSeconds")));
  }
  out.continue_token = std::string(query.Get("continue"));
  out.resource_version = std::string(query.Get("resourceVersion"));
  out.match = std::string(query.Get("resourceVersionMatch"));
  out.bookmarks = query.Has("allowWatchBookmarks") && IsTrue(query.Get("allowWatchBookmarks"));
  if (query.Has("sendInitialEvents")) out.send_initial_events = IsTrue(query.Get("sendInitialEvents"));
  out.include_object = std::string(query.Get("includeObject"));

  api::FieldErrors errors;
  const api::Path match_path("resourceVersionMatch"), initial_path("sendInitialEvents");
  if (watch) {
    if (out.send_initial_events) {
      if (out.match.empty())
        errors.Forbidden(match_path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
      else if (out.match != "NotOlderThan")
        errors.NotSupported(match_path, out.match, {"NotOlderThan"});
    } else if (!out.match.empty()) {
      errors.Forbidden(match_path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
  } else {
    if (!out.match.empty()) {
      if (out.resource_version.empty())
        errors.Forbidden(match_path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
      if (!out.continue_token.empty())
        errors.Forbidden(match_path, "resourceVersionMatch is forbidden when continue is provided");
      if (out.match != "Exact" && out.match != "NotOlderThan")
        errors.NotSupported(match_path, out.match, {"Exact", "NotOlderThan", ""});
      if (out.match == "Exact" && out.resource_version == "0")
        errors.Forbidden(match_path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (out.send_initial_events) errors.Forbidden(initial_path, "sendInitialEvents is forbidden for list");
  }
  RETURN_IF_ERROR(errors.ToStatus("meta.k8s.io", "ListOptions", ""));
  return out;
}

bool ListQuery::Matches(const Kind& kind, const api::Object& object) const {
  if (!labels.empty() && !labels.Matches(object.meta().labels())) return false;
  if (fields.empty()) return true;
  return fields.Matches([&](std::string_view field) { return kind.strategy->FieldValue(object, field).value_or(""); });
}

StatusOr<bool> ListQuery::Matches(const Kind& kind, std::string_view key, const StoredValue& value) const {
  if (!selective()) return true;
  const auto identity = kind.custom ? std::nullopt : StoredIdentity::Read(value);
  if (identity) {
    if (!labels.empty() && !labels.Matches(identity->labels)) return false;
    std::map<std::string, std::string, std::less<>> texts;
    bool all = true;
    for (const auto& term : fields.terms()) {
      auto text = StoredText(kind, value, *identity, term.field);
      if (!text) {
        all = false;
        break;
      }
      texts[term.field] = *std::move(text);
    }
    if (all) return fields.Matches([&](std::string_view field) { return texts.find(field)->second; });
  }
  ASSIGN_OR_RETURN(api::Object object, kind.Decode(key, value));
  return Matches(kind, object);
}

StatusOr<ContinueToken> ContinueToken::Decode(const std::string& text) {
  auto bad = [](std::string_view why) {
    return api::BadRequestError(absl::StrCat("invalid continue token: continue key is not valid: ", std::string(why)));
  };
  auto decoded = Base64UrlDecode(text);
  if (!decoded.ok()) return bad(std::string(decoded.status().message()));
  auto document = api::ParseJson(*decoded);
  if (!document.ok()) return bad(std::string(document.status().message()));
  auto field = [&](const char* name) { return document->is_object() && document->contains(name); };
  if (!field("v") || (*document)["v"] != "meta.k8s.io/v1")
    return api::BadRequestError(absl::StrCat(
        "invalid continue token: continue key is not valid: server does not recognize this encoded version"));
  ContinueToken out;
  if (!field("rv") || !(*document)["rv"].is_number() || (*document)["rv"] == 0)
    return bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  out.revision = api::IntegerOf((*document)["rv"]);
  if (!field("start") || !(*document)["start"].is_string() || (*document)["start"] == "")
    return bad("encoded start key empty (version meta.k8s.io/v1)");
  out.start = (*document)["start"].get<std::string>();
  // Nothing outside the prefix.
  if (out.start.find("..") != std::string::npos || out.start.find("//") != std::string::npos) return bad(out.start);
  return out;
}

std::string ContinueToken::Encode() const {
  std::string text = absl::StrCat("{\"v\":\"meta.k8s.io/v1\",\"rv\":", revision, ",\"start\":");
  api::AppendJsonString(start, &text);
  text += "}";
  return Base64UrlEncode(text);
}

}  // namespace skiff::controlplane
