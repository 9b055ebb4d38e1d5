#ifndef SKIFF_PROXY_PACKET_TABLE_TESTING_H_
#define SKIFF_PROXY_PACKET_TABLE_TESTING_H_

#include "proxy/packet_path_testing.h"
#include "proxy/wire_testing.h"

namespace skiff::proxy {

// Programs run on single packets, as if these passed the device d0.
class PacketTableTest : public PacketPathTest {
 protected:
  void SetUp() override;
  void TearDown() override;
  // The packet as it leaves the program, or "dropped".
  std::string Raw(const Fd& program, const std::string& packet) const;
  void SetServiceCidrs(const std::vector<std::string>& texts);
  std::string Error(const Fd& program, const std::string& packet) const {
    std::string out = Raw(program, packet);
    return out == "dropped" ? out : Wire::ReadError(out);
  }
  std::string Through(const Fd& program, const std::string& packet) const {
    std::string out = Raw(program, packet);
    return out == "dropped" ? out : Wire::Read(out);
  }
  static constexpr uint32_t kNext = ~0u, kShot = 2, kRedirect = 7;  // TC_ACT_*
  mutable uint32_t verdict_ = 0;                                    // of the last packet that was not dropped
  uint32_t index_ = 0;
  Fd in_, out_, pod_in_, pod_out_, guard_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PACKET_TABLE_TESTING_H_
