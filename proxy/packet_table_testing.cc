#include "proxy/packet_table_testing.h"

#include <bpf/bpf.h>

#include "proxy/path_settings.h"

namespace skiff::proxy {

void PacketTableTest::SetUp() {
  PacketPathTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  Run("ip link add d0 type bridge && ip addr add 10.0.0.1/24 dev d0 && ip addr add fd0a::1/64 dev d0 nodad && ip "
      "link set d0 up");
  auto devices = FindDevices({.only = {"d0"}});
  ASSERT_EQ(devices->size(), 1u);
  ASSERT_TRUE(packets_->Update(*devices).ok());
  index_ = static_cast<uint32_t>((*devices)[0].index);
  auto programs = bpf::Programs::Load(bpf::ProgramSet::kPacket, data_path_->maps_dir());
  ASSERT_TRUE(programs.ok());
  in_ = *programs->Take("packet_in");
  out_ = *programs->Take("packet_out");
  pod_in_ = *programs->Take("packet_pod");
  pod_out_ = *programs->Take("packet_pod");
  guard_ = *programs->Take("packet_guard");
}

void PacketTableTest::TearDown() {
  if (skip_.empty()) Run("ip link del d0");
  PacketPathTest::TearDown();
}

std::string PacketTableTest::Raw(const Fd& program, const std::string& packet) const {
  std::string result(packet.size() + 256, '\0');
  struct {
    uint32_t fields[48] = {};
  } ctx;
  ctx.fields[9] = &program == &in_ || &program == &pod_in_ ? index_ : 0;  // ingress_ifindex
  ctx.fields[10] = index_;
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_out = result.data(),
              .data_size_in = static_cast<uint32_t>(packet.size()),
              .data_size_out = static_cast<uint32_t>(result.size()), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx.fields));
  if (bpf_prog_test_run_opts(program.get(), &opts) != 0) return absl::StrCat("run: ", strerror(errno));
  if (opts.retval == kShot) return "dropped";
  verdict_ = opts.retval;
  result.resize(opts.data_size_out);
  return result;
}

void PacketTableTest::SetServiceCidrs(const std::vector<std::string>& texts) {
  std::vector<Prefix> cidrs;
  for (const std::string& text : texts) cidrs.push_back(*ParsePrefix(text));
  ASSERT_TRUE(data_path_->Configure(PathSettings(Config{}, {}, {}, {}, cidrs)).ok());
}

}  // namespace skiff::proxy
