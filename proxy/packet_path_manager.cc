#include "proxy/packet_path_manager.h"

#include "absl/strings/str_join.h"
#include "base/log.h"

namespace skiff::proxy {

PacketPathManager::PacketPathManager(DataPath& data_path, const Config& config, PathOptions options,
                                     std::vector<std::string> devices)
    : data_path_(data_path), config_(config), options_(options), only_(std::move(devices)) {}

void PacketPathManager::SetNode(std::vector<Address> addresses, std::vector<std::string> pod_cidrs) {
  node_ = std::move(addresses);
  pod_cidrs_ = std::move(pod_cidrs);
}

bool PacketPathManager::SetServiceCidrs(std::vector<Prefix> cidrs) {
  if (cidrs == service_cidrs_) return false;
  service_cidrs_ = std::move(cidrs);
  if (service_cidrs_.size() > SKIFF_MAX_SERVICE_CIDRS) {
    LOG_WARNING("More service CIDRs than can be watched over; packets to unused addresses of the others pass",
                {"cidrs", service_cidrs_.size()}, {"limit", SKIFF_MAX_SERVICE_CIDRS});
  }
  return true;
}

Task<void> PacketPathManager::Load() {
  std::function<StatusOr<std::unique_ptr<PacketPath>>()> work = [dir = data_path_.maps_dir(), xdp = options_.xdp] {
    return PacketPath::Load(dir, xdp);
  };
  auto loaded = co_await RunBlockingFor<std::unique_ptr<PacketPath>>(std::move(work));
  if (co_await IsCancelled()) co_return;
  if (loaded.ok()) packets_ = std::move(*loaded);
  loading_ = false;
}

void PacketPathManager::Update() {
  Status configured = data_path_.Configure(PathSettings(config_, options_, node_, pod_cidrs_, service_cidrs_));
  if (!configured.ok()) LOG_ERROR(configured, "Failed to write the data path's settings");
  if (loading_) return;
  if (!Wanted()) {
    if (packets_ == nullptr) return;
    packets_.reset();
    if (Status status = PacketPath::Remove(); !status.ok()) LOG_ERROR(status, "Failed to remove packet programs");
    return;
  }
  if (packets_ == nullptr) {
    auto loaded = PacketPath::Load(data_path_.maps_dir(), options_.xdp);
    if (!loaded.ok()) {
      LOG_ERROR(loaded.status(), "Failed to load packet programs; services are not reachable from outside");
      return;
    }
    packets_ = std::move(*loaded);
  }
  Attach();
}

void PacketPathManager::Attach() {
  outside_ = external_services_ > 0;
  DeviceChoice choice = {.outside = outside_,
                         .guard = !service_cidrs_.empty(),
                         .only = only_,
                         .pods = options_.pod_packets,
                         .bridge = {},
                         .prefix = {},
                         .node = node_};
  if (config_.detect_local_mode == "BridgeInterface") choice.bridge = config_.bridge_interface;
  if (config_.detect_local_mode == "InterfaceNamePrefix") choice.prefix = config_.interface_name_prefix;
  auto devices = FindDevices(choice);
  Status status = devices.status();
  if (status.ok()) {
    status = packets_->Update(*devices);
    std::vector<std::string_view> names;
    for (const PacketDevice& device : *devices) names.push_back(device.name);
    VLOG(2, "Packets are translated", {"devices", absl::StrJoin(names, ",")});
  }
  if (!status.ok()) LOG_ERROR(status, "Failed to attach packet programs");
}

}  // namespace skiff::proxy
