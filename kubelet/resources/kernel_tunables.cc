#include "kubelet/resources/kernel_tunables.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

constexpr struct {
  const char* path;
  const char* value;
} kTunables[] = {
    {"vm/overcommit_memory", "1"},  // requests are the scheduler's promise: the kernel does not refuse besides
    {"vm/panic_on_oom", "0"},
    {"kernel/panic", "10"},
    {"kernel/panic_on_oops", "1"},
    {"kernel/keys/root_maxkeys", "1000000"},  // each container has a keyring of root's
    {"kernel/keys/root_maxbytes", "25000000"},
};

}  // namespace

Status SetUpKernelTunables(const Dir& sys, bool protect) {
  std::vector<std::string> problems;
  for (const auto& [path, value] : kTunables) {
    auto text = sys.Read(path, 4096);
    if (!text.ok()) {
      if (!protect) LOG_WARNING("Cannot read a kernel flag", {"flag", path}, {"err", text.status()});
      problems.emplace_back(text.status().message());
      continue;
    }
    const std::string_view actual = absl::StripAsciiWhitespace(*text);
    if (actual == value) continue;
    if (protect) {
      problems.push_back(absl::StrCat("invalid kernel flag: ", path, ", expected value: ", value,
                                      ", actual value: ", std::string(actual)));
      continue;
    }
    LOG_INFO("Updating kernel flag", {"flag", path}, {"expectedValue", value}, {"actualValue", actual});
    if (Status s = sys.Write(path, value); !s.ok())
      LOG_WARNING("Cannot update a kernel flag", {"flag", path}, {"err", s});
  }
  if (!protect || problems.empty()) return absl::OkStatus();
  return FailedPrecondition(problems.size() == 1 ? problems[0] : absl::StrCat("[", absl::StrJoin(problems, ", "), "]"));
}

}  // namespace skiff::kubelet
