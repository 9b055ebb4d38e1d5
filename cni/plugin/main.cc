// skiff-cni: the CNI plugin that container runtimes call. Everything is in the environment and on standard input.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/program.h"
#include "cni/plugin/plugin.h"

int main(int argc, char** argv) {
  if (argc > 1 || !getenv("CNI_COMMAND")) {
    const bool version = argc > 1 && std::string(argv[1]) == "--version";
    fprintf(version ? stdout : stderr,
            version
                ? "skiff-cni %s\n"
                : "skiff-cni %s is a CNI plugin: a container runtime runs it with CNI_COMMAND, CNI_CONTAINERID, "
                  "CNI_NETNS and\n"
                  "CNI_IFNAME in the environment and the network configuration on standard input. See docs/cni.md.\n",
            skiff::kSkiffVersion);
    return version ? 0 : 2;
  }
  std::string input;
  char buffer[8192];
  // One byte past the limit is enough for the parser to refuse it.
  for (ssize_t n; input.size() <= (1u << 20) && (n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0;)
    input.append(buffer, n);
  const std::string_view self = argv[0];
  const bool loopback = self.substr(self.rfind('/') + 1) == "loopback";
  const auto type = loopback ? skiff::cni::PluginType::kLoopback : skiff::cni::PluginType::kPod;
  const skiff::cni::Outcome outcome = skiff::cni::RunPlugin(getenv, input, type, skiff::cni::Removal::kBackground);
  if (!outcome.out.empty()) printf("%s\n", outcome.out.c_str());
  return fflush(stdout) == 0 ? outcome.exit_code : 1;
}
