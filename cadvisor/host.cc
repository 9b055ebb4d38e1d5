#include "cadvisor/host.h"

namespace skiff::cadvisor {

StatusOr<Host> Host::Open(const std::string& root) {
  ASSIGN_OR_RETURN(Dir root_dir, Dir::Open(root));
  ASSIGN_OR_RETURN(Dir proc, Dir::Open(JoinPath(root, "proc")));
  ASSIGN_OR_RETURN(Dir sys, Dir::Open(JoinPath(root, "sys")));
  Host host{.root = std::move(root_dir), .proc = std::move(proc), .sys = std::move(sys)};
  return host;
}

}  // namespace skiff::cadvisor
