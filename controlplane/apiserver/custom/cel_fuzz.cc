// Rules of custom resource definitions, which anybody who may define one writes; and their printer columns' paths.
#include <cstdint>
#include <string_view>

#include "controlplane/apiserver/custom/cel.h"
#include "controlplane/apiserver/custom/json_path.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using skiff::controlplane::CelProgram;
  using skiff::controlplane::JsonPath;
  static const auto* const self =
      new nlohmann::json({{"a", 1}, {"b", "text"}, {"list", {1, 2, 3}}, {"m", {{"k", {{"n", 2.5}}}}}});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto program = CelProgram::Compile(text); program.ok()) (void)program->Run(*self, self);
  if (auto path = JsonPath::Parse(text); path.ok()) (void)path->Find(*self);
  return 0;
}
