#include "kubelet/runtime/pull_records.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/files.h"
#include "base/json_dump.h"
#include "base/log.h"
#include "base/tls.h"
#include "kubelet/state/layout.h"

namespace skiff::kubelet {
namespace {

using json = nlohmann::json;

constexpr char kVersion[] = "kubelet.config.k8s.io/v1beta1";
constexpr size_t kLongestRecord = 4 << 20;
constexpr size_t kWriteWhileMatching = 100;  // a record that long grows no further by being matched

std::string FileName(const std::string& name) { return absl::StrCat("sha256-", absl::BytesToHexString(Sha256(name))); }

bool IsRecordFile(std::string_view name) { return name.starts_with("sha256-") && !name.ends_with(".tmp"); }

// As upstream writes: beside it and renamed. A lost record costs one more authentication, so nothing waits for the
// disk.
Status WriteRecord(const std::string& dir, const std::string& name, const json& content) {
  RETURN_IF_ERROR(MakeDirs(dir, 0700));
  return WriteFileAtomic(JoinPath(dir, FileName(name)), DumpJson(content) + "\n", 0600, Durable::kNo);
}

json HolderJson(const PulledWith::Holder& h, bool with_hash) {
  json out = {{"uid", h.uid}, {"namespace", h.ns}, {"name", h.name}};
  if (with_hash) out["credentialHash"] = h.hash;
  return out;
}

std::string Text(const json& from, const char* name) {
  auto found = from.find(name);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<PulledWith::Holder> Holders(const json& from, const char* name) {
  std::vector<PulledWith::Holder> out;
  auto list = from.find(name);
  if (list == from.end() || !list->is_array()) return out;
  for (const json& item : *list) {
    if (!item.is_object()) continue;
    out.push_back({Text(item, "uid"), Text(item, "namespace"), Text(item, "name"), Text(item, "credentialHash")});
  }
  return out;
}

bool SameObject(const PulledWith::Holder& a, const PulledWith::Holder& b) {
  return a.uid == b.uid && a.ns == b.ns && a.name == b.name;
}

// Adds or updates; true if that changed anything. Kept sorted by namespace, name and uid.
bool MergeHolders(std::vector<PulledWith::Holder>* into, const std::vector<PulledWith::Holder>& from) {
  bool changed = false;
  for (const auto& holder : from) {
    auto same = std::find_if(into->begin(), into->end(), [&](const auto& h) { return SameObject(h, holder); });
    if (same == into->end()) {
      into->push_back(holder);
      changed = true;
    } else if (same->hash != holder.hash) {
      same->hash = holder.hash;
      changed = true;
    }
  }
  std::sort(into->begin(), into->end(),
            [](const auto& a, const auto& b) { return std::tie(a.ns, a.name, a.uid) < std::tie(b.ns, b.name, b.uid); });
  return changed;
}

}  // namespace

StatusOr<PullVerification> ParsePullVerification(std::string_view name) {
  if (name.empty() || name == "NeverVerifyPreloadedImages") return PullVerification::kNeverVerifyPreloadedImages;
  if (name == "NeverVerify") return PullVerification::kNeverVerify;
  if (name == "NeverVerifyAllowlistedImages") return PullVerification::kNeverVerifyAllowlistedImages;
  if (name == "AlwaysVerify") return PullVerification::kAlwaysVerify;
  return InvalidArgument("unknown image pull credential verification policy: ", name);
}

Status CheckAllowlistPattern(const std::string& pattern) {
  std::string_view trimmed = pattern;
  if (absl::StripAsciiWhitespace(pattern) != pattern) {
    return InvalidArgument("leading/trailing spaces are not allowed: ", pattern);
  }
  const bool wildcard = trimmed.ends_with("/*");
  if (wildcard) trimmed.remove_suffix(1);
  if (trimmed.empty()) return InvalidArgument("the supplied pattern is too short: ", pattern);
  if (trimmed.find('*') != std::string_view::npos) {
    return InvalidArgument("not a valid wildcard pattern, only patterns ending with '/*' are allowed: ", pattern);
  }
  if (wildcard) {
    return trimmed.size() > 1 ? absl::OkStatus() : InvalidArgument("at least registry hostname is required");
  }
  if (WithoutTag(trimmed) != trimmed) {
    return InvalidArgument("neither tag nor digest is accepted in an image reference: ", pattern);
  }
  return absl::OkStatus();
}

PullRecords::PullRecords(std::string root_dir, PullVerification policy, std::vector<std::string> allowlist,
                         Clock& clock)
    : pulling_dir_(layout::ImagesPulling(root_dir)),
      pulled_dir_(layout::ImagesPulled(root_dir)),
      policy_(policy),
      allowlist_(std::move(allowlist)),
      clock_(clock) {
  for (const std::string& dir : {pulling_dir_, pulled_dir_}) {
    if (Status s = MakeDirs(dir, 0700); !s.ok()) LOG_ERROR(s, "Cannot make the directory of image records");
  }
}

size_t PullRecords::Count(const std::string& dir) {
  auto names = ListDir(dir);
  return names.ok() ? static_cast<size_t>(std::count_if(names->begin(), names->end(), IsRecordFile)) : 0;
}

StatusOr<PullRecords::Record> PullRecords::Parse(const std::string& text) {
  ASSIGN_OR_RETURN(const json parsed, api::ParseJson(text), "image record");
  if (!parsed.is_object() || Text(parsed, "kind") != "ImagePulledRecord") {
    return InvalidArgument("the file is no ImagePulledRecord");
  }
  Record record;
  record.image_ref = Text(parsed, "imageRef");
  if (auto updated = api::ParseWallTime(Text(parsed, "lastUpdatedTime")); updated.ok()) record.updated = *updated;
  if (auto mapping = parsed.find("credentialMapping"); mapping != parsed.end() && mapping->is_object()) {
    for (const auto& [image, with] : mapping->items()) {
      if (!with.is_object()) continue;
      PulledWith& to = record.mapping[image];
      if (auto any = with.find("nodePodsAccessible"); any != with.end() && any->is_boolean()) to.by_any_pod = *any;
      to.secrets = Holders(with, "kubernetesSecrets");
      to.service_accounts = Holders(with, "kubernetesServiceAccounts");
    }
  }
  return record;
}

StatusOr<std::optional<PullRecords::Record>> PullRecords::Read(const std::string& image_ref) const {
  auto text = ReadFile(JoinPath(pulled_dir_, FileName(image_ref)), kLongestRecord);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(Record record, Parse(*text));
  if (record.image_ref != image_ref) return std::nullopt;
  return record;
}

Status PullRecords::Write(const Record& record) const {
  json out = {{"kind", "ImagePulledRecord"},
              {"apiVersion", kVersion},
              {"lastUpdatedTime", api::FormatTime(record.updated)},
              {"imageRef", record.image_ref}};
  for (const auto& [image, with] : record.mapping) {
    json entry = json::object();
    for (const auto& h : with.secrets) entry["kubernetesSecrets"].push_back(HolderJson(h, true));
    for (const auto& h : with.service_accounts) entry["kubernetesServiceAccounts"].push_back(HolderJson(h, false));
    if (with.by_any_pod) entry["nodePodsAccessible"] = true;
    out["credentialMapping"][image] = std::move(entry);
  }
  return WriteRecord(pulled_dir_, record.image_ref, out);
}

void PullRecords::Recover(const std::map<std::string, std::set<std::string>>& present) {
  auto names = ListDir(pulling_dir_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!IsRecordFile(name)) continue;
    auto text = ReadFile(JoinPath(pulling_dir_, name), kLongestRecord);
    if (!text.ok()) continue;
    auto parsed = api::ParseJson(*text);
    if (!parsed.ok() || !parsed->is_object()) continue;
    const std::string image = Text(*parsed, "image");
    for (const auto& [image_ref, all_names] : present) {
      if (!all_names.contains(image)) continue;
      // Whoever asks for it next must show credentials.
      if (Status s = Merge(image, image_ref, nullptr); !s.ok()) {
        LOG_ERROR(s, "failed to write an image pull record", {"imageRef", image_ref});
        continue;
      }
      Failed(image);
    }
  }
}

Status PullRecords::Intend(const std::string& image) {
  RETURN_IF_ERROR(
      WriteRecord(pulling_dir_, image, {{"kind", "ImagePullIntent"}, {"apiVersion", kVersion}, {"image", image}}),
      "failed to record image pull intent");
  ++intents_[image];
  return absl::OkStatus();
}

void PullRecords::Failed(const std::string& image) {
  auto found = intents_.find(image);
  if (found != intents_.end() && --found->second > 0) return;
  if (found != intents_.end()) intents_.erase(found);
  const std::string path = JoinPath(pulling_dir_, FileName(image));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    LOG_ERROR(ErrnoStatus(errno, path), "failed to remove image pull intent", {"image", image});
  }
}

Status PullRecords::Merge(const std::string& image, const std::string& image_ref, const PulledWith* with) {
  const std::string name = WithoutTag(image);
  auto read = Read(image_ref);
  if (!read.ok()) LOG_INFO("failed to retrieve an ImagePulledRecord", {"image", image}, {"err", read.status()});
  Record record;
  bool changed = false;
  if (read.ok() && *read) {
    record = **std::move(read);
    const bool any = with != nullptr && (with->by_any_pod || !with->secrets.empty() || !with->service_accounts.empty());
    if (any) {
      auto [entry, added] = record.mapping.try_emplace(name, *with);
      changed = added;
      if (!added && !entry->second.by_any_pod) {
        if (with->by_any_pod) {
          entry->second = PulledWith{true, {}, {}};
          changed = true;
        } else if (!with->secrets.empty()) {
          changed = MergeHolders(&entry->second.secrets, with->secrets);
        } else {
          changed = MergeHolders(&entry->second.service_accounts, with->service_accounts);
        }
      }
    }
  } else {
    record.image_ref = image_ref;
    if (with != nullptr) record.mapping[name] = *with;
    changed = true;
  }
  if (!changed) return absl::OkStatus();
  record.updated = clock_.Now();
  return Write(record);
}

void PullRecords::Pulled(const std::string& image, const std::string& image_ref, const PulledWith& with) {
  if (Status s = Merge(image, image_ref, &with); !s.ok()) {
    LOG_ERROR(s, "failed to write image pulled record", {"imageRef", image_ref});
    return;
  }
  Failed(image);  // the intent is fulfilled
}

StatusOr<bool> PullRecords::Intended(const std::string& image) const {
  if (intents_.contains(image)) return true;
  auto text = ReadFile(JoinPath(pulling_dir_, FileName(image)), kLongestRecord);
  if (ErrnoOf(text.status()) == ENOENT) return false;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const json parsed, api::ParseJson(*text), "image pull intent");
  if (!parsed.is_object() || Text(parsed, "kind") != "ImagePullIntent") {
    return InvalidArgument("the file is no ImagePullIntent");
  }
  return Text(parsed, "image") == image;
}

bool PullRecords::MustVerify(const std::string& image, bool pulled_by_kubelet) const {
  switch (policy_) {
    case PullVerification::kNeverVerify: return false;
    case PullVerification::kNeverVerifyPreloadedImages: return pulled_by_kubelet;
    case PullVerification::kAlwaysVerify: return true;
    case PullVerification::kNeverVerifyAllowlistedImages: break;
  }
  const std::string name = WithoutTag(image);
  for (const std::string& pattern : allowlist_) {
    if (pattern.ends_with("/*") ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern)
      return false;
  }
  return true;
}

bool PullRecords::NeedsCredentials(const std::string& image, const std::string& image_ref) const {
  auto record = Read(image_ref);
  if (!record.ok() || !*record || !MustVerify(image, true)) return false;
  const auto with = (*record)->mapping.find(WithoutTag(image));
  return with != (*record)->mapping.end() && !with->second.by_any_pod &&
         !(with->second.secrets.empty() && with->second.service_accounts.empty());
}

PullRecords::Verdict PullRecords::Check(const std::string& image, const std::string& image_ref,
                                        const std::function<std::vector<Credential>()>& credentials) {
  auto record = Read(image_ref);
  if (!record.ok()) {
    LOG_ERROR(record.status(), "Unable to access cache records about image pulls");
    return Verdict::kError;
  }
  StatusOr<bool> by_kubelet = true;
  if (!record->has_value()) by_kubelet = Intended(image);
  if (!by_kubelet.ok()) {
    LOG_ERROR(by_kubelet.status(), "Unable to access cache records about image pulls");
    return Verdict::kError;
  }
  if (!MustVerify(image, *by_kubelet)) return Verdict::kPolicyAllowed;
  if (!*record) return Verdict::kMustAuthenticate;
  const auto found = (*record)->mapping.find(WithoutTag(image));
  if (found == (*record)->mapping.end()) return Verdict::kMustAuthenticate;
  const PulledWith& with = found->second;
  if (with.by_any_pod) return Verdict::kRecordFound;
  if (with.secrets.empty() && with.service_accounts.empty()) return Verdict::kMustAuthenticate;
  const PulledWith::Holder* account = nullptr;
  const std::vector<Credential> mine = credentials();
  std::vector<PulledWith::Holder> accounts;
  for (const Credential& c : mine) {
    if (c.source.kind == CredentialSource::kServiceAccount)
      accounts.push_back({c.source.uid, c.source.ns, c.source.name, ""});
    if (c.source.kind != CredentialSource::kSecret) continue;
    const PulledWith::Holder holder{c.source.uid, c.source.ns, c.source.name, c.hash};
    for (const auto& known : with.secrets) {
      const bool same_content = !known.hash.empty() && known.hash == holder.hash, same = SameObject(known, holder);
      if (!same_content && !same) continue;
      // The same secret with new content, or another with the same: both are good from now on.
      if (same_content != same && with.secrets.size() < kWriteWhileMatching) {
        PulledWith more;
        more.secrets = {holder};
        if (Status s = Merge(image, image_ref, &more); !s.ok()) {
          LOG_ERROR(s, "failed to write an image pulled record", {"imageRef", image_ref});
        }
      } else if (!same_content) {
        continue;
      }
      return Verdict::kRecordFound;
    }
  }
  // A pod has one service account, whatever the audiences.
  if (!accounts.empty()) account = &accounts.front();
  if (account != nullptr) {
    for (const auto& known : with.service_accounts) {
      if (SameObject(known, *account)) return Verdict::kRecordFound;
    }
  }
  return Verdict::kMustAuthenticate;
}

void PullRecords::Forget(const std::string& image_ref, WallTime began) {
  auto record = Read(image_ref);
  if (!record.ok() || !*record) return;
  // Records tell whole seconds.
  if ((*record)->updated >= std::chrono::floor<std::chrono::seconds>(began)) return;
  unlink(JoinPath(pulled_dir_, FileName(image_ref)).c_str());
}

void PullRecords::Prune(const std::set<std::string>& names, WallTime began) {
  auto files = ListDir(pulled_dir_);
  if (!files.ok()) return;
  for (const std::string& file : *files) {
    if (!IsRecordFile(file)) continue;
    const std::string path = JoinPath(pulled_dir_, file);
    auto text = ReadFile(path, kLongestRecord);
    if (!text.ok()) continue;
    auto record = Parse(*text);
    // One that cannot be read keeps its image from whoever shows no credentials.
    if (!record.ok() || names.contains(record->image_ref)) continue;
    if (record->updated >= std::chrono::floor<std::chrono::seconds>(began)) continue;
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      LOG_ERROR(ErrnoStatus(errno, path), "failed to remove an ImagePulledRecord", {"imageRef", record->image_ref});
    }
  }
}

}  // namespace skiff::kubelet
