// From an expression's text to its tree. Internal to cel*.cc. Errors: InvalidArgument, worded "ERROR: <input>:1:COLUMN:
// why", also for what is outside the subset (see cel.h) or past the bounds on length, depth and number of parts.
// Thread-safe.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_PARSER_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_PARSER_H_

#include <memory>
#include <string_view>

#include "base/status.h"
#include "controlplane/apiserver/custom/cel_node.h"

namespace skiff::controlplane {

struct CelTree {
  std::unique_ptr<CelNode> root;
  bool uses_old = false;  // names oldSelf
};

StatusOr<CelTree> ParseCel(std::string_view text);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_PARSER_H_
