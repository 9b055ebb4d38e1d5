// The .proto against the interface tables: every message, field, enum value and rpc with its number and type.
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "runtime/v1/api.pb.h"

namespace skiff::cri {
namespace {

TEST(CriFacts, MessagesAgreeWithTheTable) {
  std::ifstream in("../shared/facts/grpc-wire.tsv");
  if (!in) GTEST_SKIP() << "interface tables not beside the project";
  const auto* file = ::runtime::v1::VersionRequest::descriptor()->file();
  std::string line;
  std::getline(in, line);
  int checked = 0;
  std::set<std::string> messages;
  while (std::getline(in, line)) {
    std::vector<std::string> c = absl::StrSplit(line, '\t');
    if (c.size() < 13 || c[1] != "runtime.v1") continue;
    ++checked;
    if (c[0] == "rpc") {
      const auto* service = file->FindServiceByName(c[2]);
      ASSERT_NE(service, nullptr) << line;
      const auto* method = service->FindMethodByName(c[3]);
      ASSERT_NE(method, nullptr) << line;
      EXPECT_TRUE(absl::EndsWith(method->input_type()->full_name(), c[8].substr(c[8].rfind('.') + 1))) << line;
      EXPECT_TRUE(absl::EndsWith(method->output_type()->full_name(), c[9].substr(c[9].rfind('.') + 1))) << line;
      EXPECT_EQ(method->server_streaming(), c[10] == "server") << line;
    } else if (c[0] == "enum") {
      const google::protobuf::EnumDescriptor* type = nullptr;
      if (size_t dot = c[2].find('.'); dot != std::string::npos) {
        const auto* outer = file->FindMessageTypeByName(c[2].substr(0, dot));
        ASSERT_NE(outer, nullptr) << line;
        type = outer->FindEnumTypeByName(c[2].substr(dot + 1));
      } else {
        type = file->FindEnumTypeByName(c[2]);
      }
      ASSERT_NE(type, nullptr) << line;
      std::string name = absl::StartsWith(c[3], "SIG") ? "SIGNAL_" + c[3] : c[3];
      const auto* value = type->FindValueByName(name);
      ASSERT_NE(value, nullptr) << line;
      EXPECT_EQ(std::to_string(value->number()), c[4]) << line;
    } else if (c[0] == "message" && c[3] != "-" && !c[3].empty()) {
      const auto* type = file->FindMessageTypeByName(c[2]);
      ASSERT_NE(type, nullptr) << line;
      const auto* field = type->FindFieldByName(c[3]);
      ASSERT_NE(field, nullptr) << line;
      EXPECT_EQ(std::to_string(field->number()), c[4]) << line;
      EXPECT_EQ(field->is_repeated() && !field->is_map(), c[6] == "repeated") << line;
      if (!field->is_map() && field->message_type() == nullptr && field->enum_type() == nullptr) {
        EXPECT_EQ(std::string(field->type_name()), c[5]) << line;
      }
    }
  }
  EXPECT_GT(checked, 500);
}

}  // namespace
}  // namespace skiff::cri
