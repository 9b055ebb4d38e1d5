// Where the packet programs are attached, beside whom, and how long they stay.
#include "proxy/packet_path_testing.h"

namespace skiff::proxy {
namespace {

TEST_F(PacketPathTest, ROOT_ProgramsOutliveTheAgentAndAreRemoved) {
  MakeNode();
  auto pod = Server("p", "pod", "10.244.0.2", 8080, SOCK_STREAM);
  ApplyAll({NodePort(30080, IPPROTO_TCP, {{"10.244.0.2", 8080, kHere}})});
  packets_.reset();
  auto ask = [&] { return In("c", [] { return TcpOnce("192.0.2.1", 30080); }); };
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  auto again = PacketPath::Load(data_path_->maps_dir());
  ASSERT_TRUE(again.ok());
  auto devices = FindDevices({.only = {"c0"}});
  ASSERT_TRUE((*again)->Update(*devices).ok());
  EXPECT_EQ(ask(), "pod from 192.0.2.2 192.0.2.1:30080");
  EXPECT_EQ(Attached("r0", bpf::Direction::kIn), "") << "no longer wanted there";
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
  EXPECT_EQ(Attached("c0", bpf::Direction::kOut), "packet_out");
  ASSERT_TRUE(PacketPath::Remove().ok());
  EXPECT_EQ(ask(), "connect: Connection refused");
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "");
  EXPECT_EQ(system("tc qdisc show dev c0 | grep -q clsact"), 256) << "nothing is left";
}

// As the bandwidth plugin has it: an ingress qdisc whose filter takes whatever comes in elsewhere.
TEST_F(PacketPathTest, ROOT_AnothersIngressQdisc) {
  MakeNode();
  Run("tc qdisc add dev p0 ingress && tc filter add dev p0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid "
      ":1");
  auto devices = FindDevices({.only = {"c0", "r0"}, .pods = true});
  ASSERT_EQ(devices->size(), 3u);
  Status status = packets_->Update(*devices);
  if (!bpf::HasTcx()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("device p0"), std::string_view::npos) << status;
    EXPECT_EQ(Attached("p0", bpf::Direction::kIn), "");
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Attached("p0", bpf::Direction::kIn), "packet_pod_in");
  auto service = NodePort(30080, IPPROTO_TCP, {{"10.0.0.2", 8080, kThere}});
  service.model->ports[0].frontends.push_back({MakeKey(A("10.96.0.1"), 80, IPPROTO_TCP), 0});
  ApplyAll({service});
  auto far = Server("r", "far", "10.0.0.2", 8080, SOCK_STREAM);
  Run(absl::StrCat("ip -n ", Ns("r"), " route add 10.244.0.0/24 via 10.0.0.1"));
  EXPECT_EQ(In("p", [] { return TcpOnce("10.96.0.1", 80); }), "far from 10.244.0.2 10.96.0.1:80");
  // What comes in goes on to theirs, and theirs stays when ours goes.
  EXPECT_EQ(system("tc -s qdisc show dev p0 ingress | grep -q 'Sent [1-9]'"), 0);
  ASSERT_TRUE(PacketPath::Remove().ok());
  EXPECT_EQ(system("tc filter show dev p0 parent ffff: | grep -q u32"), 0);
}

// What an earlier version, or an older kernel, attached by tc.
TEST_F(PacketPathTest, ROOT_FromTcToTcx) {
  if (!bpf::HasTcx()) GTEST_SKIP() << "the kernel has no tcx (Linux 6.6)";
  MakeNode();
  auto programs = bpf::Programs::Load(bpf::ProgramSet::kPacket, data_path_->maps_dir());
  ASSERT_TRUE(programs.ok()) << programs.status();
  Fd in = *programs->Take("packet_in");
  ASSERT_TRUE(PacketPath::Remove().ok());
  auto index = static_cast<int>(if_nametoindex("c0"));
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_", false).ok());
  EXPECT_EQ(system("tc filter show dev c0 ingress | grep -q packet_in"), 0);
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_").ok());
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in") << "once";
  EXPECT_EQ(system("tc qdisc show dev c0 | grep -q clsact"), 256) << "the qdisc that was made for it is gone";
  ASSERT_TRUE(bpf::AttachProgram(index, bpf::Direction::kIn, in.get(), "packet_").ok()) << "again is no error";
  EXPECT_EQ(Attached("c0", bpf::Direction::kIn), "packet_in");
}

}  // namespace
}  // namespace skiff::proxy
