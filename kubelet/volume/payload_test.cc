#include "kubelet/volume/payload.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "kubelet/volume/hosts_file.h"
#include "kubelet/volume/subpath.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;

core::Pod PodFrom(std::string_view json) {
  core::Pod pod;
  const Status status = api::FromJson(json, &pod);
  EXPECT_TRUE(status.ok()) << status;
  return pod;
}

TEST(PayloadTest, ConfigMapKeysAndItems) {
  core::ConfigMap map;
  (*map.mutable_data())["a"] = "1";
  (*map.mutable_binarydata())["b"] = std::string("\0\1", 2);
  Payload all;
  ASSERT_TRUE(AddConfigMap(map, {}, 0644, false, &all).ok());
  EXPECT_EQ(all.size(), 2u);
  EXPECT_EQ(all["b"].data.size(), 2u);

  ItemList items;
  auto* item = items.Add();
  item->set_key("a");
  item->set_path("dir/x");
  item->set_mode(0755);
  Payload some;
  ASSERT_TRUE(AddConfigMap(map, items, 0400, false, &some).ok());
  EXPECT_EQ(some.at("dir/x").mode, 0755u);
  item->set_key("nokey");
  EXPECT_EQ(AddConfigMap(map, items, 0400, false, &some).message(),
            "configmap references non-existent config key: nokey");
  EXPECT_TRUE(AddConfigMap(map, items, 0400, true, &some).ok());
  core::Secret secret;
  EXPECT_EQ(AddSecret(secret, items, 0400, false, &some).message(), "references non-existent secret key: nokey");
}

TEST(PayloadTest, DownwardApiAsRecorded) {
  const core::Pod pod =
      PodFrom(R"({"metadata":{"name":"p","namespace":"golden","uid":"u","labels":{"zone":"z","app":"v"},
    "annotations":{"note":"line1\nline2 \"q\""}},"spec":{"containers":[{"name":"c","resources":
    {"requests":{"memory":"16Mi"}}}]}})");
  EXPECT_EQ(*PodFieldAsString(pod, "metadata.labels"), "app=\"v\"\nzone=\"z\"");
  EXPECT_EQ(*PodFieldAsString(pod, "metadata.annotations"), "note=\"line1\\nline2 \\\"q\\\"\"");
  EXPECT_EQ(*PodFieldAsString(pod, "metadata.labels['app']"), "v");
  EXPECT_EQ(PodFieldAsString(pod, "spec.nodeName").status().message(), "unsupported fieldPath: spec.nodeName");

  core::ResourceFieldSelector selector;
  selector.set_resource("limits.cpu");
  const Allocatable node{2000, 1 << 30, 0};
  EXPECT_EQ(*ContainerResourceAsString(pod, selector, "c", node), "2");
  selector.mutable_divisor()->set_string("1m");
  EXPECT_EQ(*ContainerResourceAsString(pod, selector, "c", node), "2000");
  selector.set_resource("requests.memory");
  selector.mutable_divisor()->set_string("1Mi");
  EXPECT_EQ(*ContainerResourceAsString(pod, selector, "c", node), "16");
  EXPECT_EQ(ContainerResourceAsString(pod, selector, "x", node).status().message(), "container x not found");
}

TEST(PayloadTest, VolumeUserNeedsAgreement) {
  EXPECT_EQ(VolumeUserOf(PodFrom(R"({"spec":{"securityContext":{"runAsUser":1000},"containers":[{"name":"a"}]}})")),
            1000);
  EXPECT_EQ(VolumeUserOf(PodFrom(R"({"spec":{"securityContext":{"runAsUser":1000},"containers":[{"name":"a"},
    {"name":"b","securityContext":{"runAsUser":2}}]}})")),
            std::nullopt);
  EXPECT_EQ(VolumeUserOf(PodFrom(R"({"spec":{"containers":[{"name":"a"}]}})")), std::nullopt);
}

TEST(PayloadTest, TmpfsSizeIsTheSmallestBound) {
  const core::Pod limited =
      PodFrom(R"({"spec":{"containers":[{"name":"a","resources":{"limits":{"memory":"64Mi"}}}]}})");
  const core::Pod open = PodFrom(R"({"spec":{"containers":[{"name":"a"}]}})");
  EXPECT_EQ(TmpfsSize(limited, 1 << 30, 0), 64 << 20);
  EXPECT_EQ(TmpfsSize(limited, 1 << 30, 8 << 20), 8 << 20);
  EXPECT_EQ(TmpfsSize(open, 1 << 30, 0), 1 << 30);
  EXPECT_EQ(TmpfsSize(open, 1 << 30, 8 << 20), 8 << 20);
}

TEST(PayloadTest, SubPathExpr) {
  const std::map<std::string, std::string> env{{"A", "x"}, {"EMPTY", ""}};
  EXPECT_EQ(*ExpandSubPathExpr("d/$(A)/$$(A)$", env), "d/x/$(A)$");
  EXPECT_EQ(ExpandSubPathExpr("$(NOPE)/$(EMPTY)", env).status().message(), "missing value for EMPTY, NOPE");
}

TEST(HostsFileTest, ContentAsRecorded) {
  core::Pod pod;
  EXPECT_EQ(ManagedHostsFile(pod, {"10.244.0.69"}, "fq", "sub.golden.svc.cluster.local"),
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            "10.244.0.69\tfq.sub.golden.svc.cluster.local\tfq\n");
  auto* alias = pod.mutable_spec()->add_hostaliases();
  alias->set_ip("1.2.3.4");
  alias->add_hostnames("a");
  alias->add_hostnames("b");
  EXPECT_EQ(HostNetworkHostsFile(pod, "127.0.0.1 localhost\n"),
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
            "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n");
}

}  // namespace
}  // namespace skiff::kubelet
