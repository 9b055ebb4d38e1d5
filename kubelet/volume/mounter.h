// Mount operations behind a door: a real form on mount(2), and a fake that remembers. Blocking and thread-safe: called
// from RunBlocking. Errors carry the errno.
#ifndef SKIFF_KUBELET_VOLUME_MOUNTER_H_
#define SKIFF_KUBELET_VOLUME_MOUNTER_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"

namespace skiff::kubelet {

class Mounter {
 public:
  virtual ~Mounter() = default;
  // `options` as mount(8) takes them ("size=1048576,noswap").
  virtual Status MountTmpfs(const std::string& target, const std::string& options) = 0;
  // `options` "pagesize=2Mi".
  virtual Status MountHugetlbfs(const std::string& target, const std::string& options) = 0;
  // Bind-mounts what the descriptor `source_fd` refers to (through /proc/self/fd: no path is walked) onto `target`.
  virtual Status BindFd(int source_fd, const std::string& target) = 0;
  // Gives the mount at `target` options of its own ("noexec"); those that nobody names stay as they are.
  virtual Status SetOptions(const std::string& target, const std::vector<std::string>& options) = 0;
  virtual Status Unmount(const std::string& target) = 0;  // lazily; not mounted is no error
  virtual StatusOr<bool> IsMountPoint(const std::string& path) = 0;
  // Mount points strictly below `path`, deepest first.
  virtual StatusOr<std::vector<std::string>> MountsBelow(const std::string& path) = 0;
  // What is mounted below `path` from now on can reach containers that ask for it (mountPropagation): where the mount
  // is private (no systemd made "/" shared), the directory is mounted onto itself and shared, as upstream's kubelet
  // does. kFailedPrecondition where something is mounted below already: it would be hidden, and could not be unmounted.
  virtual Status MakeShared(const std::string& path) = 0;
  virtual bool TmpfsNoswap() = 0;  // probed once: the kernel's tmpfs takes "noswap"
};

std::unique_ptr<Mounter> NewMounter();

// Remembers target -> what is mounted; a "bind" shows the source's path, and the options it was given. For tests.
class FakeMounter final : public Mounter {
 public:
  Status MountTmpfs(const std::string& target, const std::string& options) override;
  Status MountHugetlbfs(const std::string& target, const std::string& options) override;
  Status BindFd(int source_fd, const std::string& target) override;
  Status SetOptions(const std::string& target, const std::vector<std::string>& options) override;
  Status Unmount(const std::string& target) override;
  StatusOr<bool> IsMountPoint(const std::string& path) override;
  StatusOr<std::vector<std::string>> MountsBelow(const std::string& path) override;
  Status MakeShared(const std::string&) override { return absl::OkStatus(); }
  bool TmpfsNoswap() override { return true; }

  std::map<std::string, std::string> mounts() const;
  void FailNext(Status status);  // the next mount call fails so

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> mounts_;
  Status fail_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_MOUNTER_H_
