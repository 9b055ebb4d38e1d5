// Keeps the packet programs loaded and on the right devices, and the data path's settings as the configuration, the
// node and the cluster's service ranges have them. Loop thread only.
#ifndef SKIFF_PROXY_PACKET_PATH_MANAGER_H_
#define SKIFF_PROXY_PACKET_PATH_MANAGER_H_

#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "proxy/config.h"
#include "proxy/data_path.h"
#include "proxy/packet_path.h"
#include "proxy/path_settings.h"

namespace skiff::proxy {

class PacketPathManager {
 public:
  // `config` and `data_path` must outlive this. `devices`: those that take traffic from outside; empty: chosen.
  PacketPathManager(DataPath& data_path, const Config& config, PathOptions options, std::vector<std::string> devices);

  // These take effect with the next Update.
  void SetNode(std::vector<Address> addresses, std::vector<std::string> pod_cidrs);
  bool SetServiceCidrs(std::vector<Prefix> cidrs);  // sorted; true: they differ from those before
  void SetExternalServices(int services) { external_services_ = services; }

  // Loads the programs on another thread, as the kernel verifies them for longer than lists take. Update does nothing
  // but to write settings until this has ended; where it failed, Update tries again and says why not.
  void Expect() { loading_ = options_.pod_packets; }
  Task<void> Load();

  // Programs are there where anything wants them, and not where nothing does. Devices for the outside carry them only
  // while there is a service for it; before that, a guard.
  void Update();
  // Whether SetExternalServices has changed what Update would do.
  bool NeedsUpdate() const { return loaded() != Wanted() || (external_services_ > 0) != outside_; }
  bool Wanted() const { return options_.pod_packets || external_services_ > 0; }
  bool loaded() const { return packets_ != nullptr; }

 private:
  void Attach();

  DataPath& data_path_;
  const Config& config_;
  const PathOptions options_;
  const std::vector<std::string> only_;
  std::vector<Address> node_;
  std::vector<std::string> pod_cidrs_;
  std::vector<Prefix> service_cidrs_;
  int external_services_ = 0;
  std::unique_ptr<PacketPath> packets_;
  bool loading_ = false;  // it will come
  bool outside_ = false;  // it is on the devices for the outside too
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PACKET_PATH_MANAGER_H_
