// The tree that an expression is compiled to. Internal to cel*.cc. Plain data.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_NODE_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_NODE_H_

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace skiff::controlplane {

struct CelNode {
  // kField: children[0].text; kHas: the same, asked for; kCall: text(children); kMethod: children[0].text(children..);
  // kMacro: children[0] is the range, children[1..] the bodies, text the variable and macro ("x all").
  enum class Kind {
    kLiteral,
    kName,
    kField,
    kHas,
    kIndex,
    kCall,
    kMethod,
    kMacro,
    kUnary,
    kBinary,
    kChoice,
    kList,
    kMap
  };
  Kind kind;
  std::string text;
  std::string variable;
  nlohmann::json value;
  std::vector<std::unique_ptr<CelNode>> children;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CEL_NODE_H_
