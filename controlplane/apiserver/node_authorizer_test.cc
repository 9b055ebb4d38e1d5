// What a node's credential may touch, seen over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/csr.h"
#include "controlplane/apiserver/api_server_fixture.h"

namespace skiff::controlplane {
namespace {

using ::testing::HasSubstr;

class NodeAuthorizerTest : public ApiServerTest {};

TEST_F(NodeAuthorizerTest, ANodeSeesItsOwnSlicesOnly) {
  const std::string slices = "/apis/resource.k8s.io/v1/resourceslices";
  for (const char* node : {"n1", "n2"}) {
    const Answered made = Call("POST", slices,
                               {{"metadata", {{"name", absl::StrCat("of-", node)}}},
                                {"spec",
                                 {{"driver", "d.example.com"},
                                  {"nodeName", node},
                                  {"pool", {{"name", node}, {"generation", 1}, {"resourceSliceCount", 1}}}}}});
    ASSERT_EQ(made.status, 201) << made.body;
  }
  const Answered own = AsNode("GET", slices + "/of-n1");
  EXPECT_EQ(own.status, 200);
  EXPECT_EQ(AsNode("PUT", slices + "/of-n1", own.document).status, 200);
  const Answered other = AsNode("GET", slices + "/of-n2");
  EXPECT_EQ(other.status, 403);
  EXPECT_THAT(Message(other), HasSubstr("no relationship found between node 'n1' and this object"));
  EXPECT_EQ(AsNode("PUT", slices + "/of-n2", Call("GET", slices + "/of-n2").document).status, 403);
  EXPECT_EQ(AsNode("GET", slices + "/none").status, 403);
  EXPECT_EQ(AsNode("DELETE", slices + "/of-n2").status, 403);
  const Answered all = AsNode("GET", slices);
  EXPECT_EQ(all.status, 403);
  EXPECT_THAT(Message(all),
              HasSubstr("can only list/watch/deletecollection resourceslices with nodeName field selector"));
  EXPECT_EQ(AsNode("GET", slices + "?fieldSelector=spec.nodeName%3Dn2").status, 403);
  EXPECT_EQ(AsNode("DELETE", slices).status, 403);
  EXPECT_EQ(AsNode("GET", slices + "?fieldSelector=spec.nodeName%3Dn1").document["items"].size(), 1u);
  EXPECT_EQ(AsNode("DELETE", slices + "?fieldSelector=spec.nodeName%3Dn1").status, 200);
  EXPECT_EQ(Call("GET", slices).document["items"].size(), 1u);
}

TEST_F(NodeAuthorizerTest, ANodeSeesItsOwnAttachmentsOnly) {
  const std::string attachments = "/apis/storage.k8s.io/v1/volumeattachments";
  for (const char* node : {"n1", "n2"}) {
    const Answered made = Call(
        "POST", attachments,
        {{"metadata", {{"name", absl::StrCat("of-", node)}}},
         {"spec", {{"attacher", "a.example.com"}, {"nodeName", node}, {"source", {{"persistentVolumeName", "pv"}}}}}});
    ASSERT_EQ(made.status, 201) << made.body;
  }
  EXPECT_EQ(AsNode("GET", attachments + "/of-n1").status, 200);
  EXPECT_EQ(AsNode("GET", attachments + "/of-n2").status, 403);
  EXPECT_EQ(AsNode("GET", attachments).status, 403);
}

TEST_F(NodeAuthorizerTest, ANodeAsksForCertificatesInItsOwnNameOnly) {
  StopServer();
  plugins_ = {"NodeRestriction"};
  StartServer();
  const std::string key = *GenerateKey(false);
  const auto ask = [&](const char* name, const std::string& pem) {
    return AsNode("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                  {{"metadata", {{"name", name}}},
                   {"spec",
                    {{"request", Base64Encode(pem)},
                     {"signerName", "kubernetes.io/kube-apiserver-client-kubelet"},
                     {"usages", {"digital signature", "client auth"}}}}});
  };
  const auto request = [&](const char* name) {
    return *MakeCsr({.common_name = name, .organizations = {"system:nodes"}}, key);
  };
  const Answered other = ask("a", request("system:node:n2"));
  EXPECT_EQ(other.status, 403);
  EXPECT_THAT(Message(other), HasSubstr("can only create a node CSR with CN=system:node:n1"));
  const Answered own = ask("b", request("system:node:n1"));
  EXPECT_EQ(own.status, 201) << own.body;
}

}  // namespace
}  // namespace skiff::controlplane
