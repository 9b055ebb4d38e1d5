#include "proxy/path_settings.h"

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace skiff::proxy {

namespace {

Address MaskOf(const Prefix& prefix) {
  Address mask = {};
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t bits = prefix.bits > i * 32 ? std::min<uint32_t>(prefix.bits - i * 32, 32) : 0;
    mask.word[i] = bits == 0 ? 0 : htonl(~0u << (32 - bits));
  }
  return mask;
}

void SetRange(const Prefix& prefix, skiff_settings* out) {
  Address mask = MaskOf(prefix);
  bool v4 = FamilyOf(prefix.base) == Family::kIPv4;
  (v4 ? out->local_base4 : out->local_base6) = prefix.base;
  (v4 ? out->local_mask4 : out->local_mask6) = mask;
}

}  // namespace

skiff_settings PathSettings(const Config& config, const PathOptions& options, std::span<const Address> node,
                            std::span<const std::string> pod_cidrs, std::span<const Prefix> service_cidrs) {
  skiff_settings out = {};
  // One data path stands for all of upstream's: either switch turns masquerading on.
  if (config.iptables.all || config.nftables.all) out.flags |= SKIFF_SETTING_MASQUERADE_ALL;
  if (options.direct_return) out.flags |= SKIFF_SETTING_DIRECT_RETURN;
  if (options.pod_packets) out.flags |= SKIFF_SETTING_PACKETS;
  for (const Prefix& cidr : service_cidrs.first(std::min<size_t>(service_cidrs.size(), SKIFF_MAX_SERVICE_CIDRS))) {
    out.service_cidr[out.service_cidrs++] = {cidr.base, MaskOf(cidr)};
  }
  for (const Address& a : node) {
    Address& own = FamilyOf(a) == Family::kIPv4 ? out.node_v4 : out.node_v6;
    if (own == Address{}) own = a;
  }
  auto ranges = [&](auto&& texts) {
    for (std::string_view text : texts) {
      auto prefix = ParsePrefix(absl::StripAsciiWhitespace(text));
      if (!prefix) continue;
      SetRange(*prefix, &out);
      out.flags |= SKIFF_SETTING_LOCAL_BY_CIDR;
    }
  };
  if (config.detect_local_mode == "ClusterCIDR") {
    ranges(absl::StrSplit(config.cluster_cidr, ',', absl::SkipEmpty()));
  } else if (config.detect_local_mode == "NodeCIDR") {
    ranges(pod_cidrs);
  } else if (config.detect_local_mode == "BridgeInterface" || config.detect_local_mode == "InterfaceNamePrefix") {
    out.flags |= SKIFF_SETTING_LOCAL_BY_DEVICE;
  }
  return out;
}

}  // namespace skiff::proxy
