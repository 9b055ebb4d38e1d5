#include "cni/agent/conflist.h"

#include <nlohmann/json.hpp>

#include "base/files.h"

namespace skiff::cni {

std::string Conflist(const Prefix& pod_cidr, uint32_t mtu, const std::string& state_dir) {
  nlohmann::ordered_json plugin = {{"type", "skiff-cni"},
                                   {"capabilities", {{"portMappings", true}}},
                                   {"ranges", {pod_cidr.ToString()}},
                                   {"mtu", mtu},
                                   {"stateDir", state_dir}};
  // 1.0.0, not 1.1.0: the newest version that containerd 1.6 knows.
  nlohmann::ordered_json list = {{"cniVersion", "1.0.0"}, {"name", kNetworkName}};
  list["plugins"] = nlohmann::ordered_json::array({std::move(plugin)});
  return list.dump(2) + "\n";
}

Status WriteConflist(const std::string& conf_dir, const std::string& text) {
  const std::string path = JoinPath(conf_dir, kConflistName);
  if (const auto now = ReadFile(path); now.ok() && *now == text) return absl::OkStatus();
  RETURN_IF_ERROR(MakeDirs(conf_dir));
  return WriteFileAtomic(path, text);
}

}  // namespace skiff::cni
