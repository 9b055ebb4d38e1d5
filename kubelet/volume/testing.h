// Helpers for tests of volumes: temporary directories, objects at hand, a private mount namespace.
#ifndef SKIFF_KUBELET_VOLUME_TESTING_H_
#define SKIFF_KUBELET_VOLUME_TESTING_H_

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "base/files.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "/skiff-XXXXXX";
    path_ = mkdtemp(pattern.data());
    // Mount tables show resolved paths.
    char* real = realpath(path_.c_str(), nullptr);
    path_ = real;
    free(real);
  }
  ~TempDir() { RemoveAll(path_).IgnoreError(); }
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return JoinPath(path_, name); }

 private:
  std::string path_;
};

class FakeObjects final : public ObjectSource {
 public:
  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string ns, std::string name) override {
    ++reads;
    if (!offline.ok()) co_return offline;
    auto found = config_maps.find(name);
    if (found == config_maps.end()) co_return absl::NotFoundError(absl::StrCat("configmap \"", name, "\" not found"));
    co_return std::make_shared<const ConfigMap>(found->second);
  }
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string ns, std::string name) override {
    ++reads;
    if (!offline.ok()) co_return offline;
    auto found = secrets.find(name);
    if (found == secrets.end()) co_return absl::NotFoundError(absl::StrCat("secret \"", name, "\" not found"));
    co_return std::make_shared<const Secret>(found->second);
  }
  Task<StatusOr<Token>> GetToken(TokenRequest request) override {
    tokens.push_back(request);
    if (!offline.ok()) co_return offline;
    Token token;
    token.token = absl::StrCat("token-for-", request.audience, "-", tokens.size());
    co_return token;
  }
  Task<StatusOr<std::shared_ptr<const PersistentVolumeClaim>>> GetClaim(std::string ns, std::string name) override {
    auto found = claims.find(name);
    if (found == claims.end()) co_return NotFound("persistentvolumeclaims \"", name, "\" not found");
    co_return std::make_shared<const PersistentVolumeClaim>(found->second);
  }
  Task<StatusOr<std::shared_ptr<const PersistentVolume>>> GetVolume(std::string name) override {
    auto found = volumes.find(name);
    if (found == volumes.end()) co_return NotFound("persistentvolumes \"", name, "\" not found");
    co_return std::make_shared<const PersistentVolume>(found->second);
  }
  void RegisterPod(const Pod& pod) override { registered[pod.metadata().uid()]++; }
  void UnregisterPod(const std::string& uid) override { registered.erase(uid); }

  std::map<std::string, ConfigMap> config_maps;
  std::map<std::string, Secret> secrets;
  std::map<std::string, PersistentVolumeClaim> claims;
  std::map<std::string, PersistentVolume> volumes;
  std::vector<TokenRequest> tokens;
  std::map<std::string, int> registered;
  Status offline;
  int reads = 0;
};

inline bool IsRoot() { return geteuid() == 0; }

// Runs `body` on a thread with a mount namespace of its own. False when the host does not allow one.
inline bool InMountNamespace(const std::function<void()>& body) {
  bool allowed = false;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNS) != 0) return;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
    allowed = true;
    body();
  });
  thread.join();
  return allowed;
}

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_TESTING_H_
