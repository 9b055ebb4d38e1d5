// One API request on its way through the server: what was asked, by whom, and what is to be told besides the answer.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CONTEXT_H_
#define SKIFF_CONTROLPLANE_APISERVER_CONTEXT_H_

#include <string>
#include <vector>

#include "base/clock.h"
#include "controlplane/apiserver/request_info.h"
#include "controlplane/apiserver/user.h"

namespace skiff::controlplane {

struct Context {
  RequestInfo info;
  User user;
  bool dry_run = false;
  std::string field_manager;  // given, or from the user agent
  std::vector<std::string> warnings;
  WallTime now;
  bool internal = false;  // the server's own writes: no admission that refuses
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CONTEXT_H_
