// The options of list, watch and deletecollection: selectors, resource versions, pages.
#ifndef SKIFF_CONTROLPLANE_APISERVER_LIST_OPTIONS_H_
#define SKIFF_CONTROLPLANE_APISERVER_LIST_OPTIONS_H_

#include <optional>
#include <string>

#include "api/selector.h"
#include "base/http.h"
#include "controlplane/apiserver/kinds.h"

namespace skiff::controlplane {

struct ListQuery {
  api::LabelSelector labels;
  api::FieldSelector fields;
  int64_t limit = 0;
  std::string continue_token;
  std::string resource_version, match;
  bool bookmarks = false;
  std::optional<bool> send_initial_events;
  std::optional<int64_t> timeout_seconds;
  std::string include_object;  // of Tables

  // 400 and 422 in upstream's words.
  static StatusOr<ListQuery> Parse(const http::Query& query, const Kind& kind, bool watch);

  bool selective() const { return !labels.empty() || !fields.empty(); }
  bool Matches(const Kind& kind, const api::Object& object) const;
  // The same of a stored object, which is decoded only where the selectors look at more than its identity.
  StatusOr<bool> Matches(const Kind& kind, std::string_view key, const StoredValue& value) const;
};

// Where a list goes on: the revision (-1: whatever is now) and the first key, relative to the kind's prefix.
struct ContinueToken {
  int64_t revision = 0;
  std::string start;  // "/ns/name\0"
  static StatusOr<ContinueToken> Decode(const std::string& text);
  std::string Encode() const;
};

// "123" to a number; errors as upstream's 400.
StatusOr<int64_t> ParseResourceVersion(const std::string& text);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_LIST_OPTIONS_H_
