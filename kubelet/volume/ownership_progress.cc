#include "kubelet/volume/ownership_progress.h"

#include "absl/strings/str_cat.h"

namespace skiff::kubelet {
namespace {

using namespace std::chrono_literals;

constexpr char kAdvice[] =
    "consider using OnRootMismatch - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"
    "#configure-volume-permission-and-ownership-change-policy-for-pods";

}  // namespace

Task<void> TellOwnershipProgress(Clock& clock, std::shared_ptr<const OwnershipProgress> progress, std::string dir,
                                 std::string uid, std::function<void(const std::string&)> tell) {
  const size_t at = dir.find(uid);
  const std::string name = at == std::string::npos ? dir : dir.substr(at);
  while ((co_await clock.Sleep(30s)).ok()) {
    if (!progress->walking) continue;
    tell(absl::StrCat("Setting volume ownership for ", name, " is taking longer than expected, ", kAdvice));
    break;
  }
  while ((co_await clock.Sleep(1min)).ok()) {
    tell(absl::StrCat("Setting volume ownership for ", name, ", processed ", progress->files.load(), " files."));
  }
}

}  // namespace skiff::kubelet
