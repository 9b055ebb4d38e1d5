// For tests of the packet programs: a node with a client outside ("c"), a pod here ("p") and another node ("r") with a
// pod, each a network namespace.
#ifndef SKIFF_PROXY_PACKET_PATH_TESTING_H_
#define SKIFF_PROXY_PACKET_PATH_TESTING_H_

#include <net/if.h>

#include "absl/strings/str_join.h"
#include "bpf/devices.h"
#include "bpf/skeletons.h"
#include "proxy/data_path_testing.h"
#include "proxy/map_fill.h"
#include "proxy/packet_path.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {

inline constexpr uint8_t kHere =
    SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_LOCAL | SKIFF_BACKEND_SERVING | SKIFF_BACKEND_HERE;
inline constexpr uint8_t kThere = SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_SERVING;

struct End {
  std::string ip;
  uint16_t port;
  uint8_t state;
};

ServiceChange NodePort(uint16_t node_port, uint8_t protocol, const std::vector<End>& ends, uint32_t flags = 0);

class PacketPathTest : public OwnNodeTest {
 protected:
  void SetUp() override;
  void TearDown() override;
  static void Run(const std::string& command) { EXPECT_EQ(system(command.c_str()), 0) << command; }
  static std::string Ns(std::string_view name) { return absl::StrCat("skt", getpid(), name); }
  static std::string Attached(const char* device, bpf::Direction direction) {
    return absl::StrJoin(bpf::AttachedPrograms(static_cast<int>(if_nametoindex(device)), direction, "packet_"), ",");
  }

  void MakeNode();
  void ApplyAll(const std::vector<ServiceChange>& all);

  // Runs `f` on a thread in that namespace.
  template <typename F>
  static auto In(std::string_view ns, F f) {
    decltype(f()) out;
    std::thread([&] {
      Fd fd(open(absl::StrCat("/run/netns/", Ns(ns)).c_str(), O_RDONLY | O_CLOEXEC));
      EXPECT_EQ(setns(fd.get(), CLONE_NEWNET), 0);
      out = f();
    }).join();
    return out;
  }
  static std::unique_ptr<Backend> Server(std::string_view ns, std::string name, std::string_view ip, uint16_t port,
                                         int type) {
    return In(ns, [&] { return std::make_unique<Backend>(name, ip, port, type, true); });
  }

  std::string other_;
  std::vector<std::string> namespaces_;
  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<PacketPath> packets_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PACKET_PATH_TESTING_H_
