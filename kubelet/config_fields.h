// The fields of KubeletConfiguration (kubelet.config.k8s.io/v1beta1) as a table: path, type, default, and the flag that
// sets it. Constant; any thread.
#ifndef SKIFF_KUBELET_CONFIG_FIELDS_H_
#define SKIFF_KUBELET_CONFIG_FIELDS_H_

#include <span>
#include <string_view>

namespace skiff::kubelet {

struct ConfigField {
  enum class Type { kString, kBool, kInt, kDouble, kDuration, kStrings, kMap, kBoolMap, kObject, kAny };
  std::string_view path;  // "authentication.x509.clientCAFile"
  Type type;
  std::string_view default_json;  // "": unset
  std::string_view flag;          // "": none
  bool flag_deprecated;
  bool zero_is_unset = false;  // 0, 0s or "" in a file stands for the default; by flag it stays
};

std::span<const ConfigField> ConfigFields();

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_FIELDS_H_
