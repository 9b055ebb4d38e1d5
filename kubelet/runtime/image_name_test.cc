#include "kubelet/runtime/image_name.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace skiff::kubelet {
namespace {

const std::string kHex(64, 'a');

TEST(ImageName, GetsATag) {
  EXPECT_EQ(*NormalizeImage("busybox"), "busybox:latest");
  EXPECT_EQ(*NormalizeImage("reg:5000/a/b"), "reg:5000/a/b:latest");
  EXPECT_EQ(*NormalizeImage("a__b/c-----d.e_f"), "a__b/c-----d.e_f:latest");
  EXPECT_EQ(*NormalizeImage("my_registry.io/app"), "my_registry.io/app:latest") << "no host, but a path";
  EXPECT_EQ(*NormalizeImage(std::string(247, 'a')), std::string(247, 'a') + ":latest");
}

TEST(ImageName, StaysWithATagOrADigest) {
  for (const std::string& good :
       {std::string("reg:5000/a/b:1"), std::string("reg:5000"), std::string("[::1]:5000/a:1"),
        std::string("Host.Example/a:V1.0-x"), std::string("a:_1"), "a@sha256:" + kHex, "a:1@sha256:" + kHex,
        "a@sha512:" + kHex + kHex, "index.docker.io/a:" + std::string(128, 'x')}) {
    const auto out = NormalizeImage(good);
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ(*out, good);
  }
}

TEST(ImageName, IsRefusedInUpstreamsWords) {
  const auto error = [](const std::string& image) {
    const auto out = NormalizeImage(image);
    return out.ok() ? absl::StrCat(image, " is taken") : std::string(out.status().message());
  };
  for (const std::string& bad : {std::string(""),
                                 std::string("a b"),
                                 std::string("a:"),
                                 std::string("-a"),
                                 std::string("a/"),
                                 std::string("/a"),
                                 std::string("foo..bar"),
                                 std::string("a___b"),
                                 std::string("a._b"),
                                 std::string("a:.1"),
                                 std::string("a:-1"),
                                 std::string("a@"),
                                 std::string("busybox@sha256:abc"),
                                 std::string("busybox@sha256"),
                                 "a@sha256:" + kHex + ":1",
                                 "a@1sha:" + kHex,
                                 std::string("host:port/a"),
                                 std::string("ho!st.io/a"),
                                 std::string("-host.io/a"),
                                 std::string("host./a"),
                                 std::string("[::1/a"),
                                 std::string("[]:5000/a"),
                                 std::string("a:") + std::string(129, 'x')}) {
    EXPECT_EQ(error(bad), absl::StrCat("couldn't parse image name \"", bad, "\": invalid reference format"));
  }
  EXPECT_EQ(
      error("Bad:Image:Name"),
      "couldn't parse image name \"Bad:Image:Name\": invalid reference format: repository name (library/Bad) must "
      "be lowercase");
  EXPECT_EQ(error("docker.io/UPPER"),
            "couldn't parse image name \"docker.io/UPPER\": invalid reference format: repository name (library/UPPER) "
            "must be lowercase");
  EXPECT_EQ(error("Foo_Bar/x"), "couldn't parse image name \"Foo_Bar/x\": repository name must be lowercase");
  EXPECT_EQ(error("a\xff"),
            "couldn't parse image name \"a\\xff\": invalid reference format: repository name (library/a\xff) must be "
            "lowercase");
  EXPECT_EQ(error(kHex), absl::StrCat("couldn't parse image name \"", kHex, "\": invalid repository name (", kHex,
                                      "), cannot specify 64-byte hexadecimal strings"));
  const std::string longest(248, 'a');
  EXPECT_EQ(error(longest), absl::StrCat("couldn't parse image name \"", longest,
                                         "\": repository name must not be more than 255 characters"));
  const auto digest = [&](const std::string& digest) {
    const std::string text = error("a:1@" + digest);
    return text.substr(text.rfind(": ") + 2);
  };
  EXPECT_EQ(digest("sha256:" + kHex.substr(1)), "invalid checksum digest length");
  EXPECT_EQ(digest("sha256:" + kHex.substr(1) + "A"), "invalid checksum digest format");
  EXPECT_EQ(digest("SHA256:" + kHex), "invalid checksum digest format");
  EXPECT_EQ(digest("md5:" + kHex), "unsupported digest algorithm");
}

}  // namespace
}  // namespace skiff::kubelet
