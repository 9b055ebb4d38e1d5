#include <malloc.h>
#include <unistd.h>

#include <cstdio>

#include "base/log.h"
#include "base/program.h"
#include "kubelet/config.h"
#include "kubelet/kubelet.h"

int main(int argc, char** argv) {
  // The threads only do what blocks: a heap for each would keep a megabyte of what they once had.
  mallopt(M_ARENA_MAX, 1);
  auto config = skiff::kubelet::LoadConfig(argc, argv);
  if (!config.ok()) {
    bool help = absl::IsCancelled(config.status());  // --help and --version
    std::fprintf(help ? stdout : stderr, "%s%.*s\n",
                 help ? "" : "Error: ", static_cast<int>(config.status().message().size()),
                 config.status().message().data());
    return help ? 0 : 1;
  }
  skiff::log::SetVerbosity(config->verbosity);
  skiff::log::SetFormat(config->logging_format == "json" ? skiff::log::Format::kJson : skiff::log::Format::kText);
  int code = skiff::RunProgram([&](skiff::asio::io_context&) { return skiff::kubelet::RunKubelet(*config); });
  // Work that hangs on the small thread pool (a dead mount) must not keep the program from ending.
  ::_exit(code);
}
