#include "kubelet/runtime/user_namespaces.h"

#include <pwd.h>

#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/go_text.h"
#include "base/subprocess.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {
namespace {

using nlohmann::json;
constexpr uint64_t kAllIds = uint64_t{1} << 32;

json Mapping(uint32_t first, uint32_t length) {
  return json::array({{{"hostId", first}, {"containerId", 0}, {"length", length}}});
}

// The first id that a mappings file gives.
StatusOr<uint32_t> ParseMappings(const std::string& text, const IdRange& ids, uint32_t ids_per_pod) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return InvalidArgument("invalid user namespace mappings file");
  const json uids = document.value("uidMappings", json()), gids = document.value("gidMappings", json());
  auto invalid = [](std::string_view why) { return InvalidArgument("invalid user namespace configuration: ", why); };
  if (!uids.is_array() || uids.size() != 1) return invalid("no more than one mapping allowed.");
  if (uids != gids) return invalid("GID and UID mapping should be identical");
  auto number = [&](const char* key) -> int64_t {
    const auto found = uids[0].is_object() ? uids[0].find(key) : uids[0].end();
    return found != uids[0].end() && found->is_number_integer() ? found->get<int64_t>() : -1;
  };
  if (number("containerId") != 0) return invalid("UID 0 must be mapped");
  if (number("length") != ids_per_pod) return InvalidArgument("wrong user namespace length ", number("length"));
  const int64_t first = number("hostId");
  if (first % ids_per_pod != 0) return InvalidArgument("wrong user namespace offset specified ", first);
  if (first < static_cast<int64_t>(ids.first) || first >= static_cast<int64_t>(ids.first + ids.length)) {
    return InvalidArgument("id ", first, " is out of range");
  }
  return static_cast<uint32_t>(first);
}

}  // namespace

StatusOr<IdRange> ParseSubIds(std::string_view output) {
  while (output.ends_with('\n')) output.remove_suffix(1);
  const std::vector<std::string_view> words = absl::StrSplit(output, ' ', absl::SkipEmpty());
  uint32_t first = 0, length = 0;
  if (absl::StrContains(output, '\n') || words.size() != 4 || !absl::SimpleAtoi(words[2], &first) ||
      !absl::SimpleAtoi(words[3], &length)) {
    return InvalidArgument("getsubids: invalid line ", GoQuote(output));
  }
  return IdRange{first, length};
}

Status CheckIds(const IdRange& ids, uint32_t ids_per_pod, int64_t max_pods) {
  if (ids.first % ids_per_pod != 0) {
    return InvalidArgument("kubelet user assigned ID ", ids.first, " is not a multiple of ", ids_per_pod);
  }
  // Root of the host is never mapped.
  if (ids.first < ids_per_pod) {
    return InvalidArgument("kubelet user assigned ID ", ids.first, " must be greater or equal to ", ids_per_pod);
  }
  if (ids.length % ids_per_pod != 0) {
    return InvalidArgument("kubelet user assigned IDs length ", ids.length, " is not a multiple of ", ids_per_pod);
  }
  if (static_cast<int64_t>(ids.length / ids_per_pod) < max_pods) {
    return InvalidArgument("kubelet user assigned IDs are not enough to support ", max_pods, " pods");
  }
  return absl::OkStatus();
}

Task<StatusOr<IdRange>> KubeletIds(uint32_t ids_per_pod, int64_t max_pods) {
  IdRange ids{ids_per_pod, kAllIds - ids_per_pod};
  // Without the user there is nothing to ask; with it, an answer that fails may be a directory service out of reach.
  if (getpwnam("kubelet") != nullptr) {
    auto users = co_await RunCommand({.argv = {"getsubids", "kubelet"}});
    if (users.ok()) {
      CO_ASSIGN_OR_RETURN(auto groups, co_await RunCommand({.argv = {"getsubids", "-g", "kubelet"}}));
      if (users->exit_code != 0 || groups.exit_code != 0) {
        co_return absl::UnavailableError("error retrieving additional ids for user \"kubelet\"");
      }
      if (users->out != groups.out) {
        co_return FailedPrecondition("mismatched subuids and subgids for user \"kubelet\"");
      }
      CO_ASSIGN_OR_RETURN(ids, ParseSubIds(users->out));
    } else if (!absl::IsNotFound(users.status())) {
      co_return users.status();
    }
  }
  CO_RETURN_IF_ERROR(CheckIds(ids, ids_per_pod, max_pods));
  co_return ids;
}

StatusOr<uint32_t> UserNamespaceOf(const std::string& root_dir, const std::string& uid, const IdRange& ids,
                                   uint32_t ids_per_pod) {
  const std::string dir = layout::Pod(root_dir, uid), path = layout::UserNamespace(dir);
  auto own = ReadFile(path);
  if (own.ok() && !own->empty()) return ParseMappings(*own, ids, ids_per_pod);
  if (!own.ok() && ErrnoOf(own.status()) != ENOENT) return own.status();

  std::set<uint32_t> taken;
  ASSIGN_OR_RETURN(const auto pods, ListDir(layout::Pods(root_dir)));
  for (const std::string& pod : pods) {
    const auto text = ReadFile(layout::UserNamespace(layout::Pod(root_dir, pod)));
    // Empty is what a crash left of a file whose pod was told nothing yet: it makes its own anew.
    if (!text.ok() || text->empty()) continue;
    ASSIGN_OR_RETURN(const uint32_t first, ParseMappings(*text, ids, ids_per_pod), "pod ", pod);
    taken.insert(first);
  }
  // Begins where the pod's uid says, so that a range that was just given back is rarely the next one.
  const uint64_t count = ids.length / ids_per_pod, start = std::hash<std::string>()(uid) % count;
  for (uint64_t i = 0; i < count; ++i) {
    const auto first = static_cast<uint32_t>(ids.first + (start + i) % count * ids_per_pod);
    if (taken.contains(first)) continue;
    RETURN_IF_ERROR(MakeDirs(dir, 0750));
    const json document = {{"uidMappings", Mapping(first, ids_per_pod)}, {"gidMappings", Mapping(first, ids_per_pod)}};
    RETURN_IF_ERROR(WriteFileAtomic(path, document.dump(), 0644));
    return first;
  }
  return absl::ResourceExhaustedError("could not find an empty slot to allocate a user namespace");
}

::runtime::v1::UserNamespace MappedUsers(uint32_t first, uint32_t length) {
  ::runtime::v1::UserNamespace out;
  out.set_mode(::runtime::v1::POD);
  for (auto* mapping : {out.add_uids(), out.add_gids()}) {
    mapping->set_host_id(first);
    mapping->set_length(length);
  }
  return out;
}

StatusOr<bool> HandlerMapsUsers(const ::runtime::v1::StatusResponse& runtime, std::string_view handler) {
  if (runtime.runtime_handlers().empty()) return false;  // a runtime that knows nothing of them
  for (const auto& known : runtime.runtime_handlers()) {
    if (known.name() == handler) return known.features().user_namespaces();
  }
  return NotFound("the handler ", GoQuote(handler), " is not known");
}

}  // namespace skiff::kubelet
