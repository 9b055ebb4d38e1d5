#include "controlplane/apiserver/negotiation.h"

#include <algorithm>

#include "api/codec.h"
#include "api/errors.h"

namespace skiff::controlplane {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool WantsPretty(const http::Headers& headers, const http::Query& query) {
  if (query.Has("pretty")) {
    const std::string_view value = query.Get("pretty");
    return value.empty() || value == "1" || value == "true" || value == "t" || value == "T" || value == "True" ||
           value == "TRUE";
  }
  // People's tools get text that people read.
  const std::string_view agent = headers.Get("User-Agent");
  return agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
}

}  // namespace

std::string_view Output::media_type() const {
  return format == Format::kProtobuf ? api::kProtobufType : format == Format::kYaml ? api::kYamlType : api::kJsonType;
}

std::string_view AcceptClause::Get(std::string_view key) const {
  for (const auto& [name, value] : parameters)
    if (name == key) return value;
  return "";
}

std::vector<AcceptClause> ParseAccept(std::string_view header) {
  std::vector<AcceptClause> clauses;
  while (!header.empty()) {
    const size_t comma = header.find(',');
    std::string_view part = header.substr(0, comma);
    header = comma == std::string_view::npos ? std::string_view() : header.substr(comma + 1);
    AcceptClause clause;
    bool first = true;
    while (!part.empty()) {
      const size_t semicolon = part.find(';');
      const std::string_view field = Trim(part.substr(0, semicolon));
      part = semicolon == std::string_view::npos ? std::string_view() : part.substr(semicolon + 1);
      if (first) {
        clause.type = std::string(field);
        first = false;
        continue;
      }
      const size_t equals = field.find('=');
      const std::string_view key = Trim(field.substr(0, equals));
      const std::string_view value =
          equals == std::string_view::npos ? std::string_view() : Trim(field.substr(equals + 1));
      if (key == "q")
        clause.quality = atof(std::string(value).c_str());
      else
        clause.parameters.emplace_back(key, value);
    }
    if (!clause.type.empty()) clauses.push_back(std::move(clause));
  }
  std::stable_sort(clauses.begin(), clauses.end(),
                   [](const AcceptClause& a, const AcceptClause& b) { return a.quality > b.quality; });
  return clauses;
}

StatusOr<Output> Negotiate(const http::Headers& headers, const http::Query& query, bool watch, bool convertible,
                           bool protobuf_objects) {
  Output out;
  std::string accept;
  for (std::string_view value : headers.All("Accept"))
    absl::StrAppend(&accept, accept.empty() ? "" : ",", std::string(value));
  if (accept.empty()) accept = "*/*";
  out.pretty = WantsPretty(headers, query) && !watch;
  bool known_type = false;
  for (const AcceptClause& clause : ParseAccept(accept)) {
    if (clause.type == "application/json" || clause.type == "*/*" || clause.type == "application/*") {
      out.format = Format::kJson;
    } else if (clause.type == "application/vnd.kubernetes.protobuf") {
      out.format = Format::kProtobuf;
    } else if (clause.type == "application/yaml" && !watch) {
      out.format = Format::kYaml;
    } else {
      continue;
    }
    known_type = true;
    const std::string_view as = clause.Get("as");
    if (as.empty() && out.format == Format::kProtobuf && !protobuf_objects) continue;
    if (as.empty()) return out;
    if (!convertible || clause.Get("g") != "meta.k8s.io") continue;
    const std::string_view version = clause.Get("v");
    if (version != "v1" && version != "v1beta1") continue;
    out.meta_version = std::string(version);
    if (as == "Table") {
      if (out.format == Format::kProtobuf) continue;
      out.as = As::kTable;
    } else if (as == "PartialObjectMetadata") {
      out.as = As::kPartial;
    } else if (as == "PartialObjectMetadataList") {
      out.as = As::kPartialList;
    } else {
      continue;
    }
    return out;
  }
  if (watch)
    return api::NotAcceptableError(
        "only the following media types are accepted: application/json;stream=watch, "
        "application/vnd.kubernetes.protobuf;stream=watch");
  if (known_type)
    return api::NotAcceptableError(
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf");
  return WithDetails(
      api::NotAcceptableError("406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                              "application/vnd.kubernetes.protobuf"));
}

Status WithDetails(const Status& status) {
  api::StatusMessage message = api::ToStatusMessage(status);
  message.mutable_details();
  return api::FromStatusMessage(std::move(message));
}

}  // namespace skiff::controlplane
