// The kernel programs of the proxy: loaded, attached, pinned, removed. What is pinned below `dir`:
//
//   maps-vN/NAME     the maps (bpf/layout.h); N is SKIFF_LAYOUT_VERSION
//   links/NAME       one link a program
//
// The links hold the programs, so the data path goes on without this process. Starting again replaces the programs one
// by one, each atomically, and keeps the maps; maps of another version are removed once this program's own are in use.
// Blocking; used at start.
#ifndef SKIFF_PROXY_DATA_PATH_H_
#define SKIFF_PROXY_DATA_PATH_H_

#include <memory>
#include <string>

#include "proxy/kernel_bpf_maps.h"

namespace skiff::proxy {

struct DataPathOptions {
  std::string dir = "/sys/fs/bpf/kube-proxy";  // on a bpffs; one is mounted if need be
  std::string cgroup;                          // sockets of processes below this cgroup v2 directory; "": its root
};

// Where the maps of this layout's version are below `dir`.
std::string MapsDirOf(const std::string& dir);

class DataPath {
 public:
  // Makes or opens the maps and loads the programs; what runs already is not touched. An error holds the verifier's
  // log.
  static StatusOr<std::unique_ptr<DataPath>> Load(DataPathOptions options);
  ~DataPath();

  KernelBpfMaps& maps() { return *maps_; }
  // What the programs go by beside services (PathSettings); the network namespace is kept. Takes effect at once, for
  // new connections.
  Status Configure(skiff_settings settings);
  // Attaches the programs, or replaces those that are attached. Called when the maps hold the services, so that a new
  // layout of the maps takes over without a gap. Once only.
  Status Attach();
  // Where the iterator over stale UDP sockets is pinned; "" where the kernel cannot (the log has said why).
  const std::string& stale_udp_pin() const { return stale_udp_pin_; }
  std::string maps_dir() const;  // for PacketPath::Load
  const std::string& cgroup() const { return options_.cgroup; }

 private:
  struct Objects;
  explicit DataPath(DataPathOptions options);
  void LoadIterator();
  Status RemoveOtherVersions();

  DataPathOptions options_;
  Fd cgroup_fd_;
  std::unique_ptr<Objects> objects_;
  std::unique_ptr<KernelBpfMaps> maps_;
  std::string stale_udp_pin_;
};

// Removes programs (also those on network devices), maps and directories. OK when there is nothing.
Status RemoveDataPath(const DataPathOptions& options);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_DATA_PATH_H_
