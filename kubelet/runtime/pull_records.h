// Which images this node's kubelet pulled, and with whose credentials: what decides whether a pod may use an image that
// is there already. Kept under ROOT/image_manager in upstream's layout and form, so that either kubelet reads the
// other's: pulling/sha256-HASH (an intent, by the image's name) and pulled/sha256-HASH (a record, by the image's id).
// Loop only; small files read and written at once. Upstream: KEP-2535.
#ifndef SKIFF_KUBELET_RUNTIME_PULL_RECORDS_H_
#define SKIFF_KUBELET_RUNTIME_PULL_RECORDS_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kubelet/runtime/keyring.h"

namespace skiff::kubelet {

enum class PullVerification {
  kNeverVerify,
  kNeverVerifyPreloadedImages,
  kNeverVerifyAllowlistedImages,
  kAlwaysVerify,
};
// kInvalidArgument for another name.
StatusOr<PullVerification> ParsePullVerification(std::string_view name);
// What is wrong with an entry of preloadedImagesVerificationAllowlist, or OK.
Status CheckAllowlistPattern(const std::string& pattern);

// What an image was pulled with.
struct PulledWith {
  bool by_any_pod = false;  // without credentials, or with the node's
  struct Holder {
    std::string uid, ns, name, hash;  // hash "" for service accounts
    auto operator<=>(const Holder&) const = default;
  };
  std::vector<Holder> secrets, service_accounts;
};

class PullRecords {
 public:
  PullRecords(std::string root_dir, PullVerification policy, std::vector<std::string> allowlist, Clock& clock);

  // Turns intents that an earlier kubelet left into records where the image is there by now. `present`: all names
  // (tags and digests) of each image id.
  void Recover(const std::map<std::string, std::set<std::string>>& present);

  Status Intend(const std::string& image);
  // Where the record cannot be written the intent stays: it says that the image was pulled, and with what nobody knows.
  void Pulled(const std::string& image, const std::string& image_ref, const PulledWith& with);
  void Failed(const std::string& image);

  enum class Verdict { kPolicyAllowed, kRecordFound, kMustAuthenticate, kError };
  // Whether a pod may use the image without pulling it again. `credentials` is asked only where they decide.
  Verdict Check(const std::string& image, const std::string& image_ref,
                const std::function<std::vector<Credential>()>& credentials);
  // Whether Check would ask for credentials: they may take a while to come by.
  bool NeedsCredentials(const std::string& image, const std::string& image_ref) const;

  // The image is gone: its record goes, unless it was written since `began`. (Without a record an image counts as one
  // that was there before the kubelet.)
  void Forget(const std::string& image_ref, WallTime began);

  // The same for all images that are not among `names`: those that somebody else removed. `began` is from before the
  // names were asked for.
  void Prune(const std::set<std::string>& names, WallTime began);

  size_t CountPulled() const { return Count(pulled_dir_); }
  size_t CountIntents() const { return Count(pulling_dir_); }

 private:
  struct Record {
    std::string image_ref;
    WallTime updated;
    std::map<std::string, PulledWith> mapping;  // by image name without tag
  };
  static StatusOr<Record> Parse(const std::string& text);
  StatusOr<std::optional<Record>> Read(const std::string& image_ref) const;
  Status Write(const Record& record) const;
  StatusOr<bool> Intended(const std::string& image) const;
  Status Merge(const std::string& image, const std::string& image_ref, const PulledWith* with);
  bool MustVerify(const std::string& image, bool pulled_by_kubelet) const;
  static size_t Count(const std::string& dir);

  std::string pulling_dir_, pulled_dir_;
  PullVerification policy_;
  std::vector<std::string> allowlist_;
  Clock& clock_;
  std::map<std::string, int> intents_;  // pulls under way
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_PULL_RECORDS_H_
